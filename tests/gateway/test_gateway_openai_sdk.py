"""The OpenAI SDK, unmodified, against the gateway on a socket."""

import json

import httpx
import openai
import pytest
from support.gateway_app import deployment, wait_for

pytestmark = pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"], indirect=True)
ASK = [{"role": "user", "content": "hello gateway"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Looks an order up.",
        "parameters": {
            "type": "object",
            "properties": {"order_number": {"type": "integer"}},
            "required": ["order_number"],
        },
    },
}


def test_a_chat_is_answered_counted_and_priced(gateway, provider):
    raw = gateway.client().chat.completions.with_raw_response.create(model="alias", messages=ASK)
    reply = raw.parse()
    assert reply.choices[0].message.content == "echo: hello gateway"
    assert reply.model == "alias"
    (row,) = gateway.wait_for_rows(1)
    assert raw.headers["signalbox-llm-call-id"] == row["call_id"]
    cost = reply.usage.prompt_tokens * 1_000_000 + reply.usage.completion_tokens * 2_000_000
    assert row["cost_pico"] == cost
    assert raw.headers["signalbox-llm-cost"] == f"{cost / 1e12:.6f} USD"
    assert (row["tenant"], row["subject"], row["outcome"], row["streamed"]) == ("default", "local", "ok", 0)


def test_a_stream_arrives_in_chunks_and_without_usage_unless_asked_for(gateway):
    client = gateway.client()
    chunks = list(client.chat.completions.create(model="alias", messages=ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "echo: hello gateway"
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    asked = list(
        client.chat.completions.create(
            model="alias", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert asked[-1].choices == []
    assert asked[-1].usage.completion_tokens == 5
    rows = gateway.wait_for_rows(2)
    assert [row["output_tokens"] for row in rows] == [5, 5]
    assert [row["estimated"] for row in rows] == [0, 0]
    assert all(row["first_token_ms"] is not None for row in rows)


def test_tools_are_called_plain_and_streamed(gateway, provider):
    provider.script([{"reply": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 1042}}]}}])
    client = gateway.client()
    reply = client.chat.completions.create(model="alias", messages=ASK, tools=[TOOL])
    assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"order_number": 1042}
    with client.chat.completions.stream(model="alias", messages=ASK, tools=[TOOL]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == "get_order"
    assert final.choices[0].finish_reason == "tool_calls"


def test_structured_output_and_fields_of_the_future_reach_the_provider(gateway, provider):
    schema = {
        "name": "x",
        "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    }
    reply = gateway.client().chat.completions.create(
        model="alias",
        messages=ASK,
        response_format={"type": "json_schema", "json_schema": schema},
        extra_body={"some_new_field": {"deep": [1.5]}},
    )
    assert isinstance(json.loads(reply.choices[0].message.content)["a"], int)
    body = provider.requests()[-1].body
    assert body["some_new_field"] == {"deep": [1.5]}
    assert body["model"] == "fake-model"


def test_embeddings_pass_through(gateway):
    reply = gateway.client().embeddings.create(model="fake-embedding", input=["one", "two"])
    assert [len(item.embedding) for item in reply.data] == [256, 256]
    (row,) = gateway.wait_for_rows(1)
    assert (row["operation"], row["model_asked"], row["priced"]) == ("embeddings", "fake-embedding", 1)


def test_models_and_roles_are_listed(gateway):
    listed = gateway.client().models.list()
    assert [model.id for model in listed.data] == ["alias", "fake-small", "fake-embedding"]
    assert gateway.client().models.retrieve("alias").id == "alias"
    body = httpx.get(f"{gateway.url}/llm/v1/models").json()
    assert body["roles"] == {
        "match": "alias",
        "decide": "alias",
        "answer": "alias",
        "embed": "fake-embedding",
    }
    assert set(body["role_reasons"]) == {"match", "decide", "answer", "embed"}


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ({"status": 400, "message": "bad", "code": "bad_thing"}, openai.BadRequestError, "bad_thing"),
        ({"status": 401}, openai.InternalServerError, "upstream_credential_refused"),
        ({"status": 403}, openai.InternalServerError, "upstream_credential_refused"),
        ({"status": 402}, openai.InternalServerError, "upstream_account_spent"),
        ({"status": 429, "code": "insufficient_quota"}, openai.InternalServerError, "upstream_account_spent"),
        ({"status": 422, "code": "x"}, openai.UnprocessableEntityError, "x"),
        ({"status": 429, "code": "rate_limit_exceeded"}, openai.RateLimitError, "rate_limit_exceeded"),
        ({"status": 500, "body": "boom"}, openai.InternalServerError, "provider_error"),
        ({"status": 503, "body": "<html>"}, openai.InternalServerError, "provider_error"),
        ("context_length_exceeded", openai.BadRequestError, "context_length_exceeded"),
        ("malformed_chunk", openai.InternalServerError, "provider_broke_off"),
        ("cut", openai.InternalServerError, None),
    ],
)
def test_failures_are_the_sdks_own_exceptions(gateway, provider, fault, error, code):
    provider.script([{"fault": fault}])
    with pytest.raises(error) as raised:
        gateway.client().chat.completions.create(model="alias", messages=ASK)
    assert raised.value.code == code or code is None
    assert raised.value.type
    (row,) = gateway.wait_for_rows(1)
    assert (row["outcome"], row["status"]) == ("error", raised.value.status_code)


def test_retry_after_is_passed_on(gateway, provider):
    provider.script([{"fault": {"status": 429, "headers": {"Retry-After": "7"}}}])
    with pytest.raises(openai.RateLimitError) as raised:
        gateway.client().chat.completions.create(model="alias", messages=ASK)
    assert raised.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_request"),
        (b"[]", 400, "malformed_request"),
        (b'{"messages": []}', 400, "malformed_request"),
        (b'{"model": "alias"}', 400, "malformed_request"),
        (b'{"model": "nope", "messages": []}', 404, "model_not_found"),
        (b'{"model": "fake-small", "messages": [], "model": "alias"}', 400, "malformed_request"),
        (b'{"model": "fake-embedding", "messages": []}', 400, "model_cannot"),
    ],
)
def test_a_bad_request_is_refused_in_openais_shape(gateway, provider, body, status, code):
    response = httpx.post(f"{gateway.url}/llm/v1/chat/completions", content=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"]["code"] == code
    assert provider.requests() == []


def test_usage_is_answered_by_day_and_its_parameters_are_checked_in_openais_shape(gateway):
    gateway.client().chat.completions.create(model="alias", messages=ASK)
    gateway.wait_for_rows(1)
    (line,) = httpx.get(f"{gateway.url}/llm/v1/usage").json()["lines"]
    assert (line["model"], line["calls"], line["cost"], line["unpriced_calls"]) == ("alias", 1, "0.000014", 0)
    response = httpx.get(f"{gateway.url}/llm/v1/usage?days=none")
    assert (response.status_code, response.json()["error"]["code"]) == (422, "validation_failed")


def test_credentials_are_asked_for_in_openais_shape(start_gateway, provider):
    gateway = start_gateway(auth="keys", llm_deployments=[deployment(provider)])
    for key in ("sbx_0000_0000", "local", "nonsense"):
        with pytest.raises(openai.AuthenticationError) as raised:
            gateway.client(key).models.list()
        assert raised.value.code == "unauthenticated"
    assert provider.requests() == []


def test_a_body_over_the_limit_is_413(start_gateway, provider):
    gateway = start_gateway(llm_max_body_bytes=2000, llm_deployments=[deployment(provider)])
    with pytest.raises(openai.APIStatusError) as raised:
        gateway.client().chat.completions.create(
            model="alias", messages=[{"role": "user", "content": "x" * 3000}]
        )
    assert (raised.value.status_code, raised.value.code) == (413, "payload_too_large")


def test_a_planted_key_reaches_the_provider_and_nobody_else(start_gateway, provider, monkeypatch, caplog):
    monkeypatch.setenv("PLANTED", "sk-planted-secret")
    gateway = start_gateway(llm_deployments=[deployment(provider, key="env:PLANTED")])
    provider.script([{"fault": {"status": 500}, "times": 3}])
    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client().chat.completions.create(model="alias", messages=ASK)
    gateway.client().chat.completions.create(model="alias", messages=ASK)
    assert provider.requests()[-1].headers["authorization"] == "Bearer sk-planted-secret"
    shown = [
        str(raised.value),
        caplog.text,
        str(gateway.wait_for_rows(2)),
        str(gateway.rows("ledger_attempts")),
    ]
    assert not any("sk-planted-secret" in text or "hello gateway" in text for text in shown)
    sent = provider.requests()[-1].headers
    assert not any(name.startswith(("signalbox", "traceparent", "x-request")) for name in sent)


def test_openai_base_url_alone_offers_the_servers_models(start_gateway, provider):
    gateway = start_gateway(openai_base_url=provider.base_url)
    roles = httpx.get(f"{gateway.url}/llm/v1/models").json()["roles"]
    assert roles == {
        "match": "fake-model",
        "decide": "fake-model",
        "answer": "fake-model",
        "embed": "fake-embedding",
    }
    reply = gateway.client().chat.completions.create(model="a-model-that-it-does-not-list", messages=ASK)
    assert reply.model == "a-model-that-it-does-not-list"
    assert gateway.wait_for_rows(1)[0]["priced"] == 0


def test_rows_of_calls_just_made_survive_the_end_of_the_process(gateway):
    for _ in range(5):
        gateway.client().chat.completions.create(model="alias", messages=ASK)
    gateway.stop()
    assert len(gateway.rows()) == 5
    wait_for(lambda: len(gateway.rows("ledger_attempts")) == 5)
