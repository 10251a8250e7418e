"""The Anthropic SDK for Python, unmodified, against the gateway on a socket."""

import json

import anthropic
import httpx
import pydantic
import pytest
from support.gateway_app import RunningGateway, deployment

ASK = [{"role": "user", "content": "hello gateway"}]
TOOL = {
    "name": "get_order",
    "description": "Looks an order up.",
    "input_schema": {
        "type": "object",
        "properties": {"order_number": {"type": "integer"}},
        "required": ["order_number"],
    },
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="


def sdk(gateway: RunningGateway, key: str = "local") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{gateway.url}/llm", api_key=key, max_retries=0)


def test_a_message_is_answered_counted_and_priced(gateway, provider):
    raw = sdk(gateway).messages.with_raw_response.create(
        model="alias", max_tokens=100, system="Be brief.", messages=ASK, metadata={"user_id": "u1"}
    )
    message = raw.parse()
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "echo: hello gateway"}]
    assert (message.role, message.model, message.stop_reason) == ("assistant", "alias", "end_turn")
    (row,) = gateway.wait_for_rows(1)
    assert raw.headers["signalbox-llm-call-id"] == row["call_id"]
    assert message.id == f"msg_{row['call_id'].partition('_')[2]}"
    assert raw.headers["request-id"] == message._request_id == raw.headers["x-request-id"]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (
        row["input_tokens"],
        row["output_tokens"],
    )
    assert row["cost_pico"] == row["input_tokens"] * 1_000_000 + row["output_tokens"] * 2_000_000
    body = provider.requests()[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["model"], body["max_tokens"], body["user"]) == ("fake-model", 100, "u1")


def test_a_stream_comes_in_pieces_and_ends_with_its_usage(gateway):
    with sdk(gateway).messages.stream(model="alias", max_tokens=100, messages=ASK) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds.count("content_block_delta") == 5
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert final.content[0].text == "echo: hello gateway"
    (row,) = gateway.wait_for_rows(1)
    assert (final.usage.input_tokens, final.usage.output_tokens) == (row["input_tokens"], 5)
    assert (row["output_tokens"], row["estimated"], row["streamed"], row["outcome"]) == (5, 0, 1, "ok")


def test_cached_input_is_counted_beside_the_rest(gateway, provider):
    usage = {
        "prompt_tokens": 1000,
        "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 100},
    }
    provider.script([{"reply": "ok", "usage": usage}])
    message = sdk(gateway).messages.create(model="alias", max_tokens=100, messages=ASK)
    found = message.usage
    assert found.input_tokens == 300
    assert (found.cache_read_input_tokens, found.cache_creation_input_tokens) == (600, 100)


def test_tools_are_called_answered_and_called_again(gateway, provider):
    calls = [
        {"name": "get_order", "arguments": {"order_number": 1042}},
        {"name": "get_order", "arguments": {"order_number": 7}},
    ]
    provider.script(
        [
            {"match": {"has_tool_result": False}, "reply": {"content": "Let me see.", "tool_calls": calls}},
            {"match": {"has_tool_result": True}, "reply": "It is on its way."},
        ]
    )
    client = sdk(gateway)
    for _ in range(2):
        first = client.messages.create(model="alias", max_tokens=100, messages=ASK, tools=[TOOL])
        with client.messages.stream(model="alias", max_tokens=100, messages=ASK, tools=[TOOL]) as stream:
            streamed = stream.get_final_message()
        assert [block.type for block in first.content] == ["text", "tool_use", "tool_use"]
        for message in (first, streamed):
            assert message.stop_reason == "tool_use"
            assert [block.input for block in message.content[1:]] == [
                {"order_number": 1042},
                {"order_number": 7},
            ]
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "shipped"} for block in first.content[1:]
    ]
    last = client.messages.create(
        model="alias",
        max_tokens=100,
        tools=[TOOL],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        messages=[*ASK, first.to_param(), {"role": "user", "content": results}],
    )
    assert last.content[0].text == "It is on its way."
    body = provider.requests()[-1].body
    assert body["parallel_tool_calls"] is False
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [message["tool_call_id"] for message in body["messages"][2:]] == [
        block.id for block in first.content[1:]
    ]


def test_a_tool_can_be_forced(gateway):
    message = sdk(gateway).messages.create(
        model="alias",
        max_tokens=100,
        messages=ASK,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "get_order"},
    )
    assert message.content[0].name == "get_order"
    assert isinstance(message.content[0].input["order_number"], int)


def test_a_model_without_tools_is_prompted_for_them_and_gets_nothing_that_it_would_refuse(
    start_gateway, provider
):
    plain = deployment(provider, capabilities={"tools": False})
    provider.script(
        [{"reply": {"json": {"tool_calls": [{"name": "get_order", "arguments": {"order_number": 3}}]}}}]
    )
    gateway = start_gateway(llm_deployments=[plain])
    message = sdk(gateway).messages.create(
        model="alias",
        max_tokens=2000,
        messages=ASK,
        tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "enabled", "budget_tokens": 1024},
        extra_body={"top_k": 3},
    )
    assert (message.stop_reason, message.content[0].input) == ("tool_use", {"order_number": 3})
    body = provider.requests()[-1].body
    assert not {"tools", "thinking", "top_k"} & body.keys()
    assert "cache_control" not in json.dumps(body)


def test_structured_output_is_parsed_by_the_sdk(gateway, provider):
    class Order(pydantic.BaseModel):
        number: int
        state: str

    parsed = sdk(gateway).messages.parse(model="alias", max_tokens=100, messages=ASK, output_format=Order)
    assert isinstance(parsed.parsed_output, Order)
    wanted = provider.requests()[-1].body["response_format"]
    assert set(wanted["json_schema"]["schema"]["properties"]) == {"number", "state"}


def test_images_reach_the_provider(gateway, provider):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    content = [image, {"type": "text", "text": "what is it?", "cache_control": {"type": "ephemeral"}}]
    sdk(gateway).messages.create(
        model="alias", max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    (message,) = provider.requests()[-1].body["messages"]
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "text", "text": "what is it?"},
    ]


def test_a_prefill_is_the_last_message(gateway, provider):
    provider.script([{"match": {"last_role": "assistant"}, "reply": "B)"}])
    message = sdk(gateway).messages.create(
        model="alias", max_tokens=100, messages=[*ASK, {"role": "assistant", "content": "The answer is ("}]
    )
    assert message.content[0].text == "B)"


@pytest.mark.parametrize(
    ("fault", "error", "kind", "code"),
    [
        (
            {"status": 400, "code": "bad_thing"},
            anthropic.BadRequestError,
            "invalid_request_error",
            "bad_thing",
        ),
        ({"status": 422, "code": "x"}, anthropic.UnprocessableEntityError, "invalid_request_error", "x"),
        (
            {"status": 429, "code": "slow", "headers": {"Retry-After": "0"}},
            anthropic.RateLimitError,
            "rate_limit_error",
            "slow",
        ),
        ({"status": 500}, anthropic.InternalServerError, "api_error", "provider_error"),
        ({"status": 503, "code": "busy"}, anthropic.OverloadedError, "overloaded_error", "busy"),
        (
            "context_length_exceeded",
            anthropic.BadRequestError,
            "invalid_request_error",
            "context_length_exceeded",
        ),
    ],
)
def test_failures_are_the_sdks_own_exceptions(gateway, provider, fault, error, kind, code):
    provider.script([{"fault": fault}])
    for stream in (False, True):
        with pytest.raises(error) as raised:
            sdk(gateway).messages.create(model="alias", max_tokens=100, messages=ASK, stream=stream)
        assert (raised.value.type, raised.value.error_code) == (kind, code)
        assert raised.value.body["error"]["code"] == code
        assert raised.value.request_id == raised.value.response.headers["x-request-id"]
    if kind == "rate_limit_error":
        assert raised.value.response.headers["retry-after"] == "0"
    assert {row["outcome"] for row in gateway.wait_for_rows(2)} == {"error"}


@pytest.mark.parametrize("kind", ["cut", "error_in_stream"])
def test_a_stream_that_breaks_is_an_error_and_never_a_clean_end(gateway, provider, kind):
    provider.script([{"reply": "a long answer in some pieces", "fault": {"kind": kind, "after_chunks": 3}}])
    seen = []
    stream = sdk(gateway).messages.create(model="alias", max_tokens=100, messages=ASK, stream=True)
    with pytest.raises(anthropic.APIStatusError) as raised:
        seen.extend(event.type for event in stream)
    assert "message_stop" not in seen
    assert seen.count("content_block_delta") == 3
    assert raised.value.type == "api_error"
    assert gateway.wait_for_rows(1)[0]["outcome"] == "error"


def test_a_client_that_leaves_stops_the_provider(gateway, provider):
    provider.script([{"reply": "a long answer", "fault": {"kind": "stall", "after_chunks": 2}}])
    with sdk(gateway).messages.create(model="alias", max_tokens=9, messages=ASK, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    provider.wait_until(lambda seen: seen[-1].disconnected)
    (row,) = gateway.wait_for_rows(1)
    assert row["outcome"] == "aborted"


@pytest.mark.parametrize(
    ("changes", "status", "kind", "names"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            400,
            "invalid_request_error",
            "messages.0.content.0.text",
        ),
        ({"tools": [{"type": "web_search_20250305", "name": "x"}]}, 400, "invalid_request_error", "tools.0"),
        ({"model": "nope"}, 404, "not_found_error", "nope"),
    ],
)
def test_a_bad_request_is_refused_in_anthropics_shape(gateway, provider, changes, status, kind, names):
    body = {"model": "alias", "max_tokens": 5, "messages": ASK, **changes}
    response = httpx.post(f"{gateway.url}/llm/v1/messages", json=body)
    assert response.status_code == status
    said = response.json()
    assert said["type"] == "error"
    assert said["error"]["type"] == kind
    assert names in said["error"]["message"]
    assert said["request_id"] == response.headers["request-id"]
    assert provider.requests() == []


def test_credentials_are_asked_for_in_anthropics_shape(start_gateway, provider):
    gateway = start_gateway(auth="keys", llm_deployments=[deployment(provider)])
    with pytest.raises(anthropic.AuthenticationError) as raised:
        sdk(gateway, "sbx_0000_0000").messages.create(model="alias", max_tokens=9, messages=ASK)
    assert (raised.value.type, raised.value.error_code) == ("authentication_error", "unauthenticated")
    assert provider.requests() == []


def test_a_body_over_the_limit_is_413(start_gateway, provider):
    gateway = start_gateway(llm_max_body_bytes=2000, llm_deployments=[deployment(provider)])
    with pytest.raises(anthropic.ContentTooLargeError) as raised:
        sdk(gateway).messages.create(
            model="alias", max_tokens=9, messages=[{"role": "user", "content": "x" * 3000}]
        )
    assert raised.value.type == "request_too_large"


def test_the_beta_client_is_answered_too(gateway):
    message = sdk(gateway).beta.messages.create(
        model="alias", max_tokens=9, messages=ASK, betas=["output-128k-2025-02-19"]
    )
    assert message.content[0].text == "echo: hello gateway"


def test_models_are_listed(gateway):
    assert [model.id for model in sdk(gateway).models.list()] == ["alias", "fake-small", "fake-embedding"]


def test_tokens_are_counted_without_a_call_and_said_to_be_an_estimate(gateway, provider):
    raw = sdk(gateway).messages.with_raw_response.count_tokens(
        model="alias", system="Be brief.", messages=ASK, tools=[TOOL]
    )
    assert raw.headers["signalbox-llm-estimated"] == "true"
    alone = sdk(gateway).messages.count_tokens(model="alias", messages=ASK)
    assert raw.parse().input_tokens > alone.input_tokens > len("hello gateway") // 4
    assert provider.requests() == []
    assert json.dumps(gateway.rows()) == "[]"
