"""The HTTP client for providers, against a server that says every odd thing on purpose; on both event loops."""

import asyncio

import pytest
import uvloop
from support.async_waiting import until as eventually
from support.wire_calls import CHUNKED, HELLO, ask, saying, served, soon, text

from signalbox.common.transport.wire import (
    AnswerTooLarge,
    BrokenOff,
)

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture is deprecated")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


async def test_a_request_says_what_it_has_to_and_nothing_else():
    heads = []

    async def script(peer):
        while True:
            heads.append(await peer.request())
            await peer.say(HELLO)

    async with served(script) as (server, client):
        assert await text(client, f"{server.url}/v1/a b?x=1", body=b"body", authorization="Bearer k") == (
            200,
            b"hello",
        )
        answer = await client.send("GET", server.url, headers={}, until=soon())
        assert await answer.read(soon(), 10) == b"hello"
    (head, body), (get, nothing) = heads
    assert head.split("\r\n") == [
        "POST /v1/a%20b?x=1 HTTP/1.1",
        f"host: localhost:{server.port}",
        "user-agent: signalbox",
        "accept-encoding: identity",
        "authorization: Bearer k",
        "content-length: 4",
        "",
        "",
    ]
    assert body == b"body"
    assert get.startswith("GET / HTTP/1.1\r\n")
    assert "content-length" not in get
    assert nothing == b""


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HELLO], id="length"),
        pytest.param([bytes([byte]) for byte in HELLO], id="byte by byte"),
        pytest.param([CHUNKED, b"3\r\nhel\r\n", b"2;x=y\r\nlo\r\n", b"0\r\ntrailer: t\r\n\r\n"], id="chunked"),
        pytest.param([CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], id="chunked at once"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO], id="interim"),
        pytest.param(
            [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 102 P\r\n\r\n", HELLO], id="two interim"
        ),
        pytest.param([b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"], id="twice the length"),
    ],
)  # fmt: skip
async def test_answers_of_every_form_are_read_and_the_connection_is_used_again(pieces):
    async with served(saying(*pieces)) as (server, client):
        if b"Content-Length: 5\r\nContent-Length" in pieces[0]:
            with pytest.raises(BrokenOff):  # ambiguous framing: RFC 9112, section 6.3
                await text(client, server.url)
            return
        for _ in range(3):
            assert await text(client, server.url) == (200, b"hello")
        assert server.connections == 1


async def test_a_body_that_ends_with_the_connection_is_whole():
    async with served(saying(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", forever=False)) as (server, client):
        assert await text(client, server.url) == (200, b"hello")
        assert await text(client, server.url) == (200, b"hello")
        assert server.connections == 2


async def test_answers_without_a_body_end_at_once():
    async with served(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as (server, client):
        assert await text(client, server.url) == (204, b"")
        assert await text(client, server.url) == (204, b"")
        assert server.connections == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_answer_is_broken_off(nonsense):
    async with served(saying(nonsense, forever=False)) as (server, client):
        with pytest.raises(BrokenOff):
            await ask(client, server.url)


@pytest.mark.parametrize("reset", [False, True])
async def test_what_came_before_a_break_is_given_out_and_then_the_break(reset):
    read = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.say(CHUNKED, b"3\r\nhel\r\n")
        await read.wait()
        if reset:
            peer.reset()

    async with served(script) as (server, client):
        answer = await ask(client, server.url)
        assert await answer.chunk(soon()) == b"hel"
        read.set()
        for _ in range(2):
            with pytest.raises(BrokenOff):
                await answer.chunk(soon())


async def test_bytes_and_the_break_at_once_are_given_out_in_order():
    async with served(saying(CHUNKED + b"3\r\nhel\r\n", forever=False)) as (server, client):
        answer = await ask(client, server.url)
        await eventually(lambda: answer._failure is not None)
        assert await answer.chunk(soon()) == b"hel"
        with pytest.raises(BrokenOff):
            await answer.chunk(soon())


async def test_a_body_that_is_cut_is_never_whole():
    async with served(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", forever=False)) as (
        server,
        client,
    ):
        with pytest.raises(BrokenOff):
            await text(client, server.url)


@pytest.mark.parametrize("when", ["head", "body", "cancelled"])
async def test_leaving_an_answer_ends_its_connection_at_once(when):
    gone = asyncio.Event()

    async def script(peer):
        await peer.request()
        if when == "body":
            await peer.say(CHUNKED, b"3\r\nhel\r\n")
        await peer.gone()
        gone.set()

    async with served(script) as (server, client):
        if when == "body":
            answer = await ask(client, server.url)
            await answer.chunk(soon())
            answer.close()
        elif when == "head":
            with pytest.raises(TimeoutError):
                await ask(client, server.url, until=soon(0.05))
        else:
            task = asyncio.ensure_future(ask(client, server.url))
            await eventually(lambda: server.connections == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(gone.wait(), 2)


async def test_leaving_while_the_provider_reads_nothing_ends_the_connection_too():
    stuck = asyncio.Event()

    async def script(peer):
        peer.writer.transport.pause_reading()
        stuck.set()
        await done.wait()

    done = asyncio.Event()
    async with served(script) as (server, client):
        with pytest.raises(TimeoutError):
            await ask(client, server.url, body=b"x" * 30_000_000, until=soon(0.3))
        pool = next(iter(client._pools.values()))
        assert not pool._connections
        done.set()


async def test_an_answer_before_the_request_was_read_is_taken_and_the_connection_is_not_kept():
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await done.wait()

    done = asyncio.Event()
    async with served(script) as (server, client):
        assert await text(client, server.url, body=b"x" * 30_000_000) == (413, b"no")
        assert not next(iter(client._pools.values()))._connections
        done.set()


async def test_a_reader_that_is_slow_holds_the_provider_back():
    sent = 0
    block = b"10000\r\n" + b"x" * 65536 + b"\r\n"

    async def script(peer):
        nonlocal sent
        await peer.request()
        peer.writer.write(CHUNKED)
        for _ in range(1000):
            peer.writer.write(block)
            await peer.writer.drain()
            sent += 1
        await peer.say(b"0\r\n\r\n")
        await peer.gone()

    async with served(script) as (server, client):
        answer = await ask(client, server.url)
        await eventually(lambda: answer.paused)
        assert answer._size < 1_000_000
        before = -1
        while before != sent:  # what the sockets hold is full when a pause changes nothing
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 900
        size = 0
        while piece := await answer.chunk(soon()):
            size += len(piece)
        assert size == 1000 * 65536


async def test_heads_and_bodies_have_limits():
    head = b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"y" * 300_000 + b"\r\ncontent-length: 0\r\n\r\n"
    async with served(saying(head[:65000], head[65000:], forever=False)) as (server, client):
        with pytest.raises(AnswerTooLarge):
            await ask(client, server.url)
    async with served(saying(HELLO)) as (server, client):
        answer = await ask(client, server.url)
        with pytest.raises(AnswerTooLarge):
            await answer.read(soon(), 4)


async def test_each_wait_has_its_own_limit_of_time():
    async def script(peer):
        await peer.request()
        await peer.say(CHUNKED)
        for _ in range(5):
            await peer.say(b"1\r\nx\r\n")
            await go_on.get()
        await peer.gone()

    go_on = asyncio.Queue()
    async with served(script) as (server, client):
        answer = await ask(client, server.url, until=soon(0.3))
        clock = asyncio.get_running_loop().time
        started = clock()
        for _ in range(4):
            assert await answer.chunk(soon(0.3)) == b"x"
            asyncio.get_running_loop().call_later(0.15, go_on.put_nowait, None)
        assert await answer.chunk(soon(0.3)) == b"x"
        assert clock() - started > 0.5  # longer together than any one wait may be
        with pytest.raises(TimeoutError):
            await answer.chunk(soon(0.1))
        assert clock() - started < 2
