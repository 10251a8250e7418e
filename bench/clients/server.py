"""The server that the client comparison talks to: raw ASGI, so that its own cost is small and constant.

Run by `compare.py` as `python server.py PORT`. It prints `ready` once it listens.

- ``POST /echo`` answers with the posted bytes.
- ``GET /stream`` answers 60 chunks of one server-sent event each, one event-loop turn apart.
- ``GET /hang`` never answers; ``GET /hung`` says how many hung requests saw their client go away and when
  the last one did (``time.monotonic()`` of this machine, comparable between processes on Linux).
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHUNKS = 60
CHUNK = b'data: {"type": "text", "data": {"text": "a few words of a reply "}}\n\n'


class BenchApp:
    """Three endpoints, no framework."""

    def __init__(self) -> None:
        self.left = 0
        self.left_at = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one ASGI HTTP scope."""
        path = scope["path"]
        if path == "/echo":
            await self._answer(send, await self._body(receive))
        elif path == "/stream":
            await self._stream(send)
        elif path == "/hung":
            await self._answer(send, json.dumps({"left": self.left, "left_at": self.left_at}).encode())
        elif path == "/hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
            self.left_at = time.monotonic()

    @staticmethod
    async def _body(receive: Receive) -> bytes:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return bytes(body)

    @staticmethod
    async def _answer(send: Send, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @staticmethod
    async def _stream(send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


class _Server(uvicorn.Server):
    """Says `ready` on standard output when the socket is bound."""

    async def startup(self, sockets: Any = None) -> None:
        """Bind, then tell the parent process."""
        await super().startup(sockets)
        sys.stdout.write("ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _Server(
        uvicorn.Config(
            BenchApp(),
            port=int(sys.argv[1]),
            log_level="error",
            lifespan="off",
            access_log=False,
            http="httptools",
        )
    ).run()
