"""An answer on its way in: one reader waits for the bytes that a connection puts into it."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol

from signalbox.common.transport.wire.errors import AnswerTooLarge, BrokenOff, WireError

_FULL = 256 * 1024
"""So many bytes that nobody has read make the connection pause: TCP then holds the provider back."""


class AnswerHeaders(Mapping[str, str]):
    """Headers by lower-case name, those of one name joined with a comma (RFC 9110, 5.3).

    Made of the raw ones when the first is asked for, as most never are.
    """

    __slots__ = ("_named", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._named: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._named is None:
            named: dict[str, str] = {}
            for name, value in self._raw:
                key, text = name.decode("latin-1").lower(), value.decode("latin-1")
                named[key] = f"{named[key]}, {text}" if key in named else text
            self._named = named
        return self._named


_NO_HEADERS = AnswerHeaders([])


class Source(Protocol):
    """The connection that an answer comes by."""

    def pause(self) -> None:
        """Read no more for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def abort(self) -> None:
        """End at once; the provider learns of it."""
        ...

    def wait_until(self, until: float) -> None:
        """Call ``time_passed`` at that time on the loop's clock, if the answer is still under way."""
        ...


class Answer:
    """Status, headers, and a body that is read as it comes.

    ``until`` is a time on the loop's clock; waiting longer raises ``TimeoutError``, after which the answer can only
    be closed. What came before the connection broke is given out before the error is raised.
    """

    __slots__ = (
        "_failure", "_loop", "_pieces", "_size", "_source", "_waiter",
        "begun", "complete", "headers", "paused", "status",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self.status = 0
        """0 until the head has come."""
        self.headers = _NO_HEADERS
        self.begun = False
        """Whether any byte has come."""
        self.complete = False
        self._loop = loop
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._size = 0
        self.paused = False
        self._failure: WireError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # For the reader.

    async def head(self, until: float) -> None:
        """Wait for status and headers. Raises BrokenOff, AnswerTooLarge and TimeoutError."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._arrival(until)

    async def chunk(self, until: float) -> bytes:
        """All that has come of the body and was not read yet; empty at its end. Raises as ``head`` does."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.complete:
                return b""
            await self._arrival(until)
        pieces = self._pieces
        self._pieces = []
        self._size = 0
        if self.paused:
            self.paused = False
            if self._source is not None:
                self._source.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self, until: float, max_bytes: int) -> bytes:
        """The rest of the body. Raises as ``head`` does; AnswerTooLarge has closed the answer."""
        pieces: list[bytes] = []
        size = 0
        if self.complete and self._size <= max_bytes and self._failure is None:
            # It came with its head, as small answers do.
            pieces, self._pieces, self._size = self._pieces, [], 0
            return b"".join(pieces)
        while piece := await self.chunk(until):
            size += len(piece)
            if size > max_bytes:
                self.close()
                raise AnswerTooLarge(f"more than {max_bytes} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """No more is wanted: ends the connection, unless the answer is whole."""
        source, self._source = self._source, None
        if source is not None:
            source.abort()

    # For the connection.

    def add(self, piece: bytes) -> None:
        """A piece of the body has come."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _FULL and not self.paused and self._source is not None:
            self.paused = True
            self._source.pause()

    def end(self) -> None:
        """The body is whole; the connection goes its own way."""
        self.complete = True
        self._over()

    def fail(self, failure: WireError) -> None:
        """There will be no more."""
        self._failure = failure
        self._over()

    def wake(self) -> None:
        """Let the reader look at what has come."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _over(self) -> None:
        self._source = None
        self.wake()

    def _arrival(self, until: float) -> "asyncio.Future[None]":
        """Done when more has come, or the end."""
        source = self._source
        if source is None:
            raise BrokenOff("this side closed the connection")
        source.wait_until(until)
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def time_passed(self) -> None:
        """The time until which the reader waits has passed."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(TimeoutError())
