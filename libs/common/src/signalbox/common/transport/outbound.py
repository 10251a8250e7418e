"""`Outbound` for addresses that a workflow config or a client named: each is checked before it is used.

The check sits where the connection is made: the client asks `_CheckedResolver` for the addresses of a name, once
per connection, and connects to nothing else, while Host and SNI stay the name's. A kept connection therefore
leads to an address that was checked. Hosts that are addresses are checked in `send`, before anything happens.
"""

import asyncio
import ipaddress
import ssl
import zlib
from collections.abc import Sequence

from yarl import URL

from signalbox.common.transport.addresses import Address, AllowList, literal, refusal
from signalbox.common.transport.errors import (
    OutboundRefused,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from signalbox.common.transport.ports import OutboundRequest, OutboundResponse
from signalbox.common.transport.wire import Address as Target
from signalbox.common.transport.wire import (
    Answer,
    AnswerTooLarge,
    BadHeader,
    BrokenOff,
    ConnectTimeout,
    Dialing,
    NotConnected,
    Origin,
    Resolve,
    WireClient,
    WireError,
    system_resolve,
)

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

_IDLE_SECONDS = 15.0
"""How long an idle connection is kept: another one may take many round trips."""

_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Sent once more where a kept connection turns out to be closed (RFC 9110, 9.2.2)."""

_OURS = {"user-agent": "signalbox", "accept": "*/*", "accept-encoding": "gzip"}
"""Sent unless the caller says something else."""


class GuardedOutbound:
    """Calls public addresses over http and https, and the ones that `allow_hosts` names.

    No redirect is followed, no proxy of the environment used, no cookie kept. `ssl_context` replaces the
    system's trust, `resolve` the system's resolver. Connections belong to the loop of the first call; `aclose` ends
    them.
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
        dialing = Dialing(
            connect_s=connect_timeout,
            resolved_s=0.0,
            resolve=_CheckedResolver(self._guard, resolve).addresses,
            idle_s=_IDLE_SECONDS,
        )
        self._client = WireClient(tls=ssl_context, max_connections=max_connections, dialing=dialing)
        self._closed = False

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """One call, answered whole.

        Raises `OutboundRefused` before anything is sent, else `OutboundTimeout`, `OutboundTooLarge` or
        `OutboundUnreachable`.
        """
        url, host = self._guard.checked_url(request.url)
        if self._closed:
            raise OutboundUnreachable(host, "The client for outgoing calls has been closed.")
        until = asyncio.get_running_loop().time() + request.timeout
        try:
            return await self._send(request, _target(url, host), until)
        except BadHeader as error:
            raise OutboundRefused(host, f"The request to {host} is not valid HTTP: {error}.") from error
        except ConnectTimeout as error:
            raise OutboundTimeout(host, f"{host} did not accept a connection in time.", sent=False) from error
        except TimeoutError as error:
            raise OutboundTimeout(host, f"{host} did not answer within {request.timeout:g} s.") from error
        except AnswerTooLarge as error:
            raise OutboundTooLarge(host, f"{host} answered {error}; this call allows no more.") from error
        except WireError as error:
            sent = not isinstance(error, NotConnected)
            raise OutboundUnreachable(host, f"{host} cannot be reached: {error}.", sent=sent) from error

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        self._client.close()

    async def _send(self, request: OutboundRequest, target: Target, until: float) -> OutboundResponse:
        ours, theirs = _outgoing(request.headers)
        answer = await self._client.send(
            request.method,
            target,
            headers=ours,
            once=theirs,
            body=request.body or (None if request.method in _WITHOUT_BODY else b""),
            until=until,
            repeats=request.method in _REPEATABLE,
        )
        try:
            body = await _decoded(answer, until, request.max_response_bytes)
        finally:
            answer.close()
        return OutboundResponse(answer.status, answer.headers, body)


async def _decoded(answer: Answer, until: float, limit: int) -> bytes:
    """The body without its compression, of at most ``limit`` bytes.

    Raises:
        AnswerTooLarge: it has more.
        BrokenOff: it broke off, or is not compressed in the way it says.
    """
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding in {"identity", ""}:
        return await answer.read(until, limit)
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise BrokenOff(f"its answer is compressed as {coding}, which nobody asked for")
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # of gzip or zlib, whichever it is
    body = bytearray()
    begun = False
    try:
        while chunk := await answer.chunk(until):
            begun = True
            body += decoder.decompress(chunk, limit - len(body) + 1)
            if len(body) > limit:
                raise AnswerTooLarge(f"more than {limit} bytes")
    except zlib.error as error:
        raise BrokenOff(f"its answer is not compressed as {coding}") from error
    if begun and not decoder.eof:
        raise BrokenOff("its compressed answer has no end")
    return bytes(body)


def _target(url: URL, host: str) -> Target:
    """Where a checked URL leads: what was checked is what is called, read once."""
    port = url.port or 0
    named = f"[{host}]" if ":" in host else host
    return Target(
        Origin(url.scheme, host, port),
        url.raw_path_qs,
        named if url.is_default_port() else f"{named}:{port}",
    )


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


class _CheckedResolver:
    """Resolves a name once for one connection, and refuses it when any of its addresses is refused."""

    def __init__(self, guard: _Guard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Checked addresses only; the client connects to them and nowhere else."""
        if literal(host) is not None:
            return [host]  # checked with its URL, and nothing to look up
        found = list(await self._resolve(host, port))
        for text in found:
            self._guard.check(host, ipaddress.ip_address(text), port)
        return found


def _entry(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _outgoing(headers: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What others may see, in two parts: what many calls send alike, and what this one sends."""
    ours, theirs = dict(_OURS), {}
    for name, value in headers.items():
        lower = name.strip().lower()
        if lower in STRIPPED_HEADERS or lower.startswith(STRIPPED_PREFIX):
            continue
        if lower in ours:
            ours[lower] = value
        else:
            theirs[name] = value
    return ours, theirs
