"""Opening connections: names to addresses, IPv6 and IPv4 in turn, TLS."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from itertools import zip_longest
from typing import Any

from signalbox.llm_gateway.upstreams.wire.connection import Connection
from signalbox.llm_gateway.upstreams.wire.errors import ConnectTimeout, NotConnected
from signalbox.llm_gateway.upstreams.wire.request import Origin

CONNECT_S = 5.0
"""Seconds for a connection, from the name to the end of the TLS handshake."""

RESOLVED_S = 30.0
"""So long the addresses of a name are used again."""

TlsSource = Callable[[], Awaitable[ssl.SSLContext]]
"""Gives the context of TLS connections."""

_Found = tuple[socket.AddressFamily, str, int]


class Dialer:
    """Opens connections to one origin.

    The addresses of a name are tried one after the other, families in turn (RFC 8305, section 4), each with a
    fair share of the time that is left; the one that worked is the first to be tried next.
    """

    def __init__(self, origin: Origin, tls: TlsSource) -> None:
        self._origin = origin
        self._tls = tls
        self._found: list[_Found] = []
        self._found_until = 0.0

    async def dial(self, make: Callable[[], Connection], until: float) -> Connection:
        """A connection.

        Raises:
            ConnectTimeout: not within 5 s.
            NotConnected: the name is unknown, nobody listens, or TLS failed.
            TimeoutError: ``until`` has passed, which is sooner than that.
        """
        loop = asyncio.get_running_loop()
        limit = loop.time() + CONNECT_S
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
            family, host, port = found
            left = len(addresses) - index
            share = loop.time() + (end - loop.time()) / left
            try:
                async with asyncio.timeout_at(share):
                    _, connection = await loop.create_connection(
                        make,
                        host,
                        port,
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
            if index:
                self._found = [found, *(other for other in addresses if other != found)]
            return connection
        raise NotConnected("its name has no address")

    async def _addresses(self, loop: asyncio.AbstractEventLoop) -> list[_Found]:
        if loop.time() < self._found_until:
            return self._found
        try:
            infos = await loop.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotConnected(f"its name is not known: {type(error).__name__}") from error
        self._found = _in_turn(infos)
        self._found_until = loop.time() + RESOLVED_S
        return self._found


def _in_turn(infos: list[Any]) -> list[_Found]:
    """Addresses with their families in turn, beginning with that of the first."""
    found: list[_Found] = [(family, address[0], address[1]) for family, _, _, _, address in infos]
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    return [each for pair in zip_longest(first, others) for each in pair if each is not None]


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{type(error).__name__}: {error.verify_message}"
    return type(error).__name__
