"""The bench's provider where there is no C compiler; `native/provider.c` says what it answers.

python provider.py PORT
"""

import asyncio
import json
import re
import sys
from asyncio import TimerHandle, Transport
from typing import Any

import httptools
import uvloop

_MODEL = re.compile(rb"bench-(\d+)(?:-(\d+))?(?:-(\d+))?")
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = {"prompt_tokens": 24, "completion_tokens": 60, "total_tokens": 84}
_HEAD = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench"}
_TEXT = "tok the order 1042 was sent on Tuesday and arrives tomorrow before noon."


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole(value: Any) -> bytes:
    body = _json(value)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _event(data: bytes) -> bytes:
    return b"%x\r\ndata: %s\n\n\r\n" % (len(data) + 8, data)


def _chunk(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    return _event(_json({**_HEAD, "object": "chat.completion.chunk", "choices": choices, **fields}))


_MODELS = _whole({"object": "list", "data": []})
_PLAIN = _whole(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
        ],
        "usage": _USAGE,
    }
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_TOKEN = _chunk([{"index": 0, "delta": {"role": "assistant", "content": "tok "}, "finish_reason": None}])
_STOP = _chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
_END = _event(b"[DONE]") + b"0\r\n\r\n"
_USAGE_CHUNK = _chunk([], usage=_USAGE)


class Connection(asyncio.Protocol):
    """One caller; answers its requests one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._next: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport: Transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Send nothing more."""
        del exc
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect the request."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer as the model's name says."""
        body, self._body = self._body, b""
        if self._parser.get_method() == b"GET":
            self._transport.write(_MODELS)
            return
        found = _MODEL.search(body)
        delay_ms, chunks, pause_ms = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        if _STREAM.search(body):
            end = (_STOP + _USAGE_CHUNK if b"include_usage" in body else _STOP) + _END
            self._later(delay_ms, self._send_chunk, _STREAM_HEAD, chunks or 20, pause_ms, end)
        else:
            self._later(delay_ms, self._transport.write, _PLAIN)

    def _later(self, delay_ms: int, action: Any, *arguments: Any) -> None:
        if delay_ms:
            self._next = self._loop.call_later(delay_ms / 1000, action, *arguments)
        else:
            self._loop.call_soon(action, *arguments)

    def _send_chunk(self, before: bytes, left: int, pause_ms: int, end: bytes) -> None:
        if self._transport.is_closing():
            return
        if left == 0:
            self._transport.write(end)
            return
        self._transport.write(before + _TOKEN)
        self._later(pause_ms, self._send_chunk, b"", left - 1, pause_ms, end)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", int(sys.argv[1]), backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
