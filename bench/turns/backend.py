"""The backend of case F: answers every request at once with one small order, in raw asyncio."""

import asyncio
import sys

_BODY = b'{"order_number":1042,"status":"shipped"}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


class Backend(asyncio.Protocol):
    """One connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        if requests and isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(_ANSWER * len(requests))


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
