"""The demo model as a provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from signalbox.llm_gateway.demo.model import DemoModel
from signalbox.llm_gateway.ports import UpstreamAnswer, UpstreamRequest, UpstreamStream
from signalbox.llm_gateway.protocol import RequestBody


class DemoUpstream:
    """Answers in process, at once: it waits for nothing, so there is nothing to cancel."""

    def __init__(self) -> None:
        self._model = DemoModel()

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        """See ``ports.Upstream``."""
        completion = self._model.complete(RequestBody.parse(request.body))
        return UpstreamAnswer(200, {}, orjson.dumps(completion.body()))

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """See ``ports.Upstream``."""
        completion = self._model.complete(RequestBody.parse(request.body))

        async def chunks() -> AsyncIterator[bytes]:
            for piece in completion.events():
                yield piece

        yield UpstreamStream(200, {}, chunks())
