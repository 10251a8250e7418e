"""Runs that wait for an operator: listed, decided on once, refused when nobody decides in time."""

import logging
from dataclasses import replace
from typing import Any

import orjson

from signalbox.common.ids import new_id, now_ms
from signalbox.contracts.identity import Principal
from signalbox.contracts.pauses import (
    Decision,
    DecisionRequest,
    PausedRunList,
    PausedRunStatus,
    PausedRunView,
    PauseReason,
)
from signalbox.workflow.background.ports import TaskQueue
from signalbox.workflow.background.records import TaskRecord
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.errors import AlreadyDecided, DecisionUnfit, PausedRunNotFound
from signalbox.workflow.pauses.repository import SqlPauseStore
from signalbox.workflow.pauses.settling import calls_of, request_of
from signalbox.workflow.records import PauseRecord
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)
_BATCH = 50
_EXPIRY = "expiry"
"""Who has decided where nobody did."""
_TOO_LATE = "Nobody decided in time."
_FITTING: dict[PauseReason, tuple[Decision, ...]] = {
    "approval": ("approve", "refuse", "abandon"),
    "unknown_outcome": ("happened", "repeat", "abandon"),
}


class PausedRuns:
    """Paused runs, for operators of their tenant."""

    def __init__(self, store: SqlPauseStore, queue: TaskQueue, settings: WorkflowSettings) -> None:
        self._store = store
        self._queue = queue
        self._settings = settings
        self._ticker = Ticker("approvals", self._look)

    def start(self) -> None:
        """Refuse from now on what nobody decides on in time."""
        self._ticker.start()

    async def stop(self) -> None:
        """Stop; what expires is refused by another replica or the next process."""
        await self._ticker.stop()

    async def page(
        self,
        principal: Principal,
        status: PausedRunStatus | None,
        reason: PauseReason | None,
        before: str | None,
        limit: int,
    ) -> PausedRunList:
        """A page of the tenant's, newest first, of the workflows that the credential may use."""
        found = await self._store.page(principal.tenant, status, reason, before, limit + 1)
        page = found[:limit]
        return PausedRunList(
            items=[view_of(pause) for pause in page if principal.may_use(pause.workflow_id)],
            next_before=page[-1].pause_id if len(found) > limit else None,
        )

    async def one(self, principal: Principal, pause_id: str) -> PausedRunView:
        """One as it stands.

        Raises:
            PausedRunNotFound: there is none, for this principal.
        """
        return view_of(await self._find(principal, pause_id))

    async def decide(self, principal: Principal, pause_id: str, asked: DecisionRequest) -> PausedRunView:
        """Take a decision. It is stored with the task in which the run goes on, in one transaction.

        Raises:
            PausedRunNotFound: there is none, for this principal.
            DecisionUnfit: the decision does not fit what the run waits for.
            AlreadyDecided: one was taken before.
        """
        pause = await self._find(principal, pause_id)
        fitting = _FITTING[pause.reason]
        if asked.decision not in fitting:
            raise DecisionUnfit(pause.reason, ", ".join(fitting))
        output = orjson.dumps(asked.output).decode() if asked.output is not None else None
        decided = await self._decide(pause, asked.decision, output, asked.note, principal.subject)
        if decided is None:
            taken = await self._find(principal, pause_id)
            raise AlreadyDecided(taken.decision, taken.decided_by)
        return view_of(decided)

    async def expire(self) -> int:
        """Refuse what is due now; returns how many there were."""
        due = await self._store.expired(now_ms(), _BATCH)
        for pause in due:
            await self._decide(pause, "refuse", None, _TOO_LATE, _EXPIRY)
        return len(due)

    async def _look(self) -> bool:
        return await self.expire() == _BATCH

    async def _find(self, principal: Principal, pause_id: str) -> PauseRecord:
        pause = await self._store.find(principal.tenant, pause_id)
        if pause is None or not principal.may_use(pause.workflow_id):
            raise PausedRunNotFound(pause_id)
        return pause

    async def _decide(
        self, pause: PauseRecord, decision: Decision, output: str | None, note: str, by: str
    ) -> PauseRecord | None:
        now = now_ms()
        task = self._task(pause, now)
        decided = replace(
            pause,
            status="decided",
            decision=decision,
            output=output,
            note=note,
            decided_by=by,
            decided_at=now,
            task_id=task.task_id,
        )
        if not await self._store.decide(decided, task):
            return None
        _LOG.info("a decision was taken on a run: %s", decision, extra={"pause_id": pause.pause_id, "by": by})
        self._queue.put([task.name])
        return decided

    def _task(self, pause: PauseRecord, now: int) -> TaskRecord:
        request = request_of(pause).model_dump_json(exclude_defaults=True)
        return TaskRecord(
            tenant=pause.tenant,
            task_id=new_id("task"),
            subject=pause.subject,
            session_id=pause.session_id,
            status="pending",
            request=request,
            due_at=now + self._settings.task_requeue_ms,
            created_at=now,
            principal=pause.principal,
            pause_id=pause.pause_id,
        )


def view_of(pause: PauseRecord) -> PausedRunView:
    """A paused run as operators see it."""
    result: dict[str, Any] = {}
    if pause.task_id is not None:
        result["result_turn_id"] = f"turn_{pause.task_id.removeprefix('task_')}"
    return PausedRunView(
        pause_id=pause.pause_id,
        status=pause.status,
        reason=pause.reason,
        session_id=pause.session_id,
        turn_id=pause.turn_id,
        workflow_id=pause.workflow_id,
        user_id=pause.user_id,
        skill=pause.skill,
        run_id=pause.run_id,
        calls=calls_of(pause),
        asked_at=pause.created_at,
        expires_at=pause.expires_at,
        decision=pause.decision,
        note=pause.note,
        decided_by=pause.decided_by,
        decided_at=pause.decided_at,
        task_id=pause.task_id,
        done_at=pause.done_at,
        **result,
    )
