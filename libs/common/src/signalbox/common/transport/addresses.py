"""Which addresses an outgoing call may reach.

Default: globally routable unicast only. The table follows the IANA special-purpose address registries (RFC
6890) instead of `ipaddress.is_global`, whose answers differ between Python 3.11 and 3.14. An
address that carries another one inside (IPv4-mapped, NAT64, 6to4) counts as the one inside.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Self

from signalbox.common.record import record

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "unspecified ('this network')"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "cloud metadata"),
    ("169.254.0.0/16", "link-local (cloud metadata)"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.31.196.0/24", "reserved"),
    ("192.52.193.0/24", "reserved"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "reserved"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("2001::/32", "Teredo"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "reserved for documentation"),
    ("3fff::/20", "reserved for documentation"),
)
_REFUSED_NETWORKS = tuple((ipaddress.ip_network(network), why) for network, why in _REFUSED)
_GLOBAL_UNICAST_6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


def refusal(address: Address) -> str | None:
    """Why `address` may not be called, as words for "is ... "; None for a public address."""
    inner = _inner(address)
    if inner is not None:
        why = refusal(inner)
        return f"{inner}, which is {why}" if why else None
    for network, why in _REFUSED_NETWORKS:
        if address.version == network.version and address in network:
            return why
    if address.version == 6 and address not in _GLOBAL_UNICAST_6:
        return "reserved"
    return None


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv4-mapped, NAT64 (RFC 6052) or 6to4 (RFC 3056) address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def literal(host: str) -> Address | None:
    """The address that a URL's host spells (without brackets), or None when it is a name.

    Raises ValueError, with a sentence, for a host that is neither: an IPv4 address in an unusual spelling
    (decimal, octal, hexadecimal, shortened), which other software reads as some address, or a malformed name.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    labels = host.lower().removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise ValueError(f"write the address {host!r} as four decimal numbers")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{host!r} is not a host name")
    return None


@record
class _Entry:
    """One permission: a name or a network, on one port or on all (None)."""

    name: str | None
    network: Network | None
    port: int | None

    def permits(self, host: str, address: Address, port: int) -> bool:
        """True when this entry allows calling `address`, found for `host`."""
        if self.port is not None and self.port != port:
            return False
        if self.network is None:
            return self.name == host
        plain = _inner(address) or address
        return plain.version == self.network.version and plain in self.network


class AllowList:
    """Hosts that operators let through although they are not public.

    Entries: ``host``, ``host:port``, an address, ``address:port`` (``[::1]:8900`` for IPv6) or a network in
    CIDR form. A name trusts whatever it resolves to; an address or network counts for every name that leads
    there.
    """

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        self._entries = tuple(entries)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """From settings; raises ValueError naming the entry that cannot be read."""
        return cls(_parse(entry.strip()) for entry in entries if entry.strip())

    def permits(self, host: str, address: Address, port: int) -> bool:
        """True when an entry allows calling `address`, which `host` spells or resolves to, on `port`."""
        name = host.lower().removesuffix(".")
        return any(entry.permits(name, address, port) for entry in self._entries)


def _parse(text: str) -> _Entry:
    host, port = text, None
    if match := re.fullmatch(r"\[(.+)\](?::([0-9]{1,5}))?", text):
        host, port = match[1], match[2]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        number = None if port is None else _port(port)
        if "/" in host:
            return _Entry(None, ipaddress.ip_network(host), number)
        address = literal(host)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a host, host:port, address, address:port or CIDR network: {error}"
        ) from error
    if address is None:
        return _Entry(host.lower().removesuffix("."), None, number)
    return _Entry(None, ipaddress.ip_network(address), number)


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(f"{text!r} is not a port")
    return int(text)
