"""Giving an answer, whole or streamed, with the fault that a rule asks for."""

from collections.abc import Mapping
from typing import Any

import orjson

from signalbox_fake_provider.completion import Completion
from signalbox_fake_provider.exchange import Exchange, break_off, pause, strike_before_answer
from signalbox_fake_provider.faults import Fault, FaultKind
from signalbox_fake_provider.script import Rule

_EVENT_STREAM = "text/event-stream; charset=utf-8"
_BROKEN = b'{"id":"chatcmpl-fake","choices":[{"index":0,"delta":{"content":"bro'
_ERROR_ANSWERS = {FaultKind.STATUS, FaultKind.CONTEXT_LENGTH_EXCEEDED, FaultKind.CONTENT_FILTER}


async def answer_whole(exchange: Exchange, rule: Rule | None, body: Mapping[str, Any]) -> None:
    """Answer 200 with ``body`` in one piece, unless the rule's fault prevents it."""
    fault = rule.fault if rule else None
    await pause(rule.latency_ms if rule else 0)
    if fault is None:
        await exchange.whole(200, body)
        return
    if await answer_error(exchange, fault, streamed=False):
        return
    await strike_before_answer(exchange, fault)
    data = orjson.dumps(body)
    if fault.kind is FaultKind.MALFORMED_CHUNK:
        await exchange.whole(
            200, data[: len(data) // 2].decode(errors="replace"), {"content-type": "application/json"}
        )
        return
    await exchange.start(200, "application/json", {"content-length": str(len(data))})
    if fault.kind is FaultKind.SLOW_FIRST_TOKEN:
        await pause(fault.delay_ms)
    await exchange.write(data[: len(data) // 2])
    await break_off(exchange, fault)
    await exchange.write(data[len(data) // 2 :], more=False)


async def answer_error(exchange: Exchange, fault: Fault, *, streamed: bool) -> bool:
    """Answer with an HTTP error when that is what ``fault`` asks for; says whether it did."""
    unstreamed_error = fault.kind is FaultKind.ERROR_IN_STREAM and not streamed
    if fault.kind not in _ERROR_ANSWERS and not unstreamed_error:
        return False
    body = fault.error_body() if fault.body is None else fault.body
    await exchange.whole(fault.status, body, fault.headers)
    return True


class StreamedAnswer:
    """A chat completion sent as server-sent events."""

    def __init__(
        self, exchange: Exchange, rule: Rule | None, completion: Completion, *, include_usage: bool
    ) -> None:
        """Send ``completion`` by ``rule``; ``include_usage`` asks for the usage chunk."""
        self._exchange = exchange
        self._fault = rule.fault if rule else None
        self._latency_ms = rule.latency_ms if rule else 0
        self._delay_ms = rule.chunk_delay_ms if rule else 0
        self._completion = completion
        self._usage = include_usage and completion.usage is not None

    async def send(self) -> None:
        """Send the whole stream, or as much of it as the fault lets through."""
        exchange, fault, completion = self._exchange, self._fault, self._completion
        await pause(self._latency_ms)
        if fault is not None and await answer_error(exchange, fault, streamed=True):
            return
        await strike_before_answer(exchange, fault)
        await exchange.start(200, _EVENT_STREAM, {"cache-control": "no-cache"})
        if fault is not None and fault.kind is FaultKind.SLOW_FIRST_TOKEN:
            await pause(fault.delay_ms)
        await exchange.event(completion.chunk(completion.opening(), with_usage=self._usage))
        if await self._strikes():
            return
        for delta in completion.deltas():
            await pause(self._delay_ms)
            await exchange.event(completion.chunk(delta, with_usage=self._usage))
            exchange.record.chunks_sent += 1
            if await self._strikes():
                return
        await self._end()

    async def _strikes(self) -> bool:
        """Do what the fault does at this point; says whether the stream is over."""
        fault, exchange = self._fault, self._exchange
        if fault is None or (fault.after_chunks or 0) != exchange.record.chunks_sent:
            return False
        if fault.kind is FaultKind.MALFORMED_CHUNK:
            await exchange.event(_BROKEN)
        if fault.kind is FaultKind.ERROR_IN_STREAM:
            await exchange.event(fault.error_body())
            await exchange.write(b"", more=False)
            return True
        await break_off(exchange, fault)
        return False

    async def _end(self) -> None:
        exchange, completion = self._exchange, self._completion
        await exchange.event(completion.chunk({}, completion.finish_reason, with_usage=self._usage))
        if self._usage:
            await exchange.event(completion.usage_chunk())
        if self._fault is None or self._fault.kind is not FaultKind.MISSING_DONE:
            await exchange.event(b"[DONE]")
        await exchange.write(b"", more=False)
