"""Whether the operations that tools were imported from are still what was approved; documents are read now and then.

A document that cannot be read is no change: the operation answers for itself, and what a model is told of a tool is in
the published workflow, not in the document.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from signalbox.common.http_calls import CallFailed
from signalbox.common.transport import Outbound, OutboundError, OutboundRequest
from signalbox.contracts.config import OpenApiOrigin
from signalbox.tools.importing.errors import SourceUnusable
from signalbox.tools.importing.openapi_document import MAX_BYTES, OpenApiDocument
from signalbox.tools.importing.openapi_tools import operation_named

_LOG = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_MAX_DOCUMENTS = 500


@dataclass(slots=True)
class _Watched:
    """One document: which operations were asked for, and their hashes when it was last read; None: it has none."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: set[str] = field(default_factory=set)
    pins: dict[str, str | None] = field(default_factory=dict)
    tried_at: float | None = None
    reading: asyncio.Task[None] | None = None


class OpenApiOrigins:
    """Compares operations with their approval; one instance serves all tenants, who see public documents alone."""

    def __init__(
        self, outbound: Outbound, *, check_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbound = outbound
        self._check_seconds = check_seconds
        self._clock = clock
        self._documents: dict[str, _Watched] = {}

    async def check(self, origin: OpenApiOrigin | None) -> None:
        """Return if the tool may be called. The first call waits for the document, later ones use what is known.

        Raises:
            CallFailed: ``refused``, because the operation is not what was approved.
        """
        if origin is None or not origin.document.startswith(("http://", "https://")):
            return
        watched = self._watched(origin.document)
        if origin.operation not in watched.wanted:
            watched.wanted.add(origin.operation)
            watched.tried_at = None
        if watched.tried_at is None:
            async with watched.lock:
                if watched.tried_at is None:
                    await self._read(origin.document, watched)
        elif self._clock() - watched.tried_at >= self._check_seconds and watched.reading is None:
            watched.tried_at = self._clock()
            watched.reading = asyncio.create_task(self._refresh(origin.document, watched))
        pin = watched.pins.get(origin.operation, origin.pin)
        if pin != origin.pin:
            what = (
                "is no longer in its document" if pin is None else "is not described as when it was approved"
            )
            raise CallFailed(
                "refused",
                f"The operation {origin.operation} {what}; a publisher can see the difference with "
                "'signalbox tools changes', and approve it.",
            )

    async def settled(self) -> None:
        """Return when nothing is being read."""
        reading = [watched.reading for watched in self._documents.values() if watched.reading is not None]
        await asyncio.gather(*reading, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop reading."""
        reading = [watched.reading for watched in self._documents.values() if watched.reading is not None]
        for task in reading:
            task.cancel()
        await self.settled()

    def _watched(self, url: str) -> _Watched:
        watched = self._documents.get(url)
        if watched is None:
            if len(self._documents) >= _MAX_DOCUMENTS:
                self._documents.pop(next(iter(self._documents)))
            watched = self._documents[url] = _Watched()
        return watched

    async def _refresh(self, url: str, watched: _Watched) -> None:
        try:
            await self._read(url, watched)
        finally:
            watched.reading = None

    async def _read(self, url: str, watched: _Watched) -> None:
        try:
            document = await fetched(self._outbound, url)
            wanted = frozenset(watched.wanted)
            watched.pins = await asyncio.to_thread(_pins, document, wanted)
        except (OutboundError, SourceUnusable) as error:
            _LOG.warning("cannot compare imported tools with their document: %s", error.detail)
        watched.tried_at = self._clock()


async def fetched(outbound: Outbound, url: str) -> OpenApiDocument:
    """The document at a URL.

    Raises:
        OutboundError: it cannot be had.
        SourceUnusable: it is no OpenAPI document.
    """
    answer = await outbound.send(
        OutboundRequest("GET", url, {"Accept": "*/*"}, timeout=_TIMEOUT_S, max_response_bytes=MAX_BYTES)
    )
    if answer.status != 200:
        raise SourceUnusable(f"{url} answered {answer.status}, not 200.")
    return await asyncio.to_thread(OpenApiDocument.parse, answer.body, url)


def _pins(document: OpenApiDocument, names: frozenset[str]) -> dict[str, str | None]:
    pins: dict[str, str | None] = {}
    for name in names:
        operation = operation_named(document, name)
        pins[name] = None if operation is None else document.definition(operation).pin()
    return pins
