"""`Outbound` for addresses that a workflow config or a client named: each is checked before it is used.

The check sits where the connection is made: aiohttp asks `_CheckedResolver` for the addresses of a name, once
per connection, and connects to nothing else, while Host and SNI stay the name's. A kept connection therefore
leads to an address that was checked. Hosts that are addresses never reach a resolver and are checked in
`send`.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from signalbox.common.transport.addresses import Address, AllowList, literal, refusal
from signalbox.common.transport.errors import (
    OutboundRefused,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from signalbox.common.transport.headers import folded
from signalbox.common.transport.ports import OutboundRequest, OutboundResponse

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the addresses the host has now; raises OSError when it has none."""

STRIPPED_HEADERS = frozenset(
    {
        "baggage",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
    }
)
"""Not for others to see (our trace context) or not for a config to set (what frames or routes a message)."""

STRIPPED_PREFIX = "signalbox-"


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system knows for `host`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedOutbound:
    """Calls public addresses over http and https, and the ones that `allow_hosts` names.

    No redirect is followed, no proxy of the environment used, no cookie kept. `ssl_context` replaces the
    system's trust, `resolve` the system's resolver. The session is made at the first call; `aclose` ends it.
    """

    def __init__(
        self,
        allow_hosts: AllowList,
        *,
        connect_timeout: float = 5.0,
        max_connections: int = 500,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._guard = _Guard(allow_hosts)
        self._resolve = resolve
        self._ssl = ssl_context
        self._max_connections = max_connections
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """One call, answered whole.

        Raises `OutboundRefused` before anything is sent, else `OutboundTimeout`, `OutboundTooLarge` or
        `OutboundUnreachable`.
        """
        url, host = self._guard.checked_url(request.url)
        try:
            async with asyncio.timeout(request.timeout):
                return await self._send(request, url, host)
        except ValueError as error:
            raise OutboundRefused(host, f"The request to {host} is not valid HTTP: {error}.") from error
        except aiohttp.ServerTimeoutError as error:
            raise OutboundTimeout(host, f"{host} did not accept a connection in time.", sent=False) from error
        except TimeoutError as error:
            raise OutboundTimeout(host, f"{host} did not answer within {request.timeout:g} s.") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            raise OutboundUnreachable(
                host, f"{host} cannot be reached: {_reason(error)}.", sent=sent
            ) from error

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _send(self, request: OutboundRequest, url: URL, host: str) -> OutboundResponse:
        async with self._connected(host).request(
            request.method,
            url,
            data=request.body or None,
            headers=_outgoing(request.headers),
            allow_redirects=False,
            timeout=self._timeout,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > request.max_response_bytes:
                    response.close()
                    raise OutboundTooLarge(
                        host,
                        f"{host} answered more than the {request.max_response_bytes} bytes this call allows.",
                    )
            return OutboundResponse(response.status, folded(response.headers.items()), bytes(body))

    def _connected(self, host: str) -> aiohttp.ClientSession:
        if self._closed:
            raise OutboundUnreachable(host, "The client for outgoing calls has been closed.")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._guard, self._resolve),
                use_dns_cache=False,
                limit=self._max_connections,
                ssl=self._ssl or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                skip_auto_headers=("Content-Type",),
                headers={"User-Agent": "signalbox"},
            )
        return self._session


class _Guard:
    """Says no: to URLs before anything happens, to addresses before they are connected to."""

    def __init__(self, allow_hosts: AllowList) -> None:
        self._allow_hosts = allow_hosts

    def checked_url(self, text: str) -> tuple[URL, str]:
        """The parsed URL, which is also the one that is called, and its host for messages."""
        try:
            url = URL(text)
            host, port = url.raw_host or "", url.port
        except ValueError as error:
            raise OutboundRefused("", f"The URL cannot be read: {error}.") from error
        if url.scheme not in {"http", "https"} or not host:
            raise OutboundRefused(host, "An outgoing call needs an absolute http or https URL.")
        if url.user is not None or url.password is not None:
            raise OutboundRefused(
                host, "Put credentials into a header by secret reference, not into the URL."
            )
        if not port:
            raise OutboundRefused(host, "An outgoing call cannot go to port 0.")
        try:
            address = literal(host)
        except ValueError as error:
            raise OutboundRefused(host, f"The host of an outgoing call cannot be used: {error}.") from error
        if address is not None:
            self.check(host, address, port)
        return url, host

    def check(self, host: str, address: Address, port: int) -> None:
        """Raises `OutboundRefused` unless `address` is public or allowed for `host` and `port`."""
        why = refusal(address)
        if why is None or self._allow_hosts.permits(host, address, port):
            return
        what = (
            f"The address {address}"
            if str(address) == host
            else f"{host} resolves to {address}, and that address"
        )
        raise OutboundRefused(
            host,
            f"{what} is {why}. An operator can add {_entry(host, port)!r} to the allowed hosts.",
        )


class _CheckedResolver(AbstractResolver):
    """Resolves a name once for one connection, and refuses it when any of its addresses is refused."""

    def __init__(self, guard: _Guard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  (aiohttp's signature)
    ) -> list[ResolveResult]:
        """Checked addresses only; aiohttp connects to them and nowhere else."""
        results: list[ResolveResult] = []
        for text in await self._resolve(host, port):
            address = ipaddress.ip_address(text)
            self._guard.check(host, address, port)
            results.append(
                {
                    "hostname": host,
                    "host": text,
                    "port": port,
                    "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    "proto": 0,
                    "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                }
            )
        if not results:
            raise OSError(f"{host} has no address")
        return results

    async def close(self) -> None:
        """Nothing is held."""


def _entry(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _outgoing(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if (lower := name.strip().lower()) not in STRIPPED_HEADERS and not lower.startswith(STRIPPED_PREFIX)
    }


def _reason(error: Exception) -> str:
    """What went wrong, without the URL, which may hold a secret in its query."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or error.os_error)
    return type(error).__name__
