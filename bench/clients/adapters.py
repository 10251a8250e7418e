"""One small adapter per HTTP client: the same three operations, so that the comparison runs the same code.

Each adapter does what a service would do: one client for the life of the process, a pool, a timeout per
request, the whole body as bytes.
"""

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Protocol

HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer " + "x" * 200,
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "signalbox-timeout-ms": "30000",
}
TIMEOUT = 30.0


class Adapter(Protocol):
    """What the comparison asks of a client."""

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST `body`, return the whole answer; `timeout` in seconds."""

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """GET, return the whole answer."""

    def stream(self, url: str) -> AsyncIterator[bytes]:
        """GET, yield the body as it comes."""

    async def close(self) -> None:
        """Close the pool."""


class HttpxAdapter:
    """httpx, and httpx2 which kept its interface."""

    def __init__(self, module: str) -> None:
        client_module: Any = importlib.import_module(module)
        self._client = client_module.AsyncClient(trust_env=False, timeout=TIMEOUT)

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST, whole answer."""
        response = await self._client.post(url, content=body, headers=HEADERS, timeout=seconds)
        return bytes(response.content)

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """GET, whole answer."""
        return bytes((await self._client.get(url, headers=HEADERS, timeout=seconds)).content)

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """GET, by chunk."""
        async with self._client.stream("GET", url, headers=HEADERS) as response:
            async for chunk in response.aiter_raw():
                yield chunk

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()


class AiohttpAdapter:
    """aiohttp with the settings that matter for cost: no cookies, no redirects, no decompression."""

    def __init__(self) -> None:
        aiohttp: Any = importlib.import_module("aiohttp")
        self._timeout = aiohttp.ClientTimeout
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )

    async def _whole(self, method: str, url: str, body: bytes | None, seconds: float) -> bytes:
        async with self._session.request(
            method,
            url,
            data=body,
            headers=HEADERS,
            allow_redirects=False,
            timeout=self._timeout(total=seconds),
        ) as response:
            return bytes(await response.read())

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST, whole answer."""
        return await self._whole("POST", url, body, seconds)

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """GET, whole answer."""
        return await self._whole("GET", url, None, seconds)

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """GET, by chunk."""
        async with self._session.get(url, headers=HEADERS) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    async def close(self) -> None:
        """Close the pool."""
        await self._session.close()


class PyreqwestAdapter:
    """pyreqwest: reqwest on a Tokio thread of this process."""

    def __init__(self) -> None:
        module: Any = importlib.import_module("pyreqwest.client")
        self._client = module.ClientBuilder().no_proxy().follow_redirects(False).build()

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST, whole answer."""
        builder = self._client.post(url).headers(HEADERS).timeout(timedelta(seconds=seconds)).body_bytes(body)
        response = await builder.build().send()
        return bytes(await response.bytes())

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """GET, whole answer."""
        builder = self._client.get(url).headers(HEADERS).timeout(timedelta(seconds=seconds))
        return bytes(await (await builder.build().send()).bytes())

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """GET, by chunk."""
        async with self._client.get(url).headers(HEADERS).build_streamed() as response:
            while (chunk := await response.body_reader.read_chunk()) is not None:
                yield bytes(chunk)

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()


class FloorAdapter:
    """No client at all: a prepared request on pooled asyncio streams, the answer read by content length.

    Not a candidate (no chunked bodies, no TLS, no errors): it shows what Python and the kernel cost alone.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST, whole answer."""
        authority, _, path = url.removeprefix("http://").partition("/")
        host, _, port = authority.partition(":")
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        head = f"POST /{path} HTTP/1.1\r\nhost: {authority}\r\n{lines}content-length: {len(body)}\r\n\r\n"
        async with asyncio.timeout(seconds):
            reader, writer = (
                self._idle.pop() if self._idle else await asyncio.open_connection(host, int(port))
            )
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
            content = await reader.readexactly(length)
        self._idle.append((reader, writer))
        return content

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """Not measured."""
        raise NotImplementedError(url)

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """Not measured."""
        raise NotImplementedError(url)
        yield b""

    async def close(self) -> None:
        """Close the sockets."""
        for _, writer in self._idle:
            writer.close()


class HopAdapter:
    """`HttpServiceHop`: aiohttp behind the port, with deadline, retries and errors."""

    def __init__(self) -> None:
        self._transport: Any = importlib.import_module("signalbox.common.transport")
        self._hops: dict[str, Any] = {}

    def _to(self, url: str) -> tuple[Any, str]:
        authority, _, path = url.removeprefix("http://").partition("/")
        if authority not in self._hops:
            self._hops[authority] = self._transport.HttpServiceHop(f"http://{authority}", service="bench")
        return self._hops[authority], f"/{path}"

    async def post(self, url: str, body: bytes, seconds: float = TIMEOUT) -> bytes:
        """POST, whole answer."""
        hop, path = self._to(url)
        return bytes((await hop.send(self._transport.HopRequest("POST", path, HEADERS, body, seconds))).body)

    async def get(self, url: str, seconds: float = TIMEOUT) -> bytes:
        """GET, whole answer."""
        hop, path = self._to(url)
        request = self._transport.HopRequest("GET", path, HEADERS, timeout=seconds, idempotent=True)
        return bytes((await hop.send(request)).body)

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """GET, by chunk."""
        hop, path = self._to(url)
        async with hop.stream(self._transport.HopRequest("GET", path, HEADERS)) as stream:
            async for chunk in stream.chunks:
                yield chunk

    async def close(self) -> None:
        """Close the pools."""
        for hop in self._hops.values():
            await hop.aclose()


def make(name: str) -> Adapter:
    """The adapter called `name`; raises ImportError when its package is not installed."""
    if name in ("httpx", "httpx2"):
        return HttpxAdapter(name)
    if name == "aiohttp":
        return AiohttpAdapter()
    if name == "pyreqwest":
        return PyreqwestAdapter()
    if name == "ServiceHop":
        return HopAdapter()
    if name == "floor":
        return FloorAdapter()
    raise ValueError(name)


async def pinned(name: str, url: str, address: str, port: int) -> None:
    """GET `url` from `address`:`port` with the URL's host as Host and SNI; the answer does not matter."""
    try:
        await {"aiohttp": _pinned_aiohttp, "pyreqwest": _pinned_pyreqwest}.get(name, _pinned_httpx)(
            name, url, address, port
        )
    except Exception:  # noqa: BLE001  (the server records the request and hangs up)
        return


async def _pinned_httpx(name: str, url: str, address: str, port: int) -> None:
    """Per request: an address in the URL, the name in Host and in an extension."""
    client_module: Any = importlib.import_module(name)
    parsed = client_module.URL(url)
    async with client_module.AsyncClient(trust_env=False) as client:
        await client.get(
            parsed.copy_with(host=address),
            headers={"host": f"{parsed.host}:{port}"},
            extensions={"sni_hostname": parsed.host},
        )


async def _pinned_aiohttp(_name: str, url: str, address: str, port: int) -> None:
    """Per connection: the connector asks a resolver of ours."""
    aiohttp: Any = importlib.import_module("aiohttp")
    base: Any = importlib.import_module("aiohttp.abc").AbstractResolver

    class Pin(base):  # type: ignore[misc]
        """Answers every name with the pinned address."""

        async def resolve(self, host: str, port_: int = 0, family: int = 0) -> list[dict[str, Any]]:
            """One checked address, as the connector wants it."""
            found = {"hostname": host, "host": address, "port": port_ or port}
            return [{**found, "family": family or socket.AF_INET, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            """Nothing to close."""

    connector = aiohttp.TCPConnector(resolver=Pin(), use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        await response.read()


async def _pinned_pyreqwest(_name: str, url: str, address: str, port: int) -> None:
    """Per client: a static table given to the builder."""
    module: Any = importlib.import_module("pyreqwest.client")
    host = url.split("/")[2].partition(":")[0]
    client = module.ClientBuilder().no_proxy().resolve(host, address, port).build()
    try:
        await client.get(url).build().send()
    finally:
        await client.close()
