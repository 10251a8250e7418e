"""The LLM gateway, as unmodified clients of OpenAI and Anthropic see it."""

from collections.abc import Iterator

import anthropic
import openai
import pytest
from openai import OpenAI
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider

MODEL = "fake-model"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="session")
def llm(client: PublicApi, system: RunningSystem) -> Iterator[OpenAI]:
    assert system.provider.url
    with OpenAI(base_url=f"{client.url}/llm/v1", api_key=client.key, max_retries=0, timeout=20) as made:
        yield made


def test_chat_passes_through(llm: OpenAI, provider: FakeProvider) -> None:
    token = new_session("chat")
    provider.script([{"match": {"last_user_contains": token}, "reply": "Four."}])
    answer = llm.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"2+2 {token}"}],
        temperature=0.25,
        seed=7,
    )
    assert answer.choices[0].message.content == "Four."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    sent = provider.requests()[-1].body
    assert (sent["temperature"], sent["seed"], sent["model"]) == (0.25, 7, MODEL)


def test_a_stream_comes_in_pieces_and_says_its_usage(llm: OpenAI, provider: FakeProvider) -> None:
    token = new_session("chat")
    provider.script([{"match": {"last_user_contains": token}, "reply": "one two three four", "chunks": 4}])
    chunks = list(
        llm.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": token}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]
    assert "".join(pieces) == "one two three four"
    assert len(pieces) == 4
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_without_asking_no_usage_chunk_is_added(llm: OpenAI, provider: FakeProvider) -> None:
    chunks = list(
        llm.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}], stream=True)
    )
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_tools_are_called_and_answered(llm: OpenAI, provider: FakeProvider) -> None:
    token = new_session("chat")
    provider.script(
        [
            {
                "match": {"last_user_contains": token, "has_tool_result": False},
                "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Bergen"}}]},
            },
            {"match": {"last_user_contains": token}, "reply": "It rains."},
        ]
    )
    messages: list = [{"role": "user", "content": f"Bergen? {token}"}]
    first = llm.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    (call,) = first.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Bergen"}')
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = llm.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert second.message.content == "It rains."


def test_the_models_are_listed(llm: OpenAI, client: PublicApi) -> None:
    names = {model.id for model in llm.models.list()}
    assert {MODEL, "fake-small", "fake-embedding"} <= names
    listed = client.call("GET", "/llm/v1/models")
    assert listed["roles"]["answer"] == MODEL
    assert all(
        isinstance(listed["role_reasons"][role], str) for role in ("match", "decide", "answer", "embed")
    )


@pytest.mark.parametrize(
    ("fault", "raised", "code"),
    [
        ({"status": 429, "headers": {"Retry-After": 2}}, openai.RateLimitError, None),
        ("context_length_exceeded", openai.BadRequestError, "context_length_exceeded"),
        ({"status": 500}, openai.InternalServerError, None),
        ({"kind": "cut"}, openai.InternalServerError, None),
    ],
)
def test_errors_of_the_provider_are_openai_errors(
    llm: OpenAI, provider: FakeProvider, fault: object, raised: type[openai.APIStatusError], code: str | None
) -> None:
    provider.script([{"fault": fault}])
    with pytest.raises(raised) as caught:
        llm.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])
    error = caught.value
    assert isinstance(error.body, dict)
    assert {"message", "type", "code"} <= set(error.body)
    assert code is None or error.code == code


def test_an_unknown_model_is_not_found_where_models_are_known(llm: OpenAI, provider: FakeProvider) -> None:
    provider.script(
        [{"match": {"model": "no-such-model"}, "fault": {"status": 404, "code": "model_not_found"}}]
    )
    with pytest.raises(openai.NotFoundError) as caught:
        llm.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("body", [b"{not json", b"[]", b'{"messages": []}', b'{"model": "fake-model"}'])
def test_a_body_that_is_no_call_is_an_openai_error(
    client: PublicApi, system: RunningSystem, body: bytes
) -> None:
    answer = client.http.post(
        "/llm/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["code"]
    assert error["message"]


@pytest.mark.usefixtures("with_keys")
def test_a_wrong_key_is_an_openai_authentication_error(llm: OpenAI) -> None:
    wrong = llm.with_options(api_key="sbx_0000000000000000_" + "0" * 64)
    with pytest.raises(openai.AuthenticationError) as caught:
        wrong.models.list()
    assert caught.value.code == "unauthenticated"


def test_a_key_without_the_scope_may_not_call_models(llm: OpenAI, admin_client: PublicApi) -> None:
    made = admin_client.call("POST", "/admin/api/v1/keys", json={"name": "asks only", "scopes": ["query"]})
    with pytest.raises(openai.PermissionDeniedError):
        llm.with_options(api_key=made["key"]).chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "x"}]
        )


def test_every_call_is_one_row_in_the_ledger(
    llm: OpenAI, client: PublicApi, system: RunningSystem, provider: FakeProvider
) -> None:
    token = new_session("chat")
    counted = {"prompt_tokens": 11, "completion_tokens": 5}
    provider.script([{"match": {"last_user_contains": token}, "reply": "counted", "usage": counted}])
    before = _usage(client)
    raw = llm.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": token}]
    )
    call_id = raw.headers["signalbox-llm-call-id"]

    def row() -> dict[str, object] | None:
        rows = system.stores.rows("llm_gateway", "ledger_calls")
        return next((row for row in rows if row["call_id"] == call_id), None)

    found = eventually(row, "the ledger row is written")
    assert (found["input_tokens"], found["output_tokens"], found["outcome"]) == (11, 5, "ok")
    attempts = system.stores.rows("llm_gateway", "ledger_attempts")
    assert [item["number"] for item in attempts if item["call_id"] == call_id] == [1]
    after = eventually(lambda: _usage(client)[0] > before[0] and _usage(client), "the report counts it")
    assert after == (before[0] + 1, before[1] + 11, before[2] + 5)


def test_a_skill_is_charged_to_its_session(
    client: PublicApi, system: RunningSystem, provider: FakeProvider
) -> None:
    session = new_session()
    provider.script([{"match": {"last_user_contains": session}, "reply": "Sure."}])
    client.query(f"agent {session}", session, workflow_id="probe")

    def rows() -> list[dict[str, object]]:
        found = system.stores.rows("llm_gateway", "ledger_calls")
        return [row for row in found if row["session_id"] == session]

    (row,) = eventually(rows, "the ledger row is written")
    assert (row["workflow_id"], row["skill_id"], row["tenant"]) == ("probe", "helper", "acme")


def _usage(client: PublicApi) -> tuple[int, int, int]:
    lines = client.call("GET", "/llm/v1/usage")["lines"]
    ours = [line for line in lines if line["model"] == MODEL]
    return (
        sum(line["calls"] for line in ours),
        sum(line["input_tokens"] for line in ours),
        sum(line["output_tokens"] for line in ours),
    )


def test_a_message_of_anthropics_protocol_is_answered_streamed_and_refused(
    client: PublicApi, provider: FakeProvider
) -> None:
    token = new_session("message")
    provider.script([{"match": {"last_user_contains": token}, "reply": "one two three four", "chunks": 4}])
    with anthropic.Anthropic(base_url=f"{client.url}/llm", api_key=client.key, max_retries=0) as messages:
        asked = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": token}]}
        whole = messages.messages.create(**asked)
        with messages.messages.stream(**asked) as stream:
            pieces = list(stream.text_stream)
            streamed = stream.get_final_message()
        assert len(pieces) == 4
        for message in (whole, streamed):
            assert [block.text for block in message.content] == ["one two three four"]
            assert message.stop_reason == "end_turn"
            assert message.usage.output_tokens > 0
        provider.script([{"fault": {"status": 429, "code": "slow"}}])
        with pytest.raises(anthropic.RateLimitError) as raised:
            messages.messages.create(**asked)
    assert raised.value.type == "rate_limit_error"


def test_responses_are_streamed_kept_continued_and_cancelled(llm: OpenAI, provider: FakeProvider) -> None:
    token = new_session("response")
    reply = "one two three four"
    provider.script(
        [
            {"match": {"last_user_contains": f"wait {token}"}, "fault": "hang"},
            {"match": {"last_user_contains": token}, "reply": reply, "chunks": 4},
        ]
    )
    whole = llm.responses.create(model=MODEL, input=token)
    with llm.responses.stream(model=MODEL, input=token, previous_response_id=whole.id) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        streamed = stream.get_final_response()
    assert len(pieces) == 4
    assert whole.output_text == streamed.output_text == "".join(pieces) == reply
    assert [message["role"] for message in provider.requests()[-1].body["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    queued = llm.responses.create(model=MODEL, input=f"wait {token}", background=True)
    assert llm.responses.cancel(queued.id).status == "cancelled"
    assert llm.responses.retrieve(queued.id).status == "cancelled"
    llm.responses.delete(whole.id)
    with pytest.raises(openai.NotFoundError):
        llm.responses.retrieve(whole.id)
