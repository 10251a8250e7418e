"""An upstream that is made at its first use: a gateway without a provider needs no HTTP client to be ready."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from signalbox.llm_gateway.ports import Upstream, UpstreamAnswer, UpstreamRequest, UpstreamStream


class DeferredUpstream:
    """An `Upstream` that ``make`` gives when it is first called."""

    def __init__(self, make: Callable[[], Upstream]) -> None:
        self._make = make
        self._made: Upstream | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """See ``ports.Upstream``."""
        return await self._upstream().send(request)

    def stream(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamStream]:
        """See ``ports.Upstream``."""
        return self._upstream().stream(request)

    def _upstream(self) -> Upstream:
        if self._made is None:
            self._made = self._make()
        return self._made
