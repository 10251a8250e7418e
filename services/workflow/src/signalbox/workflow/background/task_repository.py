"""Async queries and batches of them, in SQL."""

from collections.abc import Sequence
from typing import Any

from signalbox.common.storage import (
    Database,
    PreconditionFailed,
    Row,
    Statement,
    Write,
    columns_of,
    insert_into,
    listed,
    row_of,
)
from signalbox.contracts.background import BatchProgress, TaskStatus
from signalbox.workflow.background.outbox_repository import insert_outbox
from signalbox.workflow.background.records import HELD, BatchRecord, OutboxMessage, TaskName, TaskRecord
from signalbox.workflow.idempotency_rows import KEPT_MS, insert_idempotency
from signalbox.workflow.records import IdempotencyRecord

_TASK_COLUMNS = columns_of(TaskRecord)
_BATCH_COLUMNS = columns_of(BatchRecord)


def _place(table: str) -> str:
    """Where a task stands among those of its session: as they were posted, items of a batch as they stand there."""
    return f"{table}.created_at, coalesce({table}.item, 0), {table}.task_id"


_THIS_TASK = "tenant = :in_tenant AND task_id = :in_task"
_THIS_ATTEMPT = f"{_THIS_TASK} AND status = 'running' AND attempt = :in_attempt"
_SELECT_TASKS = f"SELECT {listed(_TASK_COLUMNS)} FROM workflow_tasks"
_INSERT_TASK = Statement(insert_into("workflow_tasks", _TASK_COLUMNS))
_TASK = Statement(f"{_SELECT_TASKS} WHERE {_THIS_TASK}")
_OF_SUBJECT = Statement(
    f"{_SELECT_TASKS} WHERE tenant = :in_tenant AND subject = :in_subject AND task_id < :before"
    " AND (CAST(:in_status AS text) = '' OR status = :in_status)"
    " AND (CAST(:in_schedule AS text) = '' OR schedule_id = :in_schedule)"
    " ORDER BY task_id DESC LIMIT :at_most"
)
_WAITING = Statement(
    "SELECT count(*) AS tasks FROM (SELECT 1 FROM workflow_tasks WHERE tenant = :in_tenant"
    " AND subject = :in_subject AND status IN ('pending', 'running') LIMIT :at_most) AS open"
)
# Sessions are ordered, and a worker that waits for one works on nothing else: the first of a session's tasks is taken.
_CLAIM_TASK = Statement(
    "UPDATE workflow_tasks SET status = 'running', owner = :new_owner, heartbeat_at = :now, due_at = :look_at,"
    f" attempt = attempt + 1 WHERE {_THIS_TASK} AND ((status = 'pending' AND due_at < :held)"
    " OR (status = 'running' AND heartbeat_at < :stale_before))"
    " AND NOT EXISTS (SELECT 1 FROM workflow_tasks AS earlier WHERE earlier.tenant = :in_tenant"
    " AND earlier.session_id = workflow_tasks.session_id AND earlier.status IN ('pending', 'running')"
    f" AND ({_place('earlier')}) < ({_place('workflow_tasks')}))"
    f" RETURNING {listed(_TASK_COLUMNS)}"
)
_CLEAR_TURN = Statement(
    "DELETE FROM workflow_turns WHERE tenant = :in_tenant AND turn_id = :in_turn AND status <> 'committed'"
    f" AND EXISTS (SELECT 1 FROM workflow_tasks WHERE {_THIS_TASK} AND status = 'running'"
    " AND owner = :new_owner AND heartbeat_at = :now)"
)
_TASK_HEARTBEAT = Statement(
    f"UPDATE workflow_tasks SET heartbeat_at = :now WHERE {_THIS_ATTEMPT} RETURNING {listed(_TASK_COLUMNS)}"
)
_FINISH_TASK = Statement(
    "UPDATE workflow_tasks SET status = :new_status, result = :new_result, finished_at = :now"
    f" WHERE {_THIS_ATTEMPT}"
)
_FIRST_OF_SESSION = Statement(
    "SELECT tenant, task_id, status, due_at FROM workflow_tasks WHERE tenant = :in_tenant"
    " AND session_id = :in_session AND status IN ('pending', 'running')"
    f" ORDER BY {_place('workflow_tasks')} LIMIT 1"
)
_GIVE_BACK = Statement(
    f"UPDATE workflow_tasks SET status = 'pending', owner = NULL, due_at = :new_due_at WHERE {_THIS_ATTEMPT}"
)
_CANCEL_TASK = Statement(
    "UPDATE workflow_tasks SET status = 'cancelled', cancel_at = :now, finished_at = :now"
    f" WHERE {_THIS_TASK} AND status = 'pending'"
)
_REQUEST_CANCEL = Statement(
    f"UPDATE workflow_tasks SET cancel_at = :now WHERE {_THIS_TASK} AND status = 'running' RETURNING task_id"
)
_TAKE_DUE = Statement(
    "UPDATE workflow_tasks SET due_at = CAST(:now AS bigint) + /*postgresql LEAST*//*sqlite MIN*/"
    "(CAST(:longest_ms AS bigint), /*postgresql GREATEST*//*sqlite MAX*/"
    "(CAST(:requeue_ms AS bigint), (CAST(:now AS bigint) - created_at) / 2)) FROM ("
    "SELECT tenant AS due_tenant, task_id AS due_task FROM workflow_tasks"
    " WHERE (status IN ('pending', 'running') AND due_at <= :now"
    " AND (status = 'pending' OR heartbeat_at < :stale_before))"
    # Put off by a clock that was ahead: nobody waits for so long.
    " OR (status = 'pending' AND due_at > :latest AND due_at < :held)"
    " ORDER BY due_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) AS due"
    " WHERE tenant = due_tenant AND task_id = due_task RETURNING tenant, task_id"
)

_THIS_BATCH = "tenant = :in_tenant AND batch_id = :in_batch"
_SELECT_BATCHES = f"SELECT {listed(_BATCH_COLUMNS)} FROM workflow_batches"
_INSERT_BATCH = Statement(insert_into("workflow_batches", _BATCH_COLUMNS))
_BATCH = Statement(f"{_SELECT_BATCHES} WHERE {_THIS_BATCH}")
_PROGRESS = Statement(
    f"SELECT status, count(*) AS items FROM workflow_tasks WHERE {_THIS_BATCH} GROUP BY status"
)
_ITEMS = Statement(f"{_SELECT_TASKS} WHERE {_THIS_BATCH} AND item >= :after ORDER BY item LIMIT :at_most")
_HOLD_BATCH = Statement(
    f"UPDATE workflow_batches SET checked_at = :now WHERE {_THIS_BATCH} AND finished_at IS NULL"
)
_RELEASE = Statement(
    f"UPDATE workflow_tasks SET due_at = :look_at WHERE {_THIS_BATCH} AND status = 'pending' AND task_id IN ("
    f"SELECT task_id FROM workflow_tasks WHERE {_THIS_BATCH} AND status = 'pending' AND due_at >= :held"
    " ORDER BY due_at LIMIT (SELECT /*postgresql GREATEST*//*sqlite MAX*/(0, parallel - ("
    f"SELECT count(*) FROM workflow_tasks WHERE {_THIS_BATCH}"
    " AND (status = 'running' OR (status = 'pending' AND due_at < :held))))"
    f" FROM workflow_batches WHERE {_THIS_BATCH})) RETURNING tenant, task_id"
)
_LEFT = Statement(
    f"SELECT count(*) AS items FROM workflow_tasks WHERE {_THIS_BATCH} AND status IN ('pending', 'running')"
)
_FINISH_BATCH = Statement(
    f"UPDATE workflow_batches SET finished_at = :now WHERE {_THIS_BATCH} AND finished_at IS NULL"
)
_CANCEL_PENDING = Statement(
    "UPDATE workflow_tasks SET status = 'cancelled', cancel_at = :now, finished_at = :now"
    f" WHERE {_THIS_BATCH} AND status = 'pending'"
)
_CANCEL_RUNNING = Statement(
    f"UPDATE workflow_tasks SET cancel_at = :now WHERE {_THIS_BATCH} AND status = 'running'"
)
_UNFINISHED = Statement(
    f"{_SELECT_BATCHES} WHERE finished_at IS NULL AND checked_at < :checked_before"
    " ORDER BY checked_at LIMIT :at_most"
)
_LONGEST = 30
"""Times of ``requeue_ms`` after which a task that waits is put in the queue again at the latest."""
_MARGIN_MS = 60_000
"""More than a task is put off by that is tried again, and than clocks that are kept in time differ."""
_LAST = "~"
"""After every id, which are letters and digits."""


def insert_task(task: TaskRecord) -> Write:
    """The write that stores a new task, for the transaction of what it belongs to."""
    return Write(_INSERT_TASK, row_of(task))


class SqlTaskStore:
    """``TaskStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, task: TaskRecord, idempotency: IdempotencyRecord | None = None) -> None:
        """See ``TaskStore.add``."""
        await self._database.write(insert_task(task), *_remembering(idempotency, task.created_at))

    async def task(self, tenant: str, task_id: str) -> TaskRecord | None:
        """See ``TaskStore.task``."""
        row = await self._database.fetch_one(_TASK, {"in_tenant": tenant, "in_task": task_id})
        return None if row is None else TaskRecord(**row)

    async def waiting(self, tenant: str, subject: str, most: int) -> int:
        """See ``TaskStore.waiting``."""
        params = {"in_tenant": tenant, "in_subject": subject, "at_most": most}
        row = await self._database.fetch_one(_WAITING, params)
        return 0 if row is None else int(row["tasks"])

    async def of_subject(
        self,
        tenant: str,
        subject: str,
        *,
        status: TaskStatus | None,
        schedule_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[TaskRecord]:
        """See ``TaskStore.of_subject``."""
        params = {
            "in_tenant": tenant,
            "in_subject": subject,
            "in_status": status or "",
            "in_schedule": schedule_id or "",
            "before": before or _LAST,
            "at_most": limit,
        }
        return _tasks(await self._database.fetch_all(_OF_SUBJECT, params))

    async def claim(
        self, name: TaskName, owner: str, now: int, stale_before: int, look_at: int
    ) -> TaskRecord | None:
        """See ``TaskStore.claim``."""
        params = {
            **_name(name),
            "new_owner": owner,
            "now": now,
            "stale_before": stale_before,
            "look_at": look_at,
            "held": HELD,
        }
        turn = {**params, "in_turn": f"turn_{name.task_id.removeprefix('task_')}"}
        [rows, _] = await self._database.write(Write(_CLAIM_TASK, params), Write(_CLEAR_TURN, turn))
        return TaskRecord(**rows[0]) if rows else None

    async def first_of_session(self, tenant: str, session_id: str) -> TaskName | None:
        """See ``TaskStore.first_of_session``."""
        params = {"in_tenant": tenant, "in_session": session_id}
        row = await self._database.fetch_one(_FIRST_OF_SESSION, params)
        if row is None or row["status"] != "pending" or row["due_at"] >= HELD:
            return None
        return TaskName(row["tenant"], row["task_id"])

    async def heartbeat(self, task: TaskRecord, now: int) -> TaskRecord | None:
        """See ``TaskStore.heartbeat``."""
        [rows] = await self._database.write(Write(_TASK_HEARTBEAT, {**_attempt(task), "now": now}))
        return TaskRecord(**rows[0]) if rows else None

    def finishing(
        self,
        task: TaskRecord,
        status: TaskStatus,
        result: str | None,
        now: int,
        outbox: Sequence[OutboxMessage],
    ) -> list[Write]:
        """See ``TaskStore.finishing``."""
        params = {**_attempt(task), "new_status": status, "new_result": result, "now": now}
        return [Write(_FINISH_TASK, params, expect=1), *(insert_outbox(message) for message in outbox)]

    async def finish(
        self,
        task: TaskRecord,
        status: TaskStatus,
        result: str | None,
        now: int,
        outbox: Sequence[OutboxMessage] = (),
    ) -> bool:
        """See ``TaskStore.finish``."""
        return await self._written(*self.finishing(task, status, result, now, outbox))

    async def give_back(self, task: TaskRecord, due_at: int) -> bool:
        """See ``TaskStore.give_back``."""
        return await self._written(Write(_GIVE_BACK, {**_attempt(task), "new_due_at": due_at}, expect=1))

    async def cancel(
        self, tenant: str, task_id: str, now: int, outbox: Sequence[OutboxMessage] = ()
    ) -> TaskRecord | None:
        """See ``TaskStore.cancel``."""
        params = {**_name(TaskName(tenant, task_id)), "now": now}
        messages = (insert_outbox(message) for message in outbox)
        if not await self._written(Write(_CANCEL_TASK, params, expect=1), *messages):
            return None
        return await self.task(tenant, task_id)

    async def request_cancel(self, tenant: str, task_id: str, now: int) -> bool:
        """See ``TaskStore.request_cancel``."""
        params = {**_name(TaskName(tenant, task_id)), "now": now}
        [rows] = await self._database.write(Write(_REQUEST_CANCEL, params))
        return bool(rows)

    async def take_due(self, now: int, stale_before: int, requeue_ms: int, limit: int) -> list[TaskName]:
        """See ``TaskStore.take_due``."""
        params = {
            "now": now,
            "stale_before": stale_before,
            "requeue_ms": requeue_ms,
            "longest_ms": _LONGEST * requeue_ms,
            "latest": now + _LONGEST * requeue_ms + _MARGIN_MS,
            "held": HELD,
            "at_most": limit,
        }
        [rows] = await self._database.write(Write(_TAKE_DUE, params))
        return _names(rows)

    async def _written(self, *writes: Write) -> bool:
        try:
            await self._database.write(*writes)
        except PreconditionFailed:
            return False
        return True


class SqlBatchStore:
    """``BatchStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, batch: BatchRecord, tasks: Sequence[TaskRecord], idempotency: IdempotencyRecord | None = None
    ) -> None:
        """See ``BatchStore.add``."""
        await self._database.write(
            *_remembering(idempotency, batch.created_at),
            Write(_INSERT_BATCH, row_of(batch)),
            *(insert_task(task) for task in tasks),
        )

    async def batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """See ``BatchStore.batch``."""
        row = await self._database.fetch_one(_BATCH, _batch(tenant, batch_id))
        return None if row is None else BatchRecord(**row)

    async def progress(self, tenant: str, batch_id: str) -> BatchProgress:
        """See ``BatchStore.progress``."""
        rows = await self._database.fetch_all(_PROGRESS, _batch(tenant, batch_id))
        return BatchProgress.model_validate({row["status"]: row["items"] for row in rows})

    async def items(self, tenant: str, batch_id: str, after: int, limit: int) -> list[TaskRecord]:
        """See ``BatchStore.items``."""
        params = {**_batch(tenant, batch_id), "after": after, "at_most": limit}
        return _tasks(await self._database.fetch_all(_ITEMS, params))

    async def advance(self, tenant: str, batch_id: str, now: int, look_at: int) -> tuple[list[TaskName], int]:
        """See ``BatchStore.advance``."""
        params = {**_batch(tenant, batch_id), "now": now, "look_at": look_at, "held": HELD}
        [_, released, left] = await self._database.write(
            Write(_HOLD_BATCH, params), Write(_RELEASE, params), Write(_LEFT, params)
        )
        return _names(released), int(left[0]["items"])

    async def finish(self, batch: BatchRecord, now: int, outbox: Sequence[OutboxMessage] = ()) -> bool:
        """See ``BatchStore.finish``."""
        params = {**_batch(batch.tenant, batch.batch_id), "now": now}
        try:
            await self._database.write(
                Write(_FINISH_BATCH, params, expect=1), *(insert_outbox(message) for message in outbox)
            )
        except PreconditionFailed:
            return False
        return True

    async def cancel(self, tenant: str, batch_id: str, now: int) -> None:
        """See ``BatchStore.cancel``."""
        params = {**_batch(tenant, batch_id), "now": now}
        await self._database.write(
            Write(_HOLD_BATCH, params), Write(_CANCEL_PENDING, params), Write(_CANCEL_RUNNING, params)
        )

    async def unfinished(self, checked_before: int, limit: int) -> list[BatchRecord]:
        """See ``BatchStore.unfinished``."""
        params = {"checked_before": checked_before, "at_most": limit}
        return [BatchRecord(**row) for row in await self._database.fetch_all(_UNFINISHED, params)]


def _remembering(idempotency: IdempotencyRecord | None, now: int) -> list[Write]:
    return [] if idempotency is None else insert_idempotency(idempotency, now, now - KEPT_MS)


def _name(name: TaskName) -> dict[str, Any]:
    return {"in_tenant": name.tenant, "in_task": name.task_id}


def _attempt(task: TaskRecord) -> dict[str, Any]:
    return {**_name(task.name), "in_attempt": task.attempt}


def _batch(tenant: str, batch_id: str) -> dict[str, Any]:
    return {"in_tenant": tenant, "in_batch": batch_id}


def _tasks(rows: Sequence[Row]) -> list[TaskRecord]:
    return [TaskRecord(**row) for row in rows]


def _names(rows: Sequence[Row]) -> list[TaskName]:
    return [TaskName(row["tenant"], row["task_id"]) for row in rows]
