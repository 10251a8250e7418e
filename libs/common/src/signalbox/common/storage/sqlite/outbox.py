"""Results on their way from worker threads to the event loop."""

import asyncio
import contextlib
from collections import deque
from typing import Any

from signalbox.common.record import record


@record
class Outcome:
    """What a future is to get: ``value``, or ``failure`` when there is one."""

    future: asyncio.Future[Any]
    value: Any = None
    failure: BaseException | None = None


class Outbox:
    """Outcomes of several threads, delivered with one wake-up of the loop for all that are waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outcomes: deque[Outcome] = deque()
        self._scheduled = False

    def put(self, *outcomes: Outcome) -> None:
        """Hand over outcomes; called in any thread."""
        self._outcomes.extend(outcomes)
        if not self._scheduled:
            self._scheduled = True
            # A loop that has closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Cleared first: what is put from now on schedules again, what was put before is in the queue.
        self._scheduled = False
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if outcome.future.done():
                continue
            if outcome.failure is None:
                outcome.future.set_result(outcome.value)
            else:
                outcome.future.set_exception(outcome.failure)
