"""A backend and a model that take a known time: any request is answered after so many milliseconds, in raw asyncio.

``python bench/work/backend.py PORT MS MODEL_MS``. A chat completion is answered by the tool results that it carries:
none yet, a call of both tools (or of the first, for ``one at a time``), some, the next one, both, a sentence.
"""

import asyncio
import json
import sys

_TOOLS = ("get_order", "get_stock")
ORDER = {"order_number": 1042, "status": "shipped"}


def _response(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _completion(content: str | None, tools: tuple[str, ...] = ()) -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": content}
    if tools:
        arguments = json.dumps({"order_number": 1042})
        message["tool_calls"] = [
            {"id": f"call_{tool}", "type": "function", "function": {"name": tool, "arguments": arguments}}
            for tool in tools
        ]
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "timed-model",
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if tools else "stop"},
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    return json.dumps(answer).encode()


def _chunks(completion: bytes) -> bytes:
    """The same answer as a stream, in as few chunks as the protocol allows."""
    whole = json.loads(completion)
    choice = whole["choices"][0]
    message = choice["message"]
    for index, call in enumerate(message.get("tool_calls", ())):
        call["index"] = index
    shared = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    parts = (
        shared | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        shared | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        shared | {"choices": [], "usage": whole["usage"]},
    )
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts) + b"data: [DONE]\n\n"


def answer_to(head: bytes, body: bytes) -> bytes:
    """The whole response to one request."""
    if b"/chat/completions" not in head:
        if b"/models" in head:
            return _response(b'{"object": "list", "data": [{"id": "timed-model", "object": "model"}]}')
        return _response(json.dumps(ORDER).encode())
    asked = json.loads(body)
    done = sum(message["role"] == "tool" for message in asked["messages"])
    at_once = "one at a time" not in str(asked["messages"])
    left = _TOOLS[done:]
    completion = _completion(None, left if at_once else left[:1]) if left else _completion("It is shipped.")
    if not asked.get("stream"):
        return _response(completion)
    stream = _chunks(completion)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(stream)
        + stream
    )


class Timed(asyncio.Protocol):
    """One connection, whose requests are answered one after the other."""

    def __init__(self, seconds: float, model_seconds: float) -> None:
        self._seconds = seconds
        self._model_seconds = model_seconds
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request when its time has passed."""
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            if len(rest) < length:
                return
            self._rest = rest[length:]
            answer = answer_to(head, rest[:length])
            asyncio.get_running_loop().call_later(self._time_of(head), self._transport.write, answer)

    def _time_of(self, head: bytes) -> float:
        if b"/chat/completions" in head:
            return self._model_seconds
        return 0.0 if b"/models" in head else self._seconds


async def main(port: int, ms: float, model_ms: float) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Timed(ms / 1000, model_ms / 1000), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
