"""The fake provider through the real OpenAI client: answers, streams, tools, JSON, embeddings."""

import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from signalbox_fake_provider import FakeProvider, tokens_of, vector_of

ORDER_TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {
            "type": "object",
            "properties": {
                "order_id": {"type": "integer", "minimum": 1000},
                "speed": {"enum": ["slow", "fast"]},
            },
        },
    },
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
def client(provider: FakeProvider) -> Iterator[OpenAI]:
    provider.reset()
    with OpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0) as connected:
        yield connected


@pytest.fixture
async def async_client(provider: FakeProvider) -> AsyncIterator[AsyncOpenAI]:
    provider.reset()
    async with AsyncOpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0) as connected:
        yield connected


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_without_a_script_it_echoes_and_counts_tokens(client: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("Where is my order?")]
    reply = client.chat.completions.create(model="any", messages=messages)
    assert reply.model == "any"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.content == "echo: Where is my order?"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == tokens_of("Be brief.") + tokens_of("Where is my order?") == 3 + 5
    assert reply.usage.completion_tokens == tokens_of("echo: Where is my order?") == 6
    assert reply.usage.total_tokens == 14


async def test_a_stream_begins_with_the_role_and_adds_up(async_client: Any) -> None:
    stream = await async_client.chat.completions.create(model="m", messages=[user("你好,世界")], stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == "echo: 你好,世界"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_in_an_extra_chunk_only_when_asked_for(provider: FakeProvider, client: Any) -> None:
    chunks = list(
        client.chat.completions.create(
            model="m", messages=[user("hi")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == tokens_of("echo: hi") == 2
    assert chunks[-2].choices[0].finish_reason == "stop"
    provider.script([{"usage": False}])
    silent = list(
        client.chat.completions.create(
            model="m", messages=[user("hi")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert all(chunk.choices for chunk in silent)


def test_the_raw_stream_has_the_frames_of_the_protocol(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="m", messages=[user("hi")], stream=True
    ) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    frames = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {frame["object"] for frame in frames} == {"chat.completion.chunk"}
    assert all("usage" not in frame for frame in frames)


def test_a_scripted_answer_says_the_last_user_message(provider: FakeProvider, client: Any) -> None:
    call = {"name": "find_order", "arguments": {"order": "{last_user}"}}
    provider.script([{"reply": {"content": "For {last_user}.", "tool_calls": [call]}}])
    messages: Any = [{"role": "user", "content": 'the "blue" one'}]
    message = client.chat.completions.create(model="fake-model", messages=messages).choices[0].message
    assert message.content == 'For the "blue" one.'
    assert json.loads((message.tool_calls or [])[0].function.arguments) == {"order": 'the "blue" one'}


def test_parallel_tool_calls_whole_and_streamed(provider: FakeProvider, client: Any) -> None:
    calls = [
        {"name": "find_order", "arguments": {"order_id": 1042}, "id": "call_a"},
        {"name": "find_stock", "arguments": '{"sku": "x"'},
    ]
    provider.script([{"reply": {"tool_calls": calls}}])
    reply = client.chat.completions.create(model="m", messages=[user("both")])
    whole = reply.choices[0].message.tool_calls or []
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None
    expected = [("find_order", '{"order_id": 1042}'), ("find_stock", '{"sku": "x"')]
    assert [(call.function.name, call.function.arguments) for call in whole] == expected
    assert whole[0].id == "call_a"

    gathered: dict[int, list[str]] = {}
    heads: dict[int, str | None] = {}
    for chunk in client.chat.completions.create(model="m", messages=[user("both")], stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            if delta.id:
                heads[delta.index] = delta.function.name
            gathered.setdefault(delta.index, []).append(delta.function.arguments or "")
    assert heads == {0: "find_order", 1: "find_stock"}
    assert ["".join(parts) for parts in gathered.values()] == [arguments for _, arguments in expected]
    assert all(len(parts) > 2 for parts in gathered.values())


def test_a_tool_loop_by_rules_and_each_rule_as_often_as_it_may(provider: FakeProvider, client: Any) -> None:
    provider.script(
        [
            {"match": {"has_tool_result": True}, "reply": "It arrives tomorrow.", "name": "answer"},
            {
                "match": {"last_user_contains": "ORDER", "model": "m"},
                "reply": {"tool_calls": [{"name": "find_order", "arguments": {"order_id": 7}}]},
                "times": 1,
            },
        ]
    )
    question = [user("where is my order")]
    first = (
        client.chat.completions.create(model="m", messages=question, tools=[ORDER_TOOL]).choices[0].message
    )
    assert first.tool_calls is not None
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "{}"}
    history = [*question, first.model_dump(exclude_none=True), result]
    assert client.chat.completions.create(model="m", messages=history).choices[0].message.content == (
        "It arrives tomorrow."
    )
    again = client.chat.completions.create(model="m", messages=question).choices[0].message
    assert again.content == "echo: where is my order"
    assert (
        client.chat.completions.create(model="m", messages=[*history, user("thanks")])
        .choices[0]
        .message.content
        == "echo: thanks"
    )
    assert [record.rule for record in provider.requests()] == ["rules[1]", "answer", "", ""]


def test_matching_by_header_stream_and_prefill(provider: FakeProvider, client: Any) -> None:
    provider.script(
        [
            {"match": {"header": {"X-Tenant": "a"}}, "reply": "tenant a"},
            {"match": {"stream": True}, "reply": "streamed"},
            {"match": {"last_role": "assistant"}, "reply": "continued"},
        ]
    )

    def ask(messages: list[dict[str, str]], **options: Any) -> Any:
        return (
            client.chat.completions.create(model="m", messages=messages, **options).choices[0].message.content
        )

    assert ask([user("x")], extra_headers={"x-tenant": "a"}) == "tenant a"
    assert ask([user("x")], extra_headers={"x-tenant": "b"}) == "echo: x"
    assert ask([user("x"), {"role": "assistant", "content": "so"}]) == "continued"
    assert (
        text_of(list(client.chat.completions.create(model="m", messages=[user("x")], stream=True)))
        == "streamed"
    )


def test_a_forced_tool_gets_arguments_that_fit_its_schema(client: Any) -> None:
    choice = {"type": "function", "function": {"name": "find_order"}}
    for wanted in ("required", choice):
        reply = client.chat.completions.create(
            model="m", messages=[user("go")], tools=[ORDER_TOOL], tool_choice=wanted
        )
        call = (reply.choices[0].message.tool_calls or [])[0]
        assert call.function.name == "find_order"
        assert json.loads(call.function.arguments) == {"order_id": 1000, "speed": "slow"}


def test_json_modes(provider: FakeProvider, client: Any) -> None:
    def ask(response_format: dict[str, Any]) -> Any:
        reply = client.chat.completions.create(
            model="m", messages=[user("go")], response_format=response_format
        )
        return json.loads(reply.choices[0].message.content or "")

    schema = {
        "type": "object",
        "properties": {
            "intent": {"$ref": "#/$defs/intent"},
            "score": {"type": "number"},
            "why": {"type": "string"},
        },
        "$defs": {"intent": {"enum": ["order_status", "none"]}},
    }
    strict = {"type": "json_schema", "json_schema": {"name": "decision", "schema": schema, "strict": True}}
    assert ask({"type": "json_object"}) == {"echo": "go"}
    assert ask(strict) == {"intent": "order_status", "score": 1, "why": "echo: go"}
    provider.script([{"reply": {"json": {"intent": "none", "score": 0.2}}}])
    assert ask(strict) == {"intent": "none", "score": 0.2}


def test_scripted_usage_and_pieces(provider: FakeProvider, client: Any) -> None:
    usage = {"prompt_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 600}}
    provider.script([{"reply": "word " * 60, "chunks": 60, "usage": usage}])
    chunks = list(
        client.chat.completions.create(
            model="m", messages=[user("x")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert len(chunks) == 60 + 3
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-2]] == ["word "] * 60
    reported = chunks[-1].usage
    assert reported is not None
    assert reported.prompt_tokens == 1000
    assert reported.prompt_tokens_details is not None
    assert reported.prompt_tokens_details.cached_tokens == 600
    assert reported.total_tokens == 1000 + 75


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_deterministic_and_near_for_shared_words(client: Any, encoding: str) -> None:
    texts = ["where is my order", "where is the order", "reset password"]
    reply = client.embeddings.create(model="e", input=texts, encoding_format=encoding)
    same, near, far = (item.embedding for item in reply.data)
    if encoding == "base64":
        same, near, far = (item.embedding for item in client.embeddings.create(model="e", input=texts).data)
    assert same == pytest.approx(vector_of(texts[0]), abs=1e-6)
    assert math.isclose(sum(x * x for x in same), 1, rel_tol=1e-5)
    assert dot(same, near) > 0.5 > dot(same, far)
    assert reply.usage.prompt_tokens == sum(tokens_of(text) for text in texts)
    assert len(client.embeddings.create(model="e", input="x", dimensions=8).data[0].embedding) == 8


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_the_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["fake-model", "fake-small", "fake-embedding"]


def test_requests_are_kept_whole_until_a_reset(provider: FakeProvider, client: Any) -> None:
    client.chat.completions.create(model="m", messages=[user("kept")], extra_headers={"x-tenant": "t"})
    (record,) = provider.requests()
    assert record.path == "/v1/chat/completions"
    assert record.model == "m"
    assert record.headers["authorization"] == "Bearer sk-test"
    assert record.headers["x-tenant"] == "t"
    assert record.body["messages"] == [user("kept")]
    assert (record.status, record.disconnected, record.cut, record.open) == (200, False, False, False)
    assert provider.requests(after=record.id) == []
    provider.reset()
    assert provider.requests() == []
