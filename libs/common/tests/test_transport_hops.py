"""What every `ServiceHop` does: the same bodies over the in-process hop and over HTTP with a real server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from signalbox.common.transport import (
    AsgiServiceHop,
    HopProtocolError,
    HopRequest,
    HopTimeout,
    HopUnreachable,
    HttpServiceHop,
    ServiceHop,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Callee:
    """A raw ASGI application whose steps a test can hold and watch."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()
        self.client_gone = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Dispatch on the first part of the path."""
        if scope["type"] != "http":
            return
        name = scope["path"].strip("/").partition("/")[0]
        await getattr(self, name)(scope, receive, send)

    async def echo(self, scope: Message, receive: Receive, send: Send) -> None:
        """Everything that arrived, as JSON."""
        body = await whole_body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": headers,
            "body": body.decode(),
        }
        await answer(send, 200, json.dumps(seen).encode(), (b"X-Two", b"a"), (b"x-two", b"b"))

    async def size(self, _scope: Message, receive: Receive, send: Send) -> None:
        """The body, reversed."""
        await answer(send, 200, (await whole_body(receive))[::-1])

    async def status(self, scope: Message, _receive: Receive, send: Send) -> None:
        """The status that the path names, with problem details."""
        status = int(scope["path"].rpartition("/")[2])
        await answer(send, status, b"" if status == 204 else b'{"code": "teapot"}')

    async def steps(self, _scope: Message, _receive: Receive, send: Send) -> None:
        """One chunk, then a second one when the test says so."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"steps")]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"second", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def fails(self, _scope: Message, _receive: Receive, _send: Send) -> None:
        """Raises before any answer."""
        raise RuntimeError("the callee is broken")

    async def breaks(self, _scope: Message, _receive: Receive, send: Send) -> None:
        """Raises in the middle of its answer."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("the callee broke off")

    async def hangs(self, _scope: Message, receive: Receive, _send: Send) -> None:
        """Never answers; notices when its client goes."""
        await whole_body(receive)
        await self._until_gone(receive)

    async def hangs_half_way(self, _scope: Message, receive: Receive, send: Send) -> None:
        """Answers one chunk, then as `hangs`."""
        await whole_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await self._until_gone(receive)

    async def _until_gone(self, receive: Receive) -> None:
        self.arrived.set()
        try:
            message = await receive()
        except asyncio.CancelledError:
            self.client_gone.set()
            raise
        if message["type"] == "http.disconnect":
            self.client_gone.set()


async def whole_body(receive: Receive) -> bytes:
    """All of the request's body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """A whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """`app` behind a real server in this loop; yields its base URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110  (uvicorn has a flag, no event)
            await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


@dataclass
class Pair:
    """A hop and the callee at its other end."""

    hop: ServiceHop
    callee: Callee


@pytest.fixture(params=["asgi", "http"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """The two hops, one after the other."""
    callee = Callee()
    if request.param == "asgi":
        hop: ServiceHop = AsgiServiceHop(callee, service="callee")
        yield Pair(hop, callee)
        await hop.aclose()
        return
    async with served(callee) as base:
        hop = HttpServiceHop(base, service="callee")
        yield Pair(hop, callee)
        await hop.aclose()


async def test_json_goes_there_and_back(pair: Pair) -> None:
    response = await pair.hop.send(
        HopRequest("POST", "/echo/a%20b?x=1&y=%E4%BD%A0", {"X-Note": "hello"}, b'{"q": "\xe4\xbd\xa0"}', 5)
    )
    seen = json.loads(response.body)
    assert response.status == 200
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/echo/a b", "x=1&y=%E4%BD%A0")
    assert json.loads(seen["body"]) == {"q": "你"}
    assert seen["headers"]["x-note"] == "hello"
    assert seen["headers"]["content-length"] == "12"
    assert seen["headers"]["host"]
    assert response.headers["x-two"] == "a, b"


async def test_the_callee_is_told_the_time_it_has(pair: Pair) -> None:
    response = await pair.hop.send(HopRequest("GET", "/echo", timeout=7))
    assert 6000 < int(json.loads(response.body)["headers"]["signalbox-timeout-ms"]) <= 7000


async def test_chunks_arrive_before_the_next_one_is_made(pair: Pair) -> None:
    async with pair.hop.stream(HopRequest("GET", "/steps", timeout=5)) as stream:
        assert stream.status == 200
        assert stream.headers["x-kind"] == "steps"
        assert await anext(stream.chunks) == b"first"
        pair.callee.go_on.set()
        assert await anext(stream.chunks) == b"second"
        with pytest.raises(StopAsyncIteration):
            await anext(stream.chunks)


async def test_a_stream_can_be_read_whole(pair: Pair) -> None:
    pair.callee.go_on.set()
    async with pair.hop.stream(HopRequest("GET", "/steps", timeout=5)) as stream:
        assert await stream.read() == b"firstsecond"


@pytest.mark.parametrize("status", [204, 302, 404, 418, 503])
async def test_statuses_are_answers(pair: Pair, status: int) -> None:
    response = await pair.hop.send(HopRequest("GET", f"/status/{status}", timeout=5))
    assert response.status == status
    async with pair.hop.stream(HopRequest("GET", "/status/418", timeout=5)) as stream:
        assert stream.status == 418
        assert json.loads(await stream.read()) == {"code": "teapot"}


async def test_an_exception_of_the_callee_is_a_500(pair: Pair) -> None:
    response = await pair.hop.send(HopRequest("GET", "/fails", timeout=5))
    assert response.status == 500
    assert b"broken" not in response.body
    async with pair.hop.stream(HopRequest("GET", "/fails", timeout=5)) as stream:
        assert stream.status == 500


async def test_an_exception_within_the_answer_is_an_error(pair: Pair) -> None:
    with pytest.raises(HopProtocolError, match="GET /breaks") as caught:
        await pair.hop.send(HopRequest("GET", "/breaks", timeout=5))
    assert caught.value.service == "callee"
    async with pair.hop.stream(HopRequest("GET", "/breaks", timeout=5)) as stream:
        assert await anext(stream.chunks) == b"half"
        with pytest.raises(HopProtocolError):
            await anext(stream.chunks)


async def test_cancelling_the_caller_reaches_the_callee(pair: Pair) -> None:
    task = asyncio.create_task(pair.hop.send(HopRequest("POST", "/hangs", body=b"{}", timeout=30)))
    await asyncio.wait_for(pair.callee.arrived.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(pair.callee.client_gone.wait(), 1)


async def test_leaving_a_stream_early_reaches_the_callee(pair: Pair) -> None:
    async with pair.hop.stream(HopRequest("GET", "/hangs_half_way", timeout=30)) as stream:
        assert await anext(stream.chunks) == b"half"
        await asyncio.wait_for(pair.callee.arrived.wait(), 5)
    await asyncio.wait_for(pair.callee.client_gone.wait(), 1)


async def test_cancelling_the_reader_of_a_stream_reaches_the_callee(pair: Pair) -> None:
    async def read() -> None:
        async with pair.hop.stream(HopRequest("GET", "/hangs_half_way", timeout=30)) as stream:
            await stream.read()

    task = asyncio.create_task(read())
    await asyncio.wait_for(pair.callee.arrived.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(pair.callee.client_gone.wait(), 1)


@pytest.mark.parametrize("path", ["/hangs", "/hangs_half_way"])
async def test_the_deadline_ends_the_call_on_both_sides(pair: Pair, path: str) -> None:
    start = time.monotonic()
    with pytest.raises(HopTimeout, match=r"within 0\.3 s") as caught:
        await pair.hop.send(HopRequest("GET", path, timeout=0.3))
    assert 0.25 < time.monotonic() - start < 2
    assert caught.value.service == "callee"
    await asyncio.wait_for(pair.callee.client_gone.wait(), 1)


async def test_the_deadline_holds_for_the_last_chunk(pair: Pair) -> None:
    async with pair.hop.stream(HopRequest("GET", "/hangs_half_way", timeout=0.3)) as stream:
        assert await anext(stream.chunks) == b"half"
        with pytest.raises(HopTimeout):
            await anext(stream.chunks)
    await asyncio.wait_for(pair.callee.client_gone.wait(), 1)


async def test_big_bodies(pair: Pair) -> None:
    body = bytes(range(256)) * 20_000
    response = await pair.hop.send(HopRequest("POST", "/size", body=body, timeout=20))
    assert response.body == body[::-1]
    async with pair.hop.stream(HopRequest("POST", "/size", body=body, timeout=20)) as stream:
        assert await stream.read() == body[::-1]


async def test_many_calls_at_once_do_not_mix(pair: Pair) -> None:
    async def one(number: int) -> None:
        response = await pair.hop.send(HopRequest("POST", "/size", body=f"<{number}>".encode(), timeout=20))
        assert response.body == f">{str(number)[::-1]}<".encode()

    await asyncio.gather(*(one(number) for number in range(200)))


async def test_a_closed_hop_says_so(pair: Pair) -> None:
    await pair.hop.aclose()
    with pytest.raises(HopUnreachable):
        await pair.hop.send(HopRequest("GET", "/echo", timeout=5))


@pytest.mark.parametrize("path", ["echo", "http://elsewhere/", "/ä"])
def test_a_path_is_a_path(path: str) -> None:
    with pytest.raises(ValueError, match="begins with a slash"):
        HopRequest("GET", path)
