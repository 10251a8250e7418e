"""What must happen to responses from time to time: heartbeats, ends that others wrote, silent owners, expiry."""

import asyncio
import logging
from collections.abc import Callable

import orjson

from signalbox.llm_gateway.errors import ResponseInterrupted
from signalbox.llm_gateway.periodic import every
from signalbox.llm_gateway.responses.background import BackgroundResponses
from signalbox.llm_gateway.responses.records import StoredResponse
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.resource import failed

_LOG = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often a process looks whether its responses are still its own: the longest that a cancelled one goes on."""

HEARTBEAT_S = 5.0
SILENT_S = 30.0
"""A process that was not heard of for this long is taken for dead, and its responses have failed."""

_SWEEP_S = 5.0
_EXPIRE_S = 60.0
_BATCH = 100


class ResponseKeeper:
    """Keeps the rows of responses true, in the background, on every replica.

    ``alone``: no other process has this database, so what is owned at the start is owned by a dead one.
    ``clock`` gives epoch milliseconds.
    """

    def __init__(
        self,
        repository: ResponseRepository,
        background: BackgroundResponses,
        clock: Callable[[], int],
        *,
        alone: bool,
    ) -> None:
        self._repository = repository
        self._background = background
        self._clock = clock
        self._alone = alone
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            asyncio.create_task(every(seconds, work, "responses"), name=work.__name__)
            for seconds, work in (
                (LOOK_S, self.drop_lost),
                (HEARTBEAT_S, self.heartbeat),
                (_SWEEP_S, self.fail_silent),
                (_EXPIRE_S, self.expire),
            )
        ]

    async def stop(self) -> None:
        """Stop, in the middle of what is done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drop_lost(self) -> None:
        """Stop the models of responses that others ended."""
        running = self._background.running()
        if running:
            for response_id in running - await self._repository.owned(self._background.owner):
                self._background.drop(response_id)

    async def heartbeat(self) -> None:
        """Say that this process works on its responses."""
        running = self._background.running()
        if running:
            await self._repository.heartbeat(self._background.owner, sorted(running), self._clock())

    async def fail_silent(self) -> None:
        """End the responses whose owner is dead."""
        now = self._clock()
        before = now if self._alone else now - int(SILENT_S * 1000)
        self._alone = False
        while True:
            silent = await self._repository.stale(before, _BATCH)
            for stored in silent:
                await self._fail(stored)
            if len(silent) < _BATCH:
                return

    async def expire(self) -> None:
        """Delete what has expired, in small batches."""
        while await self._repository.expire(self._clock(), _BATCH) == _BATCH:
            pass

    async def _fail(self, stored: StoredResponse) -> None:
        error = ResponseInterrupted(
            "The gateway's process died before the answer was whole; create the response again."
        )
        body = orjson.dumps(failed(stored.body(), error)).decode()
        if await self._repository.abandon(stored, self._clock(), body):
            _LOG.warning("a background response has failed with its process: %s", stored.response_id)
