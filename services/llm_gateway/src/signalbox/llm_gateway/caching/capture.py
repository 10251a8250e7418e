"""Answers on their way to a caller, from which an entry is made."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import orjson

from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.caching.assembly import Assembly
from signalbox.llm_gateway.caching.replay import with_cost
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.protocol import EventBlocks, append_member, data_of, replace_members

Json = dict[str, Any]

WHOLE_REASONS = frozenset({"stop", "tool_calls", "function_call"})
"""Why an answer ended that may be given again. One that was cut off (``length``) or filtered may fare better."""

_STREAM_FACTOR = 64
"""How many times larger than its completion a stream may be before it is not listened to any more."""


def may_be_kept(call: Call, completion: Json) -> bool:
    """Whether an answer may be given to others: whole, and the model's own.

    What a fallback model answered is not kept under the name of the one that failed, and neither is what a model that
    lacks something had to be asked for twice.
    """
    account = call.account
    answered = account.answered_by
    if account.outcome != "ok" or answered is None or answered.model != call.body.model:
        return False
    if account.emulated is not None and account.attempts_made > 1:
        return False
    if call.operation == "embeddings":
        return isinstance(completion.get("data"), list)
    choices = completion.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(
            isinstance(choice, dict)
            and choice.get("finish_reason") in WHOLE_REASONS
            and isinstance(choice.get("message"), dict)
            for choice in choices
        )
    )


def asking_usage(call: Call) -> Call:
    """The call with a body that asks for the usage of its stream, so that an entry has it too.

    The caller gets it only by ``for_listener``.
    """
    body = call.body
    able = all(deployment.capabilities.stream_usage for deployment in call.plan.deployments)
    if not body.stream or body.wants_usage or not able:
        return call
    options = body.fields.get("stream_options")
    asked = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    written = orjson.dumps(asked)
    if "stream_options" in body.fields:
        raw = replace_members(body.raw, {"stream_options": written})
    else:
        raw = append_member(body.raw, "stream_options", written)
    return replace(call, body=replace(body, raw=raw, fields={**body.fields, "stream_options": asked}))


def for_listener(piece: bytes, *, wants_usage: bool, cost: str | None = None, own: bool = True) -> bytes:
    """Whole events of a shared stream as one of its listeners gets them.

    The usage goes to those who asked for it. Whose call it is not (``own``) is told another ``cost``: nothing.
    """
    if b'"usage"' not in piece or (wants_usage and own):
        return piece
    blocks = EventBlocks()
    passed = [_for_listener(block, wants_usage, cost, own) for block in blocks.feed(piece)]
    return b"".join(passed) + blocks.rest()


def _for_listener(block: bytes, wants_usage: bool, cost: str | None, own: bool) -> bytes:
    data = data_of(block)
    if data is None or b'"usage"' not in data:
        return block
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        return block
    if not isinstance(chunk, dict) or not isinstance(chunk.get("usage"), dict):
        return block
    if not chunk.get("choices") and not wants_usage:
        return b""
    return block if own else with_cost(chunk, cost)


def captured(
    answer: StreamedAnswer, call: Call, keep: Callable[[Json], None], *, max_bytes: int
) -> StreamedAnswer:
    """The stream as it is; ``keep`` gets the completion that it was, before its end is passed on."""
    assembly = Assembly()

    async def chunks() -> AsyncGenerator[bytes, None]:
        async for piece in answer:
            if assembly.size <= max_bytes * _STREAM_FACTOR:
                assembly.feed(piece)
                # Before the client knows that it was the end: it may leave then.
                completion = assembly.completion()
                if completion is not None:
                    keep(completion)
            yield piece

    resources = AsyncExitStack()
    resources.push_async_callback(answer.aclose)
    return StreamedAnswer(chunks(), answer.headers, call.account, resources)


def completion_in(answer: WholeAnswer) -> Json | None:
    """The body of a whole answer; None when it is no object."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
