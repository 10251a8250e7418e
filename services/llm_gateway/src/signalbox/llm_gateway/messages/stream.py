"""A chat stream as the events of a streamed message.

``message_start``, ``ping``, for each block ``content_block_start``, ``content_block_delta`` and
``content_block_stop``, then ``message_delta`` with the reason and the usage, ``message_stop``. A stream that breaks
ends with ``error``, never with ``message_stop``.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import orjson

from signalbox.contracts import headers as names
from signalbox.llm_gateway.answers import StreamedAnswer
from signalbox.llm_gateway.errors import ProviderBroke, internal_error
from signalbox.llm_gateway.messages.answer import message_id, opening, stop_of, tool_block
from signalbox.llm_gateway.messages.blocks import BlockEvents
from signalbox.llm_gateway.messages.error_shape import anthropic_error, streamed_error
from signalbox.llm_gateway.messages.request import MessagesRequest
from signalbox.llm_gateway.messages.usage import usage_of
from signalbox.llm_gateway.protocol import EventBlocks, data_of

_LOG = logging.getLogger(__name__)

Json = dict[str, Any]

_PING: Json = {"type": "ping"}


class MessageStream:
    """The bytes of the event stream that a streamed chat answer becomes.

    ``aclose`` must be called, also when nothing was read, as that of the chat answer.
    """

    def __init__(self, answer: StreamedAnswer, request: MessagesRequest, request_id: str | None) -> None:
        self.headers = answer.headers
        self._answer = answer
        self._request_id = request_id
        call_id = answer.headers.get(names.LEDGER_CALL_ID, "")
        self._events = MessageEvents(message_id(call_id), request)
        self._chunks = self._translated()
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        """Stop; without effect on a stream that is over."""
        try:
            await self._chunks.aclose()
        finally:
            await self._answer.aclose()

    async def _translated(self) -> AsyncGenerator[bytes, None]:
        blocks = EventBlocks()
        async for piece in self._answer:
            if written := self._all_written(blocks.feed(piece)):
                yield written
            # Read on, also after the end: what ends the chat stream in order keeps the provider's connection.
        if not self._over:
            broken = ProviderBroke("The answer ended before it was whole; try again.")
            yield b"event: error\ndata: " + anthropic_error(broken, self._request_id)[1] + b"\n\n"

    def _all_written(self, blocks: list[bytes]) -> bytes:
        made = []
        try:
            for block in blocks:
                made.append(self._written(block))  # noqa: PERF401 - what came before an error must not be lost
        except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
            _LOG.exception("unhandled error in a stream")
            self._over = True
            failed = anthropic_error(internal_error(), self._request_id)[1]
            made.append(b"event: error\ndata: " + failed + b"\n\n")
        return b"".join(made)

    def _written(self, block: bytes) -> bytes:
        """What an event of the chat stream becomes."""
        if self._over:
            return b""
        data = data_of(block)
        if data is None:
            # A comment that keeps the line open.
            return _written(_PING) if self._events.begun else block
        if data == b"[DONE]":
            self._over = True
            return b"".join(map(_written, self._events.end()))
        chunk = orjson.loads(data)
        if not isinstance(chunk, dict):
            return b""
        if isinstance(chunk.get("error"), dict):
            self._over = True
            return _written(streamed_error(chunk["error"], self._request_id))
        return b"".join(map(_written, self._events.chunk(chunk)))


class MessageEvents:
    """Makes the events of one message of the chunks of a chat stream."""

    def __init__(self, identifier: str, request: MessagesRequest) -> None:
        self._id = identifier
        self._request = request
        self.begun = False
        """Whether ``message_start`` was made."""
        self._blocks = BlockEvents()
        self._choice: Json = {}
        self._refused = False
        self._usage: Any = None

    def chunk(self, chunk: Json) -> Iterator[Json]:
        """The events of a chunk."""
        if not self.begun:
            self.begun = True
            yield from self._opening(chunk.get("model"))
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                yield from self._delta(choice.get("delta") or {})
                if choice.get("finish_reason") is not None:
                    self._choice = choice

    def end(self) -> Iterator[Json]:
        """The events of a stream that ended as it should."""
        yield from self._blocks.end()
        reason, sequence = stop_of(
            self._choice, self._request.stop_sequences, called=self._blocks.called, refused=self._refused
        )
        usage = usage_of(self._usage, self._request.chat.fields, self._blocks.size)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}

    def _opening(self, model: Any) -> Iterator[Json]:
        # The provider counts the input at the end; until then it is an estimate, which ``message_delta`` corrects.
        usage = usage_of(None, self._request.chat.fields, 0)
        yield {"type": "message_start", "message": {**opening(self._id, model), "usage": usage}}
        yield _PING

    def _delta(self, delta: Json) -> Iterator[Json]:
        if self._request.shows_thinking:
            yield from self._thoughts(delta)
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._refused |= name == "refusal"
                yield from self._blocks.delta("text", {"type": "text", "text": ""}, text)
        for position, call in enumerate(delta.get("tool_calls") or ()):
            # Some providers send whole calls without an index.
            key = call.get("index", call.get("id", position))
            piece = (call.get("function") or {}).get("arguments") or ""
            yield from self._blocks.delta(("tool", key), tool_block(call, position), piece)

    def _thoughts(self, delta: Json) -> Iterator[Json]:
        text = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str) and text:
            head = {"type": "thinking", "thinking": "", "signature": ""}
            yield from self._blocks.delta("thinking", head, text)
        for block in delta.get("thinking_blocks") or ():
            if block.get("type") == "redacted_thinking":
                yield from self._blocks.delta(("redacted", block.get("data")), block, "")
            elif block.get("signature"):
                self._blocks.sign(block["signature"])


def _written(event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
