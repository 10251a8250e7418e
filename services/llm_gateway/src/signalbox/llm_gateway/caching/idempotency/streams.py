"""Streams that are recorded while they are sent, and sent again."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Literal

from signalbox.llm_gateway.answers import ByteStream

Route = Literal["chat/completions", "embeddings", "messages", "responses"]

_ENDS: Mapping[str, "re.Pattern[bytes]"] = {
    "chat/completions": re.compile(rb"^data: \[DONE\]", re.MULTILINE),
    "messages": re.compile(rb"^event: message_stop", re.MULTILINE),
    "responses": re.compile(rb"^event: response\.(?:completed|incomplete)", re.MULTILINE),
}
"""What the last event of a whole stream begins with. Line ends inside of its JSON are escaped, so no text has it."""


class ReplayedStream:
    """The bytes of a stream that was sent before."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    async def aclose(self) -> None:
        """Nothing is open."""


class RecordedStream:
    """A stream as it comes.

    ``whole`` is awaited with its bytes before its end is sent, None when they are too many; ``broken`` is called when
    it ends in any other way.
    """

    def __init__(
        self,
        answer: ByteStream,
        route: Route,
        max_bytes: int,
        whole: Callable[[bytes | None], Awaitable[None]],
        broken: Callable[[], None],
    ) -> None:
        self.headers = answer.headers
        self._answer = answer
        self._end = _ENDS[route]
        self._max_bytes = max_bytes
        self._whole = whole
        self._broken = broken
        self._over = False
        self._chunks = self._recorded()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        """Stop; without effect on a stream that is over."""
        try:
            await self._chunks.aclose()
            await self._answer.aclose()
        finally:
            if not self._over:
                self._over = True
                self._broken()

    async def _recorded(self) -> AsyncGenerator[bytes, None]:
        pieces: list[bytes] = []
        size = 0
        async for piece in self._answer:
            size += len(piece)
            if size <= self._max_bytes:
                pieces.append(piece)
            if not self._over and self._end.search(piece):
                self._over = True
                await self._whole(b"".join(pieces) if size <= self._max_bytes else None)
            yield piece
