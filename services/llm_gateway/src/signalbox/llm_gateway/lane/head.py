"""The heads of answers (RFC 9112, section 4)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in HTTPStatus}


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
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"]
    lines += [f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n" for name, value in more]
    lines += [f"{name.lower()}: {value}\r\n" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked\r\n" if size is None else f"content-length: {size}\r\n")
    lines.append("\r\n" if keep_alive else "connection: close\r\n\r\n")
    return "".join(lines).encode("latin-1")
