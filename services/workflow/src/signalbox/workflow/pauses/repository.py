"""Paused runs in SQL."""

from signalbox.common.storage import (
    Database,
    PreconditionFailed,
    Statement,
    Write,
    columns_of,
    insert_into,
    listed,
    row_of,
)
from signalbox.contracts.pauses import PausedRunStatus
from signalbox.workflow.background.records import TaskRecord
from signalbox.workflow.background.task_repository import insert_task
from signalbox.workflow.records import PauseRecord

_COLUMNS = columns_of(PauseRecord)
_THIS = "tenant = :in_tenant AND pause_id = :in_pause"
_SELECT = f"SELECT {listed(_COLUMNS)} FROM workflow_paused_runs"
_INSERT = Statement(insert_into("workflow_paused_runs", _COLUMNS))
_FIND = Statement(f"{_SELECT} WHERE {_THIS}")
_LIST = Statement(
    f"{_SELECT} WHERE tenant = :in_tenant AND pause_id < :before"
    " AND (CAST(:in_status AS text) = '' OR status = :in_status)"
    " AND (CAST(:in_reason AS text) = '' OR reason = :in_reason)"
    " ORDER BY pause_id DESC LIMIT :at_most"
)
# A decision whose task came to nothing is none: whoever decides again gives the run another task.
_DECIDE = Statement(
    "UPDATE workflow_paused_runs SET status = 'decided', decision = :new_decision, output = :new_output,"
    " note = :new_note, decided_by = :new_by, decided_at = :now, task_id = :new_task"
    f" WHERE {_THIS} AND (:new_decision <> 'approve' OR expires_at IS NULL OR expires_at > :now)"
    " AND (status = 'waiting' OR (status = 'decided'"
    " AND (decision = :new_decision OR :new_decision IN ('refuse', 'abandon'))"
    " AND EXISTS (SELECT 1 FROM workflow_tasks"
    " WHERE workflow_tasks.tenant = :in_tenant AND workflow_tasks.task_id = workflow_paused_runs.task_id"
    " AND workflow_tasks.status IN ('failed', 'cancelled'))))"
)
_DONE = Statement(
    "UPDATE workflow_paused_runs SET status = 'done', done_at = :now"
    f" WHERE {_THIS} AND status = 'decided' AND task_id = :in_task"
)
_EXPIRED = Statement(
    f"{_SELECT} WHERE status = 'waiting' AND expires_at <= :now ORDER BY expires_at LIMIT :at_most"
)
_LAST = "~"
"""After every id, which are letters and digits."""


def insert_pause(pause: PauseRecord) -> Write:
    """The write that stores a paused run, for the transaction of the turn in which it stopped."""
    return Write(_INSERT, row_of(pause))


def pause_done(pause: PauseRecord, now: int) -> Write:
    """The write that says that a run has gone on, for the transaction of the turn in which it did."""
    place = {"in_tenant": pause.tenant, "in_pause": pause.pause_id, "in_task": pause.task_id, "now": now}
    return Write(_DONE, place, expect=1)


class SqlPauseStore:
    """Paused runs of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, pause_id: str) -> PauseRecord | None:
        """One by its id."""
        row = await self._database.fetch_one(_FIND, {"in_tenant": tenant, "in_pause": pause_id})
        return None if row is None else PauseRecord(**row)

    async def page(
        self, tenant: str, status: PausedRunStatus | None, reason: str | None, before: str | None, limit: int
    ) -> list[PauseRecord]:
        """Those of a tenant, newest first, with an id before ``before``."""
        rows = await self._database.fetch_all(
            _LIST,
            {
                "in_tenant": tenant,
                "in_status": status or "",
                "in_reason": reason or "",
                "before": before or _LAST,
                "at_most": limit,
            },
        )
        return [PauseRecord(**row) for row in rows]

    async def decide(self, decided: PauseRecord, task: TaskRecord) -> bool:
        """Store a decision with the task in which the run goes on; false where another was taken before.

        One whose task came to nothing may be taken again, or be turned into a no: a no never becomes a yes. It is too
        late for a yes when the time to approve is over.
        """
        params = {
            "in_tenant": decided.tenant,
            "in_pause": decided.pause_id,
            "new_decision": decided.decision,
            "new_output": decided.output,
            "new_note": decided.note,
            "new_by": decided.decided_by,
            "new_task": task.task_id,
            "now": decided.decided_at,
        }
        try:
            await self._database.write(Write(_DECIDE, params, expect=1), insert_task(task))
        except PreconditionFailed:
            return False
        return True

    async def expired(self, now: int, limit: int) -> list[PauseRecord]:
        """Those that nobody has decided on in time."""
        rows = await self._database.fetch_all(_EXPIRED, {"now": now, "at_most": limit})
        return [PauseRecord(**row) for row in rows]
