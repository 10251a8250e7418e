"""The two ports through which every outgoing HTTP call of Signalbox goes, and the values that cross them.

Both speak HTTP in bytes; JSON, models and retries with meaning belong to the typed clients above. Response
header names are lower-case; a header that came more than once is joined with a comma (RFC 9110, 5.3).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Protocol

from signalbox.common.record import record


@record
class HopRequest:
    """A call to another service of ours.

    `path` begins with a slash, is percent-encoded and may carry a query. `timeout` (seconds) is the whole
    call's: connecting, every retry, and reading the body to its end; what is left of it is sent on each
    attempt in `Signalbox-Timeout-Ms`. `idempotent` says that the callee may run it twice, because of its
    method or because an `Idempotency-Key` is among the headers; only then is it repeated after bytes were
    sent.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 30.0
    idempotent: bool = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or not self.path.isascii():
            raise ValueError(f"a hop's path begins with a slash and is percent-encoded: {self.path!r}")


@record
class HopResponse:
    """A whole answer; statuses of 400 and above are answers too, not errors of the transport."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@record
class HopStream:
    """An answer whose body is read as it comes: `chunks` are never empty and never wait for the next one.

    Leaving the context that made it, or `aclose`, before the end tells the callee to stop.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]

    async def read(self) -> bytes:
        """The rest of the body at once, as for an error answer that is not a stream."""
        return b"".join([chunk async for chunk in self.chunks])


class ServiceHop(Protocol):
    """Calls one service of ours, wherever it runs. Raises `HopError` when there is no (whole) answer."""

    async def send(self, request: HopRequest) -> HopResponse:
        """One call, answered whole."""

    def stream(self, request: HopRequest) -> AbstractAsyncContextManager[HopStream]:
        """One call, entered when the answer's head is there, its body read as it comes."""

    async def aclose(self) -> None:
        """Give back connections, stop what is still running. The hop cannot be used afterwards."""


@record
class OutboundRequest:
    """A call to somebody else's server.

    `url` is absolute, http or https. `timeout` (seconds) covers everything from resolving the name to the
    last byte; `max_response_bytes` counts the body after decompression.
    """

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 10.0
    max_response_bytes: int = 1_048_576


@record
class OutboundResponse:
    """A whole answer. Redirects come back as they are: `status` 3xx with `location`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound(Protocol):
    """Calls addresses that a workflow config or a client named. Raises `OutboundError`."""

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """One call to a checked address, answered whole."""

    async def aclose(self) -> None:
        """Close the connections."""
