"""A kept answer, given again: whole as it is, or as the chunks of a stream.

Source: OpenAI API reference, "The chat completion chunk object".
"""

from collections.abc import Iterator
from typing import Any

import orjson

from signalbox.llm_gateway.completion import pieces_of
from signalbox.llm_gateway.protocol import DONE, event

Json = dict[str, Any]

_SPOKEN = ("reasoning_content", "reasoning", "content", "refusal")
"""Texts of a message that come in pieces, in the order in which models make them."""


def replayed_events(completion: Json, *, with_usage: bool, cost: str | None) -> Iterator[bytes]:
    """The events of the stream that adds up to ``completion``; ``cost`` is told on the chunk with the usage."""
    envelope = {
        name: value for name, value in completion.items() if name not in {"choices", "usage", "object"}
    }
    envelope["object"] = "chat.completion.chunk"
    for choice in completion["choices"]:
        index = choice.get("index", 0)
        for delta, more in _deltas(choice):
            yield event(
                {**envelope, "choices": [{"index": index, "delta": delta, "finish_reason": None, **more}]}
            )
    usage = completion.get("usage")
    if with_usage and usage is not None:
        last = {**envelope, "choices": [], "usage": usage}
        yield event(last if cost is None else {**last, "signalbox_cost": cost})
    yield DONE


def _deltas(choice: Json) -> Iterator[tuple[Json, Json]]:
    """The deltas of a choice, each with the other members of its chunk's choice."""
    message = choice["message"]
    calls = message.get("tool_calls") or ()
    # Texts follow in pieces; what is no text comes at once.
    opening = {
        name: value
        for name, value in message.items()
        if name != "tool_calls" and not (name in _SPOKEN and isinstance(value, str))
    }
    opening["role"] = message.get("role", "assistant")
    if isinstance(message.get("content"), str):
        opening["content"] = ""
    # The probabilities of all tokens at once: readers of a stream add them up.
    logprobs = choice.get("logprobs")
    yield opening, {"logprobs": logprobs}
    for name in _SPOKEN:
        if isinstance(message.get(name), str):
            for piece in pieces_of(message[name]):
                yield {name: piece}, {}
    for index, call in enumerate(calls):
        yield from _call_deltas(index, call)
    rest = {
        name: value for name, value in choice.items() if name not in {"index", "message", "logprobs", "delta"}
    }
    yield {}, rest


def _call_deltas(index: int, call: Json) -> Iterator[tuple[Json, Json]]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        yield {"tool_calls": [{"index": index, **call}]}, {}
        return
    head = {**call, "index": index, "function": {**function, "arguments": ""}}
    yield {"tool_calls": [head]}, {}
    for piece in pieces_of(function["arguments"]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, {}


def with_cost(usage_chunk: Json, cost: str | None) -> bytes:
    """The event of a usage chunk that tells another cost than it came with, or none."""
    told = {name: value for name, value in usage_chunk.items() if name != "signalbox_cost"}
    return b"data: " + orjson.dumps(told if cost is None else {**told, "signalbox_cost": cost}) + b"\n\n"
