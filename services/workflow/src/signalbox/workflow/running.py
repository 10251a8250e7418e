"""The turns that run in this replica: each a task of its own, so that it outlives a client that leaves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.common.web.problems import problem_of
from signalbox.contracts.events import ErrorEvent
from signalbox.contracts.query import QueryReply
from signalbox.workflow.errors import TurnCancelled
from signalbox.workflow.turn_log import TurnLog

_LOG = logging.getLogger(__name__)


class RunningTurns:
    """Starts turns, cancels them, and waits for them when the process ends."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], asyncio.Task[QueryReply]] = {}

    def start(
        self, tenant: str, turn_id: str, log: TurnLog, run: Callable[[], Awaitable[QueryReply]]
    ) -> asyncio.Task[QueryReply]:
        """Run a turn as a task. It ends with ``complete`` or ``error`` in the log, whatever happens."""
        name = (tenant, turn_id)
        task = asyncio.create_task(self._guarded(log, run), name=turn_id)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def cancel(self, tenant: str, turn_id: str) -> bool:
        """Cancel a turn that runs here; false when it does not."""
        task = self._tasks.get((tenant, turn_id))
        return task is not None and cancel_once(task)

    async def drain(self, seconds: float) -> None:
        """Give running turns time to end, then cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=seconds)
            for task in late:
                cancel_once(task)
            if late:
                await asyncio.wait(late, timeout=1.0)

    async def _guarded(self, log: TurnLog, run: Callable[[], Awaitable[QueryReply]]) -> QueryReply:
        try:
            return await run()
        except asyncio.CancelledError:
            cancelled = TurnCancelled()
            await _end_with(log, cancelled)
            raise cancelled from None
        except SignalboxError as error:
            await _end_with(log, error)
            raise
        except Exception as error:
            _LOG.exception("a turn failed")
            hidden = SignalboxError("Something went wrong on our side; the request id finds it.")
            await _end_with(log, hidden)
            raise hidden from error

    def _ended(self, name: tuple[str, str], task: asyncio.Task[QueryReply]) -> None:
        self._tasks.pop(name, None)
        if not task.cancelled():
            task.exception()  # seen: whoever awaits the turn gets it too


def cancel_once(task: asyncio.Task[Any]) -> bool:
    """Cancel a task unless it has ended; one that stops already is left to its clean-up."""
    if task.done():
        return False
    return task.cancelling() > 0 or task.cancel()


async def _end_with(log: TurnLog, error: SignalboxError) -> None:
    if not log.closed:
        with suppress(Unavailable):
            await log.emit(ErrorEvent(data=problem_of(error)))
