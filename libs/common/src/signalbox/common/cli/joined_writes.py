"""The server's side of HTTP/1.1, where what one answer writes in one go reaches the network as one piece.

uvicorn writes the head of an answer and its body one after the other, and uvloop passes each write on at once: two
system calls here, and often two times in which the caller wakes up. They were a tenth of what a tool call costs.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LARGE = 64 * 1024
"""So many bytes are not copied to be joined."""


class JoinedWrites(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport, self.loop)))


class JoiningTransport:
    """A transport that sends what is written when the loop has run what is ready, or before it is closed.

    Everything that is not about writing is the other transport's.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send bytes before long, behind those that were written before."""
        if not self._held:
            if len(data) >= _LARGE:
                self._transport.write(data)
                return
            self._loop.call_soon(self._flush)
        self._held.append(data)
        if len(data) >= _LARGE:
            self._flush()

    def writelines(self, pieces: list[bytes]) -> None:
        """Send several pieces."""
        for piece in pieces:
            self.write(piece)

    def write_eof(self) -> None:
        """No more will be written."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close it when everything that was written has been sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held = self._held
        if held:
            self._held = []
            # A server that closed meanwhile has lost its reader: nothing is sent to it, as without us.
            if not self._transport.is_closing():
                self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
