"""Answering async queries: a worker claims a task, runs its turn, and ends it once."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from signalbox.common.auth import KeyRing
from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import Forbidden, SignalboxError, Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.storage import Write
from signalbox.common.web.problems import problem_of
from signalbox.contracts.background import TaskStatus
from signalbox.contracts.identity import Principal, key_id_of
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.background.batches import BatchKeeper
from signalbox.workflow.background.metrics import TaskMetrics
from signalbox.workflow.background.ports import TaskQueue, TaskStore
from signalbox.workflow.background.records import TaskName, TaskRecord
from signalbox.workflow.background.results import webhooks_of
from signalbox.workflow.errors import (
    LeaseLost,
    PausedRunNotFound,
    SessionBusy,
    ShuttingDown,
    TaskGivenUp,
    TurnCancelled,
)
from signalbox.workflow.pauses.repository import SqlPauseStore, pause_done
from signalbox.workflow.pauses.settling import request_of
from signalbox.workflow.records import PauseRecord
from signalbox.workflow.running import RunningTurns, TurnStop
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.turn_log import TurnLog
from signalbox.workflow.turn_state import TurnInput

_LOG = logging.getLogger(__name__)

_MOST_ATTEMPTS = 12
"""A task that was taken so often ends its workers, or what it needs is not coming back."""
_BEATS = 4
"""Heartbeats in the time after which a worker counts as gone."""
_RETRY_MS = (500, 1_000, 2_000, 5_000, 10_000, 30_000)
_LAST_WRITES_S = 2.0
_PASSES = (Unavailable, SessionBusy, LeaseLost)
"""What another attempt may not meet."""


class AnswersTurns(Protocol):
    """Runs one turn to its commit."""

    async def run(self, given: TurnInput, log: TurnLog, stop: TurnStop) -> QueryReply:
        """See ``TurnRunner.run``."""
        ...


@dataclass(slots=True)
class _Attempt:
    """A task that is worked on here, and what became of it meanwhile."""

    task: TaskRecord
    cancelled: bool = False
    """Somebody asked to stop it."""
    lost: bool = False
    """Another worker has it, or it is gone."""


class TaskRunner:
    """Works on tasks, any number at a time."""

    def __init__(
        self,
        tasks: TaskStore,
        batches: BatchKeeper,
        queue: TaskQueue,
        turns: AnswersTurns,
        running: RunningTurns,
        keys: KeyRing,
        settings: WorkflowSettings,
        owner: str,
        metrics: TaskMetrics,
        pauses: SqlPauseStore,
    ) -> None:
        self._tasks = tasks
        self._batches = batches
        self._queue = queue
        self._turns = turns
        self._running = running
        self._keys = keys
        self._settings = settings
        self._owner = owner
        self._metrics = metrics
        self._pauses = pauses
        self._here: dict[TaskName, _Attempt] = {}
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def look(self, name: TaskName) -> None:
        """Work on a task, unless another does or it is over. What goes wrong is in the task, not raised."""
        if self._closing or name in self._here:
            # One that is worked on here is not taken over here, however old a clock that was set makes its heartbeat.
            return
        now = now_ms()
        stale_ms = self._settings.task_stale_ms
        try:
            task = await self._tasks.claim(name, self._owner, now, now - stale_ms, now + stale_ms)
        except Unavailable as error:
            # The sweeper has it looked at again.
            _LOG.warning("cannot take a task: %s", error.detail)
            return
        if task is None:
            return
        self._metrics.taken(task, now)
        attempt = self._here[name] = _Attempt(task)
        self._idle.clear()
        beating = asyncio.create_task(self._beat(attempt), name=f"heartbeat of {name.task_id}")
        try:
            await self._work(attempt)
        except Unavailable as error:
            _LOG.warning("the end of a task cannot be written, it is repeated: %s", error.detail)
        finally:
            beating.cancel()
            self._here.pop(name, None)
            if not self._here:
                self._idle.set()
        with suppress(Unavailable):
            # What does not go on now is found by the sweeper.
            await self.go_on_after(task)

    async def go_on_after(self, task: TaskRecord) -> None:
        """A task is over: let the next one of its session and the next ones of its batch be looked at."""
        first = await self._tasks.first_of_session(task.tenant, task.session_id)
        if first is not None and first != task.name:
            self._queue.put([first])
        if task.batch_id is not None:
            await self._batches.advance(task.tenant, task.batch_id)

    def close(self) -> None:
        """Begin no more tasks."""
        self._closing = True

    async def settle(self) -> None:
        """Wait, after ``close`` and once turns have ended, until what became of the tasks is written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITES_S):
                await self._idle.wait()

    def cancel_here(self, name: TaskName) -> None:
        """Stop a task at once if it is worked on here; elsewhere it is stopped with the next heartbeat."""
        attempt = self._here.get(name)
        if attempt is not None:
            attempt.cancelled = True
            self._running.cancel(name.tenant, attempt.task.turn_id)

    async def _work(self, attempt: _Attempt) -> None:
        task = attempt.task
        if task.cancel_at is not None:
            await self._end(attempt, "cancelled", None)
            return
        try:
            if task.attempt > _MOST_ATTEMPTS:
                raise TaskGivenUp(task.attempt - 1)
            await self._answer(attempt)
        except TurnCancelled:
            # By who posted it, or by the next message of its session where policy says so.
            if not attempt.lost:
                await self._end(attempt, "cancelled", None)
        except ShuttingDown:
            if attempt.cancelled:
                await self._end(attempt, "cancelled", None)
            elif not attempt.lost:
                # Another process may begin at once.
                await self._tasks.give_back(task, now_ms())
        except asyncio.CancelledError:
            self._running.cancel(task.tenant, task.turn_id)
            raise
        except SignalboxError as error:
            await self._failed(attempt, error)

    async def _failed(self, attempt: _Attempt, error: SignalboxError) -> None:
        task = attempt.task
        # A decision was taken by a person, who does not look again: it is tried for longer.
        most = len(_RETRY_MS) if task.pause_id is None else _MOST_ATTEMPTS
        if isinstance(error, _PASSES) and task.attempt <= most:
            await self._tasks.give_back(task, now_ms() + _RETRY_MS[min(task.attempt, len(_RETRY_MS)) - 1])
            return
        await self._end(attempt, "failed", problem_of(error).model_dump_json(exclude_none=True))

    async def _answer(self, attempt: _Attempt) -> None:
        task = attempt.task
        principal = self._principal(task)
        seconds = self._settings.task_timeout_ms / 1000
        enter_request(RequestContext(task.task_id, Deadline.after(seconds)))
        log = TurnLog(task.tenant, task.turn_id)
        pause = await self._decided(task)
        given = TurnInput(
            principal,
            QueryRequest.model_validate_json(task.request) if pause is None else request_of(pause),
            task.turn_id,
            # The task ends in the transaction of its turn: there is no turn without a result, and none with two.
            further=lambda reply: self._success(task, pause, reply),
            settles=pause,
        )
        turn = self._running.start(
            task.tenant, task.turn_id, log, lambda stop: self._turns.run(given, log, stop)
        )
        await asyncio.shield(turn)
        self._metrics.ended(task, "success", now_ms())

    async def _decided(self, task: TaskRecord) -> PauseRecord | None:
        """The run that goes on in a task, with the decision on it; None for a task that answers a message.

        Raises:
            PausedRunNotFound: it was deleted meanwhile, or goes on in another task.
        """
        if task.pause_id is None:
            return None
        pause = await self._pauses.find(task.tenant, task.pause_id)
        if pause is None or pause.status != "decided" or pause.task_id != task.task_id:
            raise PausedRunNotFound(task.pause_id)
        return pause

    def _principal(self, task: TaskRecord) -> Principal:
        """Who asked, with what their key allows now.

        Raises:
            Forbidden: the key was revoked or has expired since.
            Unavailable: no key is known yet.
        """
        key_id = key_id_of(task.subject)
        if task.pause_id is not None and task.principal is not None:
            # An operator stands for what is done now, also where the key of who asked was revoked since.
            return Principal.model_validate_json(task.principal)
        if key_id is None and task.principal is not None:
            return Principal.model_validate_json(task.principal)
        if key_id is None or len(self._keys) == 0:
            raise Unavailable("The API keys are not known here yet.")
        principal = self._keys.principal(key_id)
        if principal is None:
            raise Forbidden("The API key that asked for this was revoked or has expired.")
        return principal

    async def _end(self, attempt: _Attempt, status: TaskStatus, result: str | None) -> None:
        task, now = attempt.task, now_ms()
        if await self._tasks.finish(task, status, result, now, webhooks_of(task, status, result, now)):
            self._metrics.ended(task, status, now)

    def _success(self, task: TaskRecord, pause: PauseRecord | None, reply: QueryReply) -> list[Write]:
        now, result = now_ms(), reply.model_dump_json(exclude_none=True)
        ends = self._tasks.finishing(task, "success", result, now, webhooks_of(task, "success", result, now))
        return ends if pause is None else [*ends, pause_done(pause, now)]

    async def _beat(self, attempt: _Attempt) -> None:
        task = attempt.task
        while True:
            await asyncio.sleep(self._settings.task_stale_ms / _BEATS / 1000)
            try:
                seen = await self._tasks.heartbeat(task, now_ms())
            except Unavailable:
                continue
            if seen is None:
                attempt.lost = True
                self._running.abandon(task.tenant, task.turn_id)
                return
            if seen.cancel_at is not None:
                attempt.cancelled = True
                self._running.cancel(task.tenant, task.turn_id)
