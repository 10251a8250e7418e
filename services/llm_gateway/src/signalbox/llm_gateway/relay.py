"""A provider's event stream on its way to the client: edited where the client must not see a difference."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.accounting import AttemptAccount, CallAccount
from signalbox.llm_gateway.errors import ProviderBroke
from signalbox.llm_gateway.ports import UpstreamStream
from signalbox.llm_gateway.protocol import (
    DONE,
    EventBlocks,
    append_member,
    data_of,
    error_body,
    refusal_in,
    replace_members,
)

_LOG = logging.getLogger(__name__)

_DRAIN_S = 0.2
"""How long a provider's connection is read on after ``[DONE]``, so that it can be used again."""


class StreamRelay:
    """Decides for each event what of it goes on.

    - The usage chunk goes to a client that asked for it, and to nobody else.
    - ``model`` is what the client called it, where the provider has another name for it.
    - An event that is not JSON is left out: no client could read it.
    - A stream that ends after its finish reason but without ``[DONE]`` gets one; one that ends before, is broken.
    """

    def __init__(self, attempt: AttemptAccount, *, model: str, wants_usage: bool, tells_cost: bool) -> None:
        deployment = attempt.deployment
        self._attempt = attempt
        self._name = deployment.name
        self._rename = orjson.dumps(model) if deployment.provider_model != model else None
        self._wants_usage = wants_usage
        self._tells_cost = tells_cost
        self._answer_ended = False
        self.done = False

    def pass_on(self, block: bytes) -> bytes:
        """What the client gets of an event; maybe nothing.

        Raises:
            ProviderRefused: the event is the provider's error.
        """
        data = data_of(block)
        if data is None:
            return block
        if data == b"[DONE]":
            self.done = True
            return DONE
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            _LOG.warning("%s sent an event that is not JSON; it is left out", self._name)
            return b""
        if not isinstance(chunk, dict):
            return block
        error = refusal_in(chunk, self._name)
        if error is not None:
            raise error
        usage = chunk.get("usage")
        if counted := isinstance(usage, dict):
            self._attempt.reported(usage)
        self._attempt.answered(chunk.get("model"))
        self._read_choices(chunk.get("choices"))
        if counted and not chunk.get("choices") and not self._wants_usage:
            return b""
        return self._edited(block, data, counted=counted)

    def end(self) -> bytes:
        """What is to follow when the provider's stream has ended.

        Raises:
            ProviderBroke: the answer is not whole.
        """
        if self.done:
            return b""
        if not self._answer_ended:
            raise ProviderBroke(f"'{self._name}' ended its stream before the answer was whole; try again.")
        self.done = True
        return DONE

    def _read_choices(self, choices: Any) -> None:
        if not isinstance(choices, list):
            return
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            if choice.get("finish_reason") is not None:
                self._answer_ended = True
            size = _size(choice.get("delta"))
            if size:
                self._attempt.received(size)

    def _edited(self, block: bytes, data: bytes, *, counted: bool) -> bytes:
        edited = data
        if self._rename is not None:
            edited = replace_members(edited, {"model": self._rename})
        if counted and self._tells_cost and self._wants_usage and (cost := self._attempt.cost) is not None:
            edited = append_member(edited, "signalbox_cost", orjson.dumps(cost))
        return block if edited is data else b"data: " + edited + b"\n\n"


async def relayed(
    account: CallAccount, relay: StreamRelay, stream: UpstreamStream
) -> AsyncGenerator[bytes, None]:
    """The stream as the client gets it; a failure becomes its last event, never a clean end."""
    blocks = EventBlocks()
    try:
        async for chunk in stream.chunks:
            passed, failure = _pass_on(relay, blocks.feed(chunk))
            if relay.done:
                account.finish("ok", 200)
            if passed:
                yield passed
            if failure is not None:
                raise failure  # noqa: TRY301 - after what came before it was sent
            if relay.done:
                await _drain(stream)
                return
        rest = blocks.rest()
        passed = (relay.pass_on(rest + b"\n\n") if rest.strip() else b"") + relay.end()
        account.finish("ok", 200)
        yield passed
    except SignalboxError as error:
        account.fail(error)
        yield b"data: " + error_body(error)[1] + b"\n\n"
    except (asyncio.CancelledError, GeneratorExit):
        account.abort()
        raise
    except BaseException:
        account.finish("error", 500, "internal_error")
        raise


def _pass_on(relay: StreamRelay, blocks: list[bytes]) -> tuple[bytes, SignalboxError | None]:
    """What goes on of events that came in one piece, up to the one that is an error."""
    passed = []
    try:
        for block in blocks:
            passed.append(relay.pass_on(block))  # noqa: PERF401 - what came before an error must not be lost
    except SignalboxError as error:
        return b"".join(passed), error
    return b"".join(passed), None


async def _drain(stream: UpstreamStream) -> None:
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in stream.chunks:
                pass
    except (TimeoutError, SignalboxError):
        return


def _size(delta: Any) -> int:
    """Bytes of text and arguments in a delta."""
    if not isinstance(delta, dict):
        return 0
    size = 0
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        text = delta.get(name)
        if isinstance(text, str):
            size += len(text.encode())
    for call in delta.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            size += len(str(function.get("name") or "")) + len(str(function.get("arguments") or ""))
    return size
