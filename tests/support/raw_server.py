"""A server that says byte by byte what its script says, for clients of HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection that a client has opened, from the server's side."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, bytes]:
        """The next request: its head and its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        size = next(
            (int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:")), 0
        )
        return head, await self.reader.readexactly(size)

    async def say(self, *pieces: bytes) -> None:
        """Send the pieces, each in a packet of its own as far as that can be had."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Returns when the client has ended the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """End the connection without a goodbye."""
        self.writer.transport.abort()


class RawServer:
    """Runs ``script`` for each connection; when it returns, the connection is closed."""

    def __init__(self, script: Script) -> None:
        self.connections = 0
        self.port = 0
        self._script = script
        self._scheme = "http"

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self.port}"

    @asynccontextmanager
    async def running(
        self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["RawServer"]:
        server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self._scheme = "https" if tls else "http"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._script(Peer(self.connections, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
