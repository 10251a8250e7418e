"""Transports that are made at their first use.

The HTTP client takes a tenth of a second to import. A process whose services call each other in memory, or that
has nothing to call yet, is ready before it needs one.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from importlib.util import find_spec

from signalbox.common.transport.ports import (
    HopRequest,
    HopResponse,
    HopStream,
    Outbound,
    OutboundRequest,
    OutboundResponse,
    ServiceHop,
)


class DeferredHop:
    """A `ServiceHop` that ``make`` gives when it is first called."""

    def __init__(self, make: Callable[[], ServiceHop]) -> None:
        self._make = make
        self._made: ServiceHop | None = None

    async def send(self, request: HopRequest) -> HopResponse:
        """See `ServiceHop.send`."""
        return await self._hop().send(request)

    def stream(self, request: HopRequest) -> AbstractAsyncContextManager[HopStream]:
        """See `ServiceHop.stream`."""
        return self._hop().stream(request)

    async def aclose(self) -> None:
        """See `ServiceHop.aclose`; nothing happens where it was never called."""
        if self._made is not None:
            await self._made.aclose()

    def _hop(self) -> ServiceHop:
        if self._made is None:
            self._made = self._make()
        return self._made


class DeferredOutbound:
    """An `Outbound` that ``make`` gives when it is first called."""

    def __init__(self, make: Callable[[], Outbound]) -> None:
        self._make = make
        self._made: Outbound | None = None

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """See `Outbound.send`."""
        if self._made is None:
            self._made = self._make()
        return await self._made.send(request)

    async def aclose(self) -> None:
        """See `Outbound.aclose`; nothing happens where it was never called."""
        if self._made is not None:
            await self._made.aclose()


def load_http_client() -> None:
    """Import what the first call out needs, so that it does not wait for that; for a thread of an idle process."""
    if find_spec("yarl") is not None:
        import_module("signalbox.common.transport.outbound")
