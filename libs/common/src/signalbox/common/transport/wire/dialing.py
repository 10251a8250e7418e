"""Opening connections: names to addresses, IPv6 and IPv4 in turn, TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from itertools import zip_longest

from signalbox.common.record import record
from signalbox.common.transport.wire.connection import Connection
from signalbox.common.transport.wire.errors import ConnectTimeout, NotConnected
from signalbox.common.transport.wire.request import Origin

CONNECT_S = 5.0
"""Seconds for a connection, from the name to the end of the TLS handshake."""

RESOLVED_S = 30.0
"""So long the addresses of a name are used again."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the addresses that may be connected to; raises OSError when there are none."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system knows for `host`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@record
class Dialing:
    """How connections are opened, and kept for ``idle_s`` seconds (None: as long as is safe with every server).

    ``connect_s`` is for one connection, ``resolved_s`` for the addresses of a name that ``resolve`` gave: with 0 it is
    asked for each connection. ``spread`` begins each time with the next address of a name, for servers of which
    several share one; else the one that worked is the first to be tried next.
    """

    connect_s: float = CONNECT_S
    resolved_s: float = RESOLVED_S
    resolve: Resolve = system_resolve
    spread: bool = False
    idle_s: float | None = None


TlsSource = Callable[[], Awaitable[ssl.SSLContext]]
"""Gives the context of TLS connections."""

_Found = tuple[socket.AddressFamily, str]


class Dialer:
    """Opens connections to one origin.

    The addresses of a name are tried one after the other, families in turn (RFC 8305, section 4), each with a
    fair share of the time that is left.
    """

    def __init__(self, origin: Origin, tls: TlsSource, dialing: Dialing) -> None:
        self._origin = origin
        self._tls = tls
        self._dialing = dialing
        self._found: list[_Found] = []
        self._found_until = 0.0

    async def dial(self, make: Callable[[], Connection], until: float) -> Connection:
        """A connection.

        Raises:
            ConnectTimeout: not in the time that a connection has.
            NotConnected: the name is unknown, nobody listens, or TLS failed.
            TimeoutError: ``until`` has passed, which is sooner than that.
        """
        loop = asyncio.get_running_loop()
        limit = loop.time() + self._dialing.connect_s
        try:
            async with asyncio.timeout_at(min(limit, until)):
                return await self._try_all(loop, make, min(limit, until))
        except TimeoutError as error:
            if until < limit:
                raise
            raise ConnectTimeout("no connection in time") from error

    async def _try_all(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], Connection], end: float
    ) -> Connection:
        context = await self._tls() if self._origin.scheme == "https" else None
        addresses = await self._addresses(loop)
        for index, found in enumerate(addresses):
            family, host = found
            left = len(addresses) - index
            share = loop.time() + (end - loop.time()) / left
            try:
                async with asyncio.timeout_at(share):
                    _, connection = await loop.create_connection(
                        make,
                        host,
                        self._origin.port,
                        family=family,
                        flags=socket.AI_NUMERICHOST,
                        ssl=context,
                        server_hostname=self._origin.host if context is not None else None,
                    )
            except OSError as error:  # TimeoutError and what TLS raises are OSErrors too
                if left == 1 and isinstance(error, TimeoutError):
                    raise
                if left == 1 or isinstance(error, ssl.SSLError):
                    self._found_until = 0.0
                    raise NotConnected(_reason(error)) from error
                continue
            if index and not self._dialing.spread:
                self._found = [found, *(other for other in addresses if other != found)]
            return connection
        raise NotConnected("its name has no address")

    async def _addresses(self, loop: asyncio.AbstractEventLoop) -> list[_Found]:
        if loop.time() >= self._found_until:
            try:
                texts = await self._dialing.resolve(self._origin.host, self._origin.port)
            except OSError as error:
                raise NotConnected(f"its name is not known: {type(error).__name__}") from error
            self._found = _in_turn(texts)
            self._found_until = loop.time() + self._dialing.resolved_s
        elif self._dialing.spread:
            self._found = [*self._found[1:], *self._found[:1]]
        return self._found


def _in_turn(texts: Sequence[str]) -> list[_Found]:
    """Addresses with their families in turn, beginning with that of the first."""
    found = [(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in texts]
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    return [each for pair in zip_longest(first, others) for each in pair if each is not None]


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {error.verify_message}"
    return type(error).__name__
