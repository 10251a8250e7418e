"""What was said, on a span: in the form of the semantic conventions, bounded, and redacted."""

import json
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider

from signalbox.llm_gateway.telemetry import Content
from signalbox.llm_gateway.telemetry.content import MAX_MESSAGES, MAX_TEXT


def attributes(body: Any, *answers: dict[str, Any]) -> dict[str, Any]:
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    content = Content(sent)
    for answer in answers:
        content.add(answer)
    span = TracerProvider().get_tracer("test").start_span("chat")
    content.put_on(span)
    found: dict[str, Any] = dict(span.attributes or {})  # type: ignore[attr-defined]
    return {name: json.loads(value) for name, value in found.items()}


def delta(index: int = 0, reason: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": said, "finish_reason": reason}]}


def test_messages_have_roles_and_parts() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,planted"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "a@b.example"}'}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "A cat. password: hunter2"},
        ]
    }  # fmt: skip
    answer = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "A cat."}, "finish_reason": "stop"}
        ]
    }
    assert attributes(body, answer) == {
        "gen_ai.input.messages": [
            {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
            {"role": "user", "parts": [{"type": "text", "content": "What is this?"}, {"type": "image_url"}]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "c1", "name": "look", "arguments": '{"at": "[email]"}'}
            ]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "id": "c1", "response": "A cat. password: [secret]"}
            ]},
        ],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "A cat."}], "finish_reason": "stop"}
        ],
    }  # fmt: skip


def test_a_stream_s_chunks_become_one_message_for_each_choice() -> None:
    found = attributes(
        {"messages": []},
        delta(role="assistant", content=""),
        delta(reasoning_content="Hmm"),
        delta(content="Write to ana@"),
        delta(content="shop.example"),
        delta(1, tool_calls=[{"index": 0, "id": "c1", "function": {"name": "find", "arguments": '{"id"'}}]),
        delta(1, tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        delta(1, "tool_calls"),
        delta(0, "stop"),
        {"choices": [], "usage": {}},
    )
    reasoning = {"type": "reasoning", "content": "Hmm"}
    text = {"type": "text", "content": "Write to [email]"}
    call = {"type": "tool_call", "id": "c1", "name": "find", "arguments": '{"id": 1}'}
    first, second = found["gen_ai.output.messages"]
    assert sorted(first["parts"], key=lambda part: part["type"]) == [reasoning, text]
    assert first["finish_reason"] == "stop"
    assert second == {"role": "assistant", "parts": [call], "finish_reason": "tool_calls"}
    assert "gen_ai.input.messages" not in found


def test_what_is_kept_is_bounded_and_no_secret_is_cut_in_two() -> None:
    secret = "sk-" + "a1B2" * 20
    long = "x" * (MAX_TEXT - 10) + " " + secret + "y" * 50_000
    messages = [{"role": "user", "content": str(number)} for number in range(500)]
    (*_, last) = found = attributes({"messages": [*messages, {"role": "user", "content": long}]})[
        "gen_ai.input.messages"
    ]
    assert len(found) == MAX_MESSAGES
    text = last["parts"][0]["content"]
    assert len(text) <= MAX_TEXT
    assert "sk-" not in text


@pytest.mark.parametrize(
    "body",
    [b"no json", [], {"messages": "x"}, {"messages": [1, {"role": 2, "content": 3, "tool_calls": {}}]}],
)
def test_odd_bodies_and_answers_do_no_harm(body: Any) -> None:
    attributes(
        body, {"choices": 3}, {"choices": [{"index": "a", "message": []}, {"delta": {"tool_calls": [{}]}}]}
    )
