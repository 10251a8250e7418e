"""The timers of sessions in SQL: one row a session."""

from signalbox.common.storage import Database, Statement, Write, columns_of, insert_into, listed, row_of
from signalbox.workflow.records import Fired, TimerSet

_COLUMNS = columns_of(TimerSet)
_THIS = (
    "tenant = :in_tenant AND session_id = :in_session"
    " AND epoch = :in_epoch AND seq = :in_seq AND revision = :in_revision"
)

_SET = Statement(
    f"{insert_into('workflow_timers', _COLUMNS)} ON CONFLICT (tenant, session_id) DO UPDATE"
    " SET epoch = excluded.epoch, seq = excluded.seq, due_at = excluded.due_at, plan = excluded.plan,"
    " revision = excluded.revision"
)
_TAKE = Statement(
    "UPDATE workflow_timers SET due_at = :again_at FROM ("
    "SELECT tenant AS due_tenant, session_id AS due_session FROM workflow_timers"
    " WHERE due_at <= :now ORDER BY due_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) AS due"
    " WHERE tenant = due_tenant AND session_id = due_session"
    f" RETURNING {listed(_COLUMNS)}"
)
_ADVANCE = Statement(
    "UPDATE workflow_timers SET due_at = :new_due_at, plan = :new_plan, revision = :new_revision"
    f" WHERE {_THIS}"
)
_END = Statement(f"DELETE FROM workflow_timers WHERE {_THIS}")


class SqlTimerStore:
    """``TimerStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, now: int, again_at: int, limit: int) -> list[TimerSet]:
        """See ``TimerStore.take_due``."""
        params = {"now": now, "again_at": again_at, "at_most": limit}
        [rows] = await self._database.write(Write(_TAKE, params))
        return [TimerSet(**row) for row in rows]

    async def end(self, taken: TimerSet) -> None:
        """See ``TimerStore.end``."""
        await self._database.write(Write(_END, _named(taken)))


def write_of(change: TimerSet | Fired) -> Write:
    """The write of a turn's commit that sets timers, or keeps what fired; of two firings alike one fails."""
    if isinstance(change, TimerSet):
        return Write(_SET, row_of(change))
    if change.left is None:
        return Write(_END, _named(change.taken), expect=1)
    new = {f"new_{name}": getattr(change.left, name) for name in ("due_at", "plan", "revision")}
    return Write(_ADVANCE, {**_named(change.taken), **new}, expect=1)


def _named(timers: TimerSet) -> dict[str, str | int]:
    return {
        "in_tenant": timers.tenant,
        "in_session": timers.session_id,
        "in_epoch": timers.epoch,
        "in_seq": timers.seq,
        "in_revision": timers.revision,
    }
