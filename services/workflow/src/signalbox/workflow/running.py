"""The turns that run in this replica: each a task of its own, so that it outlives a client that leaves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from signalbox.common.context import current_deadline
from signalbox.common.errors import DeadlineExceeded, SignalboxError, Unavailable
from signalbox.common.web.problems import problem_of
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.events import ErrorEvent
from signalbox.contracts.query import QueryReply
from signalbox.workflow.errors import ShuttingDown, TurnCancelled
from signalbox.workflow.turn_log import TurnLog

_LOG = logging.getLogger(__name__)
LATE_S = 0.5
"""How much later than its time a turn is stopped: one that ends in time may still be committing."""
_LAST_WORDS_S = 0.7
_UNTIL_CANCELLED_S = 0.3


class TurnStop:
    """How one turn is stopped: at once, but not in the middle of a write, whose result it waits for first."""

    def __init__(self, tenant: str, turn_id: str, gate: WriteGate) -> None:
        self._tenant = tenant
        self._turn_id = turn_id
        self._gate = gate
        self._task: asyncio.Task[QueryReply] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._deadline = current_deadline()
        self._expiry: asyncio.TimerHandle | None = None
        self.may_write = False
        """Whether the turn may have begun to change something outside."""
        self.late = False
        """Whether it is stopped because its time is over."""

    def watch(self, task: "asyncio.Task[QueryReply]") -> None:
        """The task to stop, by whoever asks, and when its time is over."""
        self._task = task
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._deadline.remaining() + LATE_S, self._expire)

    def ended(self) -> None:
        """There is nothing to stop any more."""
        if self._expiry is not None:
            self._expiry.cancel()

    def request(self) -> bool:
        """Stop the turn unless it has ended; one that stops already is left to its clean-up."""
        task = self._task
        if task is None or task.done():
            return False
        if not self.may_write:
            self.cancel()
        elif self._closing is None:
            self._closing = asyncio.create_task(self._after_the_write())
        return True

    def cancel(self) -> None:
        """Stop the turn now: a write in flight is finished at its receiver, and nobody here waits for it."""
        if self._task is not None and not self._task.done() and not self._task.cancelling():
            self._task.cancel()

    async def reopen(self) -> None:
        """Let the writes of the turn begin again, where another process goes on with it under the same id."""
        if self._closing is not None:
            self._closing.cancel()
            await self._gate.reopen(self._tenant, self._turn_id)

    def _expire(self) -> None:
        self.late = True
        self.request()

    async def _after_the_write(self) -> None:
        await self._gate.close(self._tenant, self._turn_id, self._deadline.remaining())
        self.cancel()


class RunningTurns:
    """Starts turns, cancels them, and waits for them when the process ends."""

    def __init__(self, gate: WriteGate) -> None:
        self._gate = gate
        self._stops: dict[asyncio.Task[QueryReply], TurnStop] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[QueryReply]] = {}
        self._ending = False

    def start(
        self, tenant: str, turn_id: str, log: TurnLog, run: Callable[[TurnStop], Awaitable[QueryReply]]
    ) -> asyncio.Task[QueryReply]:
        """Run a turn as a task. It ends with ``complete`` or ``error`` in the log, whatever happens."""
        name = (tenant, turn_id)
        stop = TurnStop(tenant, turn_id, self._gate)
        task = asyncio.create_task(self._guarded(log, stop, run), name=turn_id)
        stop.watch(task)
        self._tasks[name] = task
        self._stops[task] = stop
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def cancel(self, tenant: str, turn_id: str) -> bool:
        """Stop a turn that runs here; false when it does not."""
        task = self._tasks.get((tenant, turn_id))
        return task is not None and self._stops[task].request()

    def abandon(self, tenant: str, turn_id: str) -> None:
        """Stop a turn here that another process has taken over: the gate stays open, for that one's writes."""
        task = self._tasks.get((tenant, turn_id))
        if task is not None:
            self._stops[task].cancel()

    async def drain(self, seconds: float) -> None:
        """Give running turns time to end, then stop the rest."""
        if not self._stops:
            return
        _, late = await asyncio.wait(list(self._stops), timeout=seconds)
        self._ending = True
        for task in late:
            self._stops[task].request()
        if late:
            _, writing = await asyncio.wait(late, timeout=_LAST_WORDS_S)
            for task in writing:
                self._stops[task].cancel()
            if writing:
                await asyncio.wait(writing, timeout=_UNTIL_CANCELLED_S)

    async def _guarded(
        self, log: TurnLog, stop: TurnStop, run: Callable[[TurnStop], Awaitable[QueryReply]]
    ) -> QueryReply:
        try:
            return await run(stop)
        except asyncio.CancelledError:
            stopped = self._why(stop)
            if isinstance(stopped, ShuttingDown):
                await stop.reopen()
            await _end_with(log, stopped)
            raise stopped from None
        except SignalboxError as error:
            await _end_with(log, error)
            raise
        except Exception as error:
            _LOG.exception("a turn failed")
            hidden = SignalboxError("Something went wrong on our side; the request id finds it.")
            await _end_with(log, hidden)
            raise hidden from error

    def _why(self, stop: TurnStop) -> SignalboxError:
        if stop.late:
            return DeadlineExceeded("The time for this turn is over; allow more with Signalbox-Timeout-Ms.")
        return ShuttingDown() if self._ending else TurnCancelled()

    def _ended(self, name: tuple[str, str], task: "asyncio.Task[QueryReply]") -> None:
        self._stops.pop(task).ended()
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled():
            task.exception()  # seen: whoever awaits the turn gets it too


async def _end_with(log: TurnLog, error: SignalboxError) -> None:
    if not log.closed:
        with suppress(Unavailable):
            await log.emit(ErrorEvent(data=problem_of(error)))
