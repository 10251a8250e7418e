"""Short ways to ask a scripted server by the gateway's own HTTP client."""

import asyncio
import contextlib

from support.raw_server import RawServer

from signalbox.common.transport.wire import WireClient

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def served(script, host="127.0.0.1", tls=None, **options):
    async with RawServer(script).running(host, tls) as server:
        client = WireClient(**options)
        try:
            yield server, client
        finally:
            client.close()


def soon(seconds=5.0):
    return asyncio.get_running_loop().time() + seconds


async def ask(client, url, body=b"{}", until=None, **headers):
    return await client.send("POST", url, headers=headers, body=body, until=until or soon())


async def text(client, url, **options):
    answer = await ask(client, url, **options)
    return answer.status, await answer.read(soon(), 1 << 20)


def saying(*pieces, forever=True):
    """A script that answers each request of a connection with the pieces."""

    async def script(peer):
        while True:
            await peer.request()
            await peer.say(*pieces)
            if not forever:
                return

    return script
