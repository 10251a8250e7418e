"""What only the HTTP hop does: connections, retries, several base URLs; against scripted sockets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Self

import pytest

from signalbox.common.transport import (
    HopProtocolError,
    HopRequest,
    HopTimeout,
    HopUnreachable,
    HttpServiceHop,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
HANG_UP = b""


class Script:
    """A server that answers its n-th request with the n-th answer (the last one again and again).

    `HANG_UP` closes the connection instead, without a byte.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    @property
    def base(self) -> str:
        """Its base URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if "content-length:" in head:
                    await reader.readexactly(int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]))
                self.requests.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == HANG_UP:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture
async def hop_to() -> AsyncIterator[Callable[..., HttpServiceHop]]:
    """Makes hops and closes them."""
    async with AsyncExitStack() as stack:

        def make(*bases: str) -> HttpServiceHop:
            hop = HttpServiceHop(bases, service="flows")
            stack.push_async_callback(hop.aclose)
            return hop

        yield make


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def get(path: str = "/x", *, idempotent: bool = True, timeout: float = 5) -> HopRequest:
    """A GET."""
    return HopRequest("GET", path, timeout=timeout, idempotent=idempotent)


def post(*, idempotent: bool = False, timeout: float = 5) -> HopRequest:
    """A POST with a body."""
    return HopRequest("POST", "/x", body=b"{}", timeout=timeout, idempotent=idempotent)


async def test_connections_are_kept(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(OK) as server:
        hop = hop_to(server.base)
        for _ in range(20):
            assert (await hop.send(post())).body == b"ok"
    assert server.connections == 1
    assert len(server.requests) == 20


async def test_nothing_listens(hop_to: Callable[..., HttpServiceHop]) -> None:
    with pytest.raises(HopUnreachable, match="flows service cannot be reached for POST /x") as caught:
        await hop_to(f"http://127.0.0.1:{closed_port()}").send(post())
    assert caught.value.service == "flows"
    assert caught.value.status == 503


@pytest.mark.parametrize("request_", [get(), post(idempotent=True)])
async def test_a_connection_that_ends_before_the_answer_is_retried(
    hop_to: Callable[..., HttpServiceHop], request_: HopRequest
) -> None:
    async with Script(HANG_UP, OK) as server:
        assert (await hop_to(server.base).send(request_)).status == 200
    assert len(server.requests) == 2


@pytest.mark.parametrize("request_", [post(), get(idempotent=False)])
async def test_what_is_not_idempotent_is_sent_once(
    hop_to: Callable[..., HttpServiceHop], request_: HopRequest
) -> None:
    async with Script(HANG_UP, OK) as server:
        with pytest.raises(HopUnreachable):
            await hop_to(server.base).send(request_)
    assert len(server.requests) == 1


async def test_a_kept_connection_that_the_server_closes_is_retried_only_when_idempotent(
    hop_to: Callable[..., HttpServiceHop],
) -> None:
    async with Script(OK, HANG_UP, OK) as server:
        hop = hop_to(server.base)
        await hop.send(get())
        assert (await hop.send(get())).status == 200
    async with Script(OK, HANG_UP, OK) as server:
        hop = hop_to(server.base)
        await hop.send(get(idempotent=False))
        with pytest.raises(HopUnreachable):
            await hop.send(get(idempotent=False))
    assert len(server.requests) == 2


async def test_busy_answers_are_retried_at_most_twice(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(BUSY, BUSY, OK) as server:
        assert (await hop_to(server.base).send(get())).status == 200
    assert len(server.requests) == 3
    async with Script(BUSY) as server:
        response = await hop_to(server.base).send(get())
    assert (response.status, response.body) == (503, b"busy")
    assert len(server.requests) == 3


async def test_a_busy_answer_to_a_write_is_returned(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(BUSY, OK) as server:
        assert (await hop_to(server.base).send(post())).status == 503
    assert len(server.requests) == 1


async def test_streams_are_retried_until_their_head(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(HANG_UP, BUSY, OK) as server, hop_to(server.base).stream(get()) as stream:
        assert stream.status == 200
        assert await stream.read() == b"ok"


async def test_retries_end_at_the_deadline(hop_to: Callable[..., HttpServiceHop]) -> None:
    async def refuse_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        await asyncio.sleep(0.2)
        writer.close()

    attempts: list[str] = []
    server = await asyncio.start_server(refuse_slowly, "127.0.0.1", 0)
    hop = hop_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    start = time.monotonic()
    with pytest.raises(HopTimeout):
        await hop.send(get(timeout=0.3))
    assert time.monotonic() - start < 1
    assert len(attempts) == 2
    server.close()


async def test_each_attempt_tells_what_is_left(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(BUSY, BUSY, OK) as server:
        await hop_to(server.base).send(get(timeout=3))
    told = [int(head.split("signalbox-timeout-ms: ")[1].split("\r\n")[0]) for head in server.requests]
    assert told == sorted(told, reverse=True)
    assert told[0] <= 3000


async def test_an_answer_that_breaks_off(hop_to: Callable[..., HttpServiceHop]) -> None:
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhal"
    reader_gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(cut)
        await writer.drain()
        writer.close()
        reader_gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hop = hop_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(HopProtocolError, match="broke off"):
        await hop.send(get())
    assert reader_gone.is_set()
    server.close()


async def test_an_answer_that_is_not_http(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(b"220 mail.example.test ESMTP\r\n\r\n") as server:
        with pytest.raises(HopProtocolError):
            await hop_to(server.base).send(get())


async def test_base_urls_take_turns(hop_to: Callable[..., HttpServiceHop]) -> None:
    async with Script(OK) as first, Script(OK) as second:
        hop = hop_to(first.base, second.base + "/")
        for _ in range(10):
            await hop.send(post())
    assert (len(first.requests), len(second.requests)) == (5, 5)
    assert second.requests[0].startswith("post /x http/1.1")


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_replica_that_is_down_costs_no_request(
    hop_to: Callable[..., HttpServiceHop], *, idempotent: bool
) -> None:
    async with Script(OK) as alive:
        hop = hop_to(f"http://127.0.0.1:{closed_port()}", alive.base)
        for _ in range(10):
            assert (await hop.send(post(idempotent=idempotent))).status == 200
    assert len(alive.requests) == 10


async def test_redirects_cookies_and_compression_are_left_alone(
    hop_to: Callable[..., HttpServiceHop],
) -> None:
    moved = (
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\n"
        b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nraw"
    )
    async with Script(moved) as server:
        hop = hop_to(server.base)
        response = await hop.send(get())
        await hop.send(get())
    assert (response.status, response.headers["location"], response.body) == (307, "/elsewhere", b"raw")
    assert "cookie" not in server.requests[1]
    assert "accept-encoding: identity\r\n" in server.requests[0]


def test_a_hop_needs_a_base_url() -> None:
    with pytest.raises(ValueError, match="at least one base URL"):
        HttpServiceHop([], service="flows")
