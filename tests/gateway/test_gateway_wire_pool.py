"""The HTTP client's connections: kept, waited for, opened, spoken TLS by; on both event loops."""

import asyncio
import socket
import ssl

import pytest
import trustme
import uvloop
from support.async_waiting import until as eventually
from support.wire_calls import HELLO, ask, saying, served, soon, text

from signalbox.common.transport.wire import (
    BadAddress,
    BadHeader,
    BrokenOff,
    NotConnected,
    WireClient,
)
from signalbox.common.transport.wire import pool as pooling

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture is deprecated")


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


@pytest.mark.parametrize(
    "closing",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        HELLO + b"garbage",
    ],
)
async def test_a_connection_that_is_not_to_be_kept_or_says_too_much_is_closed(closing):
    closed = []

    async def script(peer):
        await peer.request()
        await peer.say(closing)
        await peer.gone()
        closed.append(peer.number)

    async with served(script) as (server, client):
        assert await text(client, server.url) == (200, b"hello")
        await eventually(lambda: closed == [1])
        assert await text(client, server.url) == (200, b"hello")
        assert server.connections == 2


async def test_a_kept_connection_that_was_closed_is_replaced_once():
    asked = []

    async def script(peer):
        asked.append((await peer.request())[1])
        await peer.say(HELLO)
        if peer.number == 1:
            # Reads the next request, and closes without a byte: as a server does whose idle time was up.
            await peer.reader.readexactly(1)

    async with served(script) as (server, client):
        assert await text(client, server.url) == (200, b"hello")
        assert await text(client, server.url, body=b"second") == (200, b"hello")
        assert (server.connections, asked) == (2, [b"{}", b"second"])


async def test_a_request_that_a_fresh_connection_does_not_answer_is_not_repeated():
    async with served(saying(b"", forever=False)) as (server, client):
        with pytest.raises(BrokenOff):
            await ask(client, server.url)
        assert server.connections == 1


async def test_a_kept_connection_that_breaks_after_a_byte_is_not_repeated():
    async def script(peer):
        await peer.request()
        await peer.say(HELLO)
        await peer.request()
        await peer.say(b"H")

    async with served(script) as (server, client):
        assert await text(client, server.url) == (200, b"hello")
        with pytest.raises(BrokenOff):
            await ask(client, server.url)
        assert server.connections == 1


async def test_the_connection_used_last_is_used_first_and_old_ones_are_closed(monkeypatch):
    monkeypatch.setattr(pooling, "IDLE_S", 0.2)
    used, gone = [], []

    async def script(peer):
        try:
            while True:
                _, name = await peer.request()
                used.append((name, peer.number))
                await hold[name].wait() if name in hold else None
                await peer.say(HELLO)
        finally:
            gone.append(peer.number)

    hold = {b"a": asyncio.Event(), b"b": asyncio.Event(), b"c": asyncio.Event()}
    async with served(script) as (server, client):
        calls = {name: asyncio.ensure_future(text(client, server.url, body=name)) for name in hold}
        await eventually(lambda: server.connections == 3)
        for name in (b"b", b"c", b"a"):
            hold[name].set()
            await calls[name]
        for _ in range(3):
            await text(client, server.url)
        assert {number for _, number in used[3:]} == {dict(used)[b"a"]}
        await eventually(lambda: sorted(gone) == [1, 2, 3])
        await text(client, server.url)
        assert server.connections == 4


async def test_at_the_limit_requests_wait_in_order_and_a_waiting_one_may_leave():
    async def script(peer):
        while True:
            _, body = await peer.request()
            if body == b"hold":
                await release.wait()
            await peer.say(HELLO)

    release = asyncio.Event()
    async with served(script, max_connections=2) as (server, client):
        held = [asyncio.ensure_future(text(client, server.url, body=b"hold")) for _ in range(2)]
        await eventually(lambda: server.connections == 2)
        waiting = [asyncio.ensure_future(text(client, server.url)) for _ in range(20)]
        with pytest.raises(TimeoutError):
            await ask(client, server.url, until=soon(0.05))
        waiting.pop(0).cancel()
        release.set()
        assert await asyncio.gather(*held, *waiting) == [(200, b"hello")] * 21
        assert server.connections == 2


async def test_a_place_is_given_on_when_a_connection_is_lost_or_none_comes_about():
    async def script(peer):
        _, body = await peer.request()
        if body == b"hold":
            await release.wait()
            return
        await peer.say(HELLO)
        await peer.gone()

    release = asyncio.Event()
    async with served(script, max_connections=1) as (server, client):
        held = asyncio.ensure_future(ask(client, server.url, body=b"hold"))
        await eventually(lambda: server.connections == 1)
        waiting = asyncio.ensure_future(text(client, server.url))
        release.set()
        with pytest.raises(BrokenOff):
            await held
        assert await waiting == (200, b"hello")
    nobody = f"http://127.0.0.1:{server.port}"
    client = WireClient(max_connections=1)
    for outcome in await asyncio.gather(*(ask(client, nobody) for _ in range(5)), return_exceptions=True):
        assert isinstance(outcome, NotConnected)


async def test_names_with_several_addresses_are_tried_in_turn():
    # "localhost" is ::1 and 127.0.0.1, or one of them; the server listens at one.
    for host in ("127.0.0.1", "::1"):
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.bind((host, 0))
        except OSError:
            continue
        async with served(saying(HELLO), host=host) as (server, client):
            literal = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
            assert await text(client, literal) == (200, b"hello")
            if host == "127.0.0.1":
                assert await text(client, server.url) == (200, b"hello")


async def test_nobody_there_unknown_names_and_silence_are_told_apart(monkeypatch):
    client = WireClient()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(NotConnected, match="ConnectionRefusedError"):
            await ask(client, f"http://127.0.0.1:{probe.getsockname()[1]}")
    with pytest.raises(NotConnected, match="name is not known"):
        await ask(client, "http://nowhere.invalid")
    for url in ("ftp://host/x", "http:///x", "http://host:70000"):
        with pytest.raises(BadAddress):
            await ask(client, url)
    for name, value in (("x-a", "b\r\nc: d"), ("x a", "b"), ("content-length", "7"), ("x-a", "\u4e00")):
        with pytest.raises(BadHeader):
            await client.send("POST", "http://127.0.0.1:9", headers={name: value}, until=soon())


async def test_a_server_that_accepts_nothing_is_given_up_on():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        client = WireClient()
        with pytest.raises(TimeoutError):
            await ask(client, f"http://127.0.0.1:{full.getsockname()[1]}", until=soon(0.2))
        for filler in fillers:
            filler.close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


async def test_tls_is_spoken_with_names_and_certificates_checked(authority):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    names = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with (
        served(saying(HELLO), tls=tls, tls_context=None) if False else served(saying(HELLO), tls=tls) as (
            server,
            _,
        )
    ):
        client = WireClient(tls=trusting)
        assert await text(client, server.url) == (200, b"hello")
        assert await text(client, server.url) == (200, b"hello")
        assert server.connections == 1
        assert names == ["localhost"]
        with pytest.raises(NotConnected, match="SSLCertVerificationError"):
            await ask(client, server.url.replace("localhost", "127.0.0.1"))
        with pytest.raises(NotConnected, match="SSLCertVerificationError"):
            await ask(WireClient(), server.url)
        client.close()


async def test_closing_the_client_ends_calls_in_flight_and_waiting():
    async def script(peer):
        await peer.request()
        await peer.gone()

    async with served(script, max_connections=1) as (server, client):
        calls = [asyncio.ensure_future(ask(client, server.url)) for _ in range(2)]
        await eventually(lambda: server.connections == 1)
        client.close()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, BrokenOff | NotConnected)
        with pytest.raises(NotConnected):
            await ask(client, server.url)
