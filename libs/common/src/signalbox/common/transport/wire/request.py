"""Requests in bytes (RFC 9112, section 3)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

_PORTS = {"http": 80, "https": 443}
_IN_TARGET = "/%:@!$&'()*+,;=?~-._"
"""What a request target may hold as it is (RFC 3986, section 3.3 and 3.4)."""

_USUAL = {"user-agent": "signalbox", "accept-encoding": "identity"}
"""Sent unless the caller says something else."""

_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})
"""What only this module may say."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAK = re.compile(r"[\x00\r\n]")


class BadAddress(ValueError):
    """The URL is none that can be called."""


class BadHeader(ValueError):
    """The header cannot be sent: its name is no token, or its value has a line break."""


class Origin(NamedTuple):
    """Where connections go: requests of one origin share them."""

    scheme: str
    host: str
    port: int


class Address(NamedTuple):
    """A URL, as a request needs it."""

    origin: Origin
    target: str
    host_header: str


@lru_cache(maxsize=1024)
def address_of(url: str) -> Address:
    """The parts of an ``http`` or ``https`` URL.

    Raises:
        BadAddress: it has another scheme, no host, or a port that is none.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise BadAddress(f"'{url}' has no good port") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadAddress(f"'{url}' is no http or https URL")
    host = parts.hostname
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    target = quote(parts.path or "/", _IN_TARGET)
    if parts.query:
        target += "?" + quote(parts.query, _IN_TARGET)
    named = f"[{host}]" if ":" in host else host
    default = _PORTS[parts.scheme]
    return Address(
        Origin(parts.scheme, host, port or default),
        target,
        named if port in {None, default} else f"{named}:{port}",
    )


def request_head(
    method: str,
    address: Address,
    headers: Mapping[str, str],
    size: int | None,
    once: Mapping[str, str] | None = None,
) -> bytes:
    """The head of a request with a body of ``size`` bytes; None: without a body. Names of ``headers`` are lower-case.

    ``once`` are headers that no other request has, in UTF-8; none of them may be among ``headers`` too.

    Raises:
        BadHeader: a header cannot be sent.
    """
    lines = _lines(method, address, tuple(headers.items()))
    if once:
        lines += "".join([_line(name, value) for name, value in once.items()]).encode()
    return lines + b"\r\n" if size is None else b"%bcontent-length: %d\r\n\r\n" % (lines, size)


@lru_cache(maxsize=1024)
def _lines(method: str, address: Address, headers: tuple[tuple[str, str], ...]) -> bytes:
    """A head without what its body adds: the same for all calls to a deployment, until its key changes."""
    named = {"host": address.host_header, **_USUAL, **dict(headers)}
    lines = [_line(name, value) for name, value in named.items()]
    try:
        return f"{method} {address.target} HTTP/1.1\r\n{''.join(lines)}".encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadHeader("a header has a character that none may have") from error


def _line(name: str, value: str) -> str:
    if not _NAME.fullmatch(name) or name.lower() in _FRAMING or _BREAK.search(value):
        raise BadHeader(f"the header '{name}' cannot be sent")
    return f"{name}: {value}\r\n"
