"""The heads of requests that come again, and of answers (RFC 9112, sections 2 to 4)."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Self

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,9})\r\n", re.IGNORECASE)
_DIGITS = 9


class KnownHead(NamedTuple):
    """A head that was read and taken, as bytes around the length of its body: that is what differs of the next one.

    A client sends the same head with each call on a connection, unless it numbers or traces them.
    """

    before: bytes
    after: bytes
    """Up to the empty line."""

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """The head with which ``data``, one whole request, begins; None for one that is written unusually."""
        end = data.find(_END) + len(_END)
        length = _LENGTH.search(data, 0, end)
        if length is None:
            return None
        return cls(data[: length.start(1)], data[length.end(1) : end])

    def body_of(self, data: bytes, most: int) -> bytes | None:
        """The body of ``data``, when that is this head and the whole of a body of at most ``most`` bytes."""
        before, after = self
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _DIGITS + 1)
        digits = data[start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        size, begin = int(digits), end + len(after)
        return data[begin:] if size == len(data) - begin and size <= most else None


def answer_head(
    status: int,
    headers: Mapping[str, str],
    more: Sequence[tuple[bytes, bytes]],
    size: int | None,
    *,
    keep_alive: bool,
) -> bytes:
    """A head with ``headers``, which are the gateway's own words, and ``more``, which are the server's.

    ``size`` are the bytes of the body; None: it comes in chunks.
    """
    first = _beginning(status, tuple(more))
    own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    framing = "transfer-encoding: chunked\r\n" if size is None else f"content-length: {size}\r\n"
    end = "\r\n" if keep_alive else "connection: close\r\n\r\n"
    return f"{first}{own}{framing}{end}".encode("latin-1")


@lru_cache(maxsize=64)
def _beginning(status: int, more: tuple[tuple[bytes, bytes], ...]) -> str:
    """The status line and the server's headers."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return line + "".join(f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n" for name, value in more)
