"""A streamed response, made while the chat stream comes."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from signalbox.common.errors import SignalboxError
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.answers import StreamedAnswer
from signalbox.llm_gateway.errors import internal_error
from signalbox.llm_gateway.responses.chat_chunks import chat_chunks
from signalbox.llm_gateway.responses.events import ResponseEvents, last_events, opening_events, written
from signalbox.llm_gateway.responses.keeping import KeptResponses
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.resource import opened, response_id

_LOG = logging.getLogger(__name__)

Json = dict[str, Any]


class ResponseStream:
    """The bytes of the event stream of a response; it is kept before its last event says that it is over.

    ``aclose`` must be called, also when nothing was read, as that of the chat answer. Of a response whose client has
    left nothing is kept.
    """

    def __init__(
        self,
        answer: StreamedAnswer,
        request: ResponsesRequest,
        prompt: Json,
        principal: Principal,
        kept: KeptResponses,
    ) -> None:
        self.headers = answer.headers
        self._answer = answer
        self._request = request
        self._principal = principal
        self._kept = kept
        identifier = response_id(answer.headers.get(names.LEDGER_CALL_ID, ""))
        self._events = ResponseEvents(opened(identifier, request, "in_progress"), request, prompt)
        self._number = 0
        self._written = self._write()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._written

    async def aclose(self) -> None:
        """Stop; without effect on a stream that is over."""
        try:
            await self._written.aclose()
        finally:
            await self._answer.aclose()

    async def _write(self) -> AsyncGenerator[bytes, None]:
        failure: SignalboxError | None = None
        yield self._numbered(opening_events(self._events.response))
        try:
            async for chunks in chat_chunks(self._answer):
                events = [event for chunk in chunks for event in self._events.chunk(chunk)]
                if events:
                    yield self._numbered(events)
            yield self._numbered(self._events.end())
        except SignalboxError as error:
            failure = error
            self._events.fail(error)
        except Exception:  # noqa: BLE001 - a bug: said once where operators look; the client gets no internals
            _LOG.exception("unhandled error in a stream")
            failure = internal_error()
            self._events.fail(failure)
        final = await self._kept.keep(self._principal, self._request, self._events.response)
        yield self._numbered(last_events(final, failure))

    def _numbered(self, events: Iterable[Json]) -> bytes:
        pieces = []
        for event in events:
            pieces.append(written(event, self._number))
            self._number += 1
        return b"".join(pieces)
