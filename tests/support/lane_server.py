"""A fast lane on a socket, with a front that does as it is told, and an ASGI app for what is not the lane's."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import uvicorn
from support.apps import RecordedTracing
from support.async_waiting import until

from signalbox.common.auth import Authenticator
from signalbox.common.auth.tokens import ServiceTokens
from signalbox.common.errors import BadRequest
from signalbox.common.telemetry.metrics import Metrics, render_metrics
from signalbox.llm_gateway.front import ModelResponse, refused
from signalbox.llm_gateway.lane import Lane, LaneCounter, Patience

CHAT = "/llm/v1/chat/completions"
MAX_BODY_BYTES = 100_000


class FakeFront:
    """Answers as the field ``do`` of a request's body says."""

    def __init__(self):
        self.asked = []
        self.came = asyncio.Event()
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()
        self.chunks_made = 0

    async def answer(self, request):
        self.asked.append(request)
        self.came.set()
        told = json.loads(request.body)
        try:
            return await getattr(self, f"_{told.pop('do')}")(**told)
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _say(self, text):
        return ModelResponse(200, {"content-type": "text/plain"}, text.encode())

    async def _wait(self):
        await self.go_on.wait()
        return await self._say("at last")

    async def _refuse(self):
        return refused(BadRequest("No."))

    async def _raise(self):
        raise RuntimeError("a bug")

    async def _stream(self, count, size, raises=False, waits=False):
        return ModelResponse(
            200, {"content-type": "text/event-stream"}, _Chunks(self, count, size, raises, waits)
        )


class _Chunks:
    headers = {}

    def __init__(self, front, count, size, raises, waits):
        self._front, self._count, self._size, self._raises, self._waits = front, count, size, raises, waits

    async def __aiter__(self):
        for number in range(self._count):
            self._front.chunks_made += 1
            yield bytes([97 + number % 26]) * self._size
        if self._waits:
            await self._front.go_on.wait()
        if self._raises:
            raise RuntimeError("a bug")

    async def aclose(self):
        self._front.left.set()


async def _echo(receive, send):
    """Says again what comes on a WebSocket."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": message["text"]})


async def ordinary(scope, receive, send):
    """What is not the lane's: answered with the method, the path and the body that came."""
    if scope["type"] == "websocket":
        await _echo(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    said = f"ordinary {scope['method']} {scope['path']} {len(body)}".encode()
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


class LaneServer:
    """A running lane; ``front`` is what it asks."""

    def __init__(self, port, front, metrics, tracing, server, keys, taken):
        self.keys = keys
        self.taken = taken
        self.port, self.front, self.tracing, self.server = port, front, tracing, server
        self._metrics = metrics

    def metrics(self):
        return render_metrics([self._metrics]).decode()


@asynccontextmanager
async def lane_server(
    *, hosts=None, tls=None, drain_s=5, allow_local=True, keep_alive_s=5, patience=(20, 20)
):
    front, metrics, tracing = FakeFront(), Metrics("llm_gateway"), RecordedTracing()
    tokens = ServiceTokens("a secret of the test", "llm_gateway")
    authenticator = Authenticator("llm_gateway", tokens, allow_local=allow_local)
    tracer = tracing.tracer("llm_gateway")
    lane = Lane(
        front, authenticator, metrics, tracer, MAX_BODY_BYTES, Patience(*patience), taken := LaneCounter()
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        ordinary,
        http=lane(hosts),
        log_config=None,
        lifespan="off",
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,
        timeout_keep_alive=keep_alive_s,
    )
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started)
        yield LaneServer(
            listener.getsockname()[1], front, metrics, tracing, server, authenticator.keys, taken
        )
    finally:
        server.should_exit = True
        await serving


class Client:
    """A connection, on which bytes are written and answers read."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, *requests):
        self.writer.write(b"".join(requests))

    async def head(self):
        """Status and headers of the next answer."""
        async with asyncio.timeout(5):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def answer(self):
        """Status, headers and body of the next answer."""
        status, headers = await self.head()
        async with asyncio.timeout(10):
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await self.reader.readline(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return status, headers, body

    async def said(self):
        """The body of the next answer."""
        return (await self.answer())[2].decode()

    async def at_end(self):
        """Whether the server has closed the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def connected(server, tls=None):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def ask(do, *, headers=(), path=CHAT, method="POST", version="1.1", **told):
    """A request in bytes that tells the front what to do."""
    body = json.dumps({"do": do, **told}).encode()
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def say(text, **options):
    return ask("say", text=text, **options)
