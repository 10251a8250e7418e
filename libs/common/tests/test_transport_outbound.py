"""`GuardedOutbound` against real servers on loopback; names resolve as an attacker's DNS would answer."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from signalbox.common.errors import SignalboxError
from signalbox.common.transport import (
    AllowList,
    GuardedOutbound,
    OutboundRefused,
    OutboundRequest,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)

Make = Callable[..., GuardedOutbound]


class Names:
    """A resolver that answers from a table, one list of addresses a query (the last one again and again)."""

    def __init__(self, **hosts: list[list[str]]) -> None:
        self.hosts = {name.replace("__", "."): answers for name, answers in hosts.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.hosts.get(host)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
async def outbound() -> AsyncIterator[Make]:
    """Makes clients and closes them."""
    async with AsyncExitStack() as stack:

        def make(*allowed: str, **options: Any) -> GuardedOutbound:
            client = GuardedOutbound(AllowList.parse(allowed), **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@asynccontextmanager
async def raw_server(answer: bytes, *, keep: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A socket that answers every request head with `answer`; yields its port and what it received."""
    received: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while data := await reader.read(65536):
                received.append(data)
                writer.write(answer)
                if not keep:
                    break
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], received
    server.close()
    for writer in writers:
        writer.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def get(url: str, **options: Any) -> OutboundRequest:
    """A GET."""
    return OutboundRequest("GET", url, timeout=options.pop("timeout", 5), **options)


async def test_an_allowed_address_answers(outbound: Make) -> None:
    async with raw_server(http(b'{"ok": true}', "X-Two: a", "x-two: b")) as (port, received):
        response = await outbound(f"127.0.0.1:{port}").send(
            OutboundRequest("POST", f"http://127.0.0.1:{port}/orders?id=1", {"X-Own": "1"}, b"{}")
        )
    assert (response.status, json.loads(response.body)) == (200, {"ok": True})
    assert response.headers["x-two"] == "a, b"
    head = received[0].decode().lower()
    assert head.startswith("post /orders?id=1 http/1.1\r\n")
    assert f"host: 127.0.0.1:{port}\r\n" in head
    assert "x-own: 1\r\n" in head


async def test_the_same_address_is_refused_without_permission(outbound: Make) -> None:
    async with raw_server(http(b"secret")) as (port, received):
        with pytest.raises(OutboundRefused, match=f"add '127.0.0.1:{port}'") as caught:
            await outbound().send(get(f"http://127.0.0.1:{port}/"))
        with pytest.raises(OutboundRefused):
            await outbound(f"127.0.0.1:{port + 1}").send(get(f"http://127.0.0.1:{port}/"))
    assert received == []
    assert caught.value.code == "outbound_refused"
    assert isinstance(caught.value, SignalboxError)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "http://127.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.0.0.1./",
        "http://0/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://１２７.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://%31%32%37.0.0.1/",
        "http://user:pass@8.8.8.8/",
        "http://8.8.8.8@127.0.0.1/",
        "http://127.0.0.1\\@8.8.8.8/",
        "http://8.8.8.8:0/",
        "http://8.8.8.8:99999/",
        "http://[::1/",
        "http:///path",
        "/path",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "gopher://8.8.8.8/",
        "unix:///var/run/docker.sock",
        "ws://8.8.8.8/",
        "",
    ],
)
async def test_refused_urls(outbound: Make, url: str) -> None:
    names = Names()
    with pytest.raises(OutboundRefused):
        await outbound(resolve=names).send(get(url))
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.5"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%2"],
        ["8.8.8.8", "127.0.0.1"],
        ["2606:4700:4700::1111", "fd00::1"],
    ],
)
async def test_names_that_lead_inside_are_refused(outbound: Make, addresses: list[str]) -> None:
    client = outbound(resolve=Names(rebind__example=[addresses]))
    with pytest.raises(OutboundRefused, match=r"rebind\.example resolves to") as caught:
        await client.send(get("http://rebind.example/"))
    assert caught.value.host == "rebind.example"


async def test_localhost_is_refused_by_what_it_resolves_to(outbound: Make) -> None:
    with pytest.raises(OutboundRefused, match="loopback"):
        await outbound().send(get("http://localhost:8080/"))


async def test_the_checked_address_is_used_and_the_name_kept(outbound: Make) -> None:
    names = Names(api__example=[["127.0.0.1"], ["10.0.0.1"]])
    async with raw_server(http(b"ok"), keep=True) as (port, received):
        client = outbound(f"127.0.0.1:{port}", resolve=names)
        url = f"http://API.example:{port}/v1"
        assert (await client.send(get(url))).body == b"ok"
        assert (await client.send(get(url))).body == b"ok"
    assert names.asked == ["api.example"]
    assert all(f"host: api.example:{port}\r\n" in data.decode().lower() for data in received)


async def test_a_name_that_moves_is_checked_again_at_the_next_connection(
    outbound: Make,
) -> None:
    names = Names(api__example=[["127.0.0.1"], ["10.0.0.1"]])
    async with raw_server(http(b"ok", "connection: close")) as (port, _received):
        client = outbound(f"127.0.0.1:{port}", resolve=names)
        assert (await client.send(get(f"http://api.example:{port}/"))).status == 200
        with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
            await client.send(get(f"http://api.example:{port}/"))
    assert names.asked == ["api.example", "api.example"]


async def test_tls_names_the_host_and_not_the_address(outbound: Make) -> None:
    async with raw_server(b"not tls") as (port, received):
        client = outbound(f"api.example:{port}", resolve=Names(api__example=[["127.0.0.1"]]))
        with pytest.raises(OutboundUnreachable):
            await client.send(get(f"https://api.example:{port}/"))
    assert received[0][0] == 0x16
    assert b"api.example" in received[0]


async def test_redirects_come_back_as_they_are(outbound: Make) -> None:
    moved = http(b"", "location: http://169.254.169.254/", status="302 Found")
    async with raw_server(moved) as (port, received):
        response = await outbound(f"127.0.0.1:{port}").send(get(f"http://127.0.0.1:{port}/"))
    assert (response.status, response.headers["location"]) == (302, "http://169.254.169.254/")
    assert len(received) == 1


async def test_our_own_headers_stay_inside(outbound: Make) -> None:
    ours = {
        "traceparent": "00-1-2-01",
        "Tracestate": "a=b",
        "baggage": "tenant=t",
        "Signalbox-Timeout-Ms": "5",
        "signalbox-session-id": "s",
        "Host": "169.254.169.254",
        "Transfer-Encoding": "chunked",
        "Connection": "upgrade",
        "Authorization": "Bearer theirs",
        "Idempotency-Key": "k",
    }
    async with raw_server(http(b"ok")) as (port, received):
        await outbound(f"127.0.0.1:{port}").send(get(f"http://127.0.0.1:{port}/", headers=ours))
    head = received[0].decode().lower()
    for name in ("traceparent", "tracestate", "baggage", "signalbox-", "169.254", "chunked", "upgrade"):
        assert name not in head
    assert "authorization: bearer theirs" in head
    assert "idempotency-key: k" in head


async def test_environment_proxies_are_not_used(outbound: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(http(b"direct")) as (port, _), raw_server(http(b"proxy")) as (proxy, asked):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        response = await outbound(f"127.0.0.1:{port}").send(get(f"http://127.0.0.1:{port}/"))
    assert response.body == b"direct"
    assert asked == []


async def test_reading_stops_at_the_limit(outbound: Make) -> None:
    async with raw_server(http(b"x" * 1000)) as (port, _):
        client = outbound(f"127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}/"
        assert len((await client.send(get(url, max_response_bytes=1000))).body) == 1000
        with pytest.raises(OutboundTooLarge, match="999 bytes"):
            await client.send(get(url, max_response_bytes=999))


async def test_the_limit_counts_what_was_decompressed(outbound: Make) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    async with raw_server(http(bomb, "content-encoding: gzip")) as (port, _):
        with pytest.raises(OutboundTooLarge):
            await outbound(f"127.0.0.1:{port}").send(
                get(f"http://127.0.0.1:{port}/", max_response_bytes=100_000)
            )
    async with raw_server(http(gzip.compress(b"hello"), "content-encoding: gzip")) as (port, _):
        response = await outbound(f"127.0.0.1:{port}").send(get(f"http://127.0.0.1:{port}/"))
    assert response.body == b"hello"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"])
async def test_the_timeout_covers_head_and_body(outbound: Make, answer: bytes) -> None:
    async with raw_server(answer, keep=True) as (port, _):
        start = time.monotonic()
        with pytest.raises(OutboundTimeout, match=r"within 0\.2 s"):
            await outbound(f"127.0.0.1:{port}").send(get(f"http://127.0.0.1:{port}/", timeout=0.2))
    assert time.monotonic() - start < 2


async def test_the_timeout_covers_the_resolver(outbound: Make) -> None:
    async def slow(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(OutboundTimeout):
        await outbound(resolve=slow).send(get("http://slow.example/", timeout=0.1))


async def test_unreachable(outbound: Make) -> None:
    with pytest.raises(OutboundUnreachable, match="name is not known"):
        await outbound(resolve=Names()).send(get("http://nowhere.example/?key=hidden"))
    async with raw_server(b"") as (port, _):
        closed = port
    client = outbound("127.0.0.1")
    with pytest.raises(OutboundUnreachable) as caught:
        await client.send(get(f"http://127.0.0.1:{closed}/?key=hidden"))
    assert "hidden" not in caught.value.detail
    async with raw_server(b"not http\r\n\r\n") as (port, _):
        with pytest.raises(OutboundUnreachable):
            await client.send(get(f"http://127.0.0.1:{port}/"))


async def test_a_header_with_a_line_break_is_refused(outbound: Make) -> None:
    async with raw_server(http(b"ok")) as (port, received):
        with pytest.raises(OutboundRefused, match="not valid HTTP"):
            await outbound("127.0.0.1").send(
                get(f"http://127.0.0.1:{port}/", headers={"X-A": "1\r\nHost: evil"})
            )
    assert received == []


async def test_a_closed_client_says_so(outbound: Make) -> None:
    client = outbound("127.0.0.1")
    await client.aclose()
    with pytest.raises(OutboundUnreachable, match="closed"):
        await client.send(get("http://127.0.0.1:1/"))
