"""Tasks and the outbox in SQL."""

from collections.abc import Sequence
from dataclasses import asdict, replace
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
)
from signalbox.workflow.records import IdempotencyRecord, OutboxMessage, TaskRecord

IDEMPOTENCY_COLUMNS = (
    "tenant",
    "subject",
    "route",
    "key",
    "request_hash",
    "target_id",
    "reply",
    "locked_until",
    "created_at",
)
_TASK_COLUMNS = columns_of(TaskRecord)
_MESSAGE_COLUMNS = columns_of(OutboxMessage)

_THIS_TASK = "tenant = :in_tenant AND task_id = :in_task"
_SELECT_TASKS = f"SELECT {listed(_TASK_COLUMNS)} FROM workflow_tasks"
_INSERT_TASK = Statement(insert_into("workflow_tasks", _TASK_COLUMNS))
_INSERT_KEY = Statement(insert_into("workflow_idempotency", IDEMPOTENCY_COLUMNS))
_TASK = Statement(f"{_SELECT_TASKS} WHERE {_THIS_TASK}")
_CLAIM_TASK = Statement(
    "UPDATE workflow_tasks SET status = 'running', owner = :new_owner, heartbeat_at = :now,"
    f" attempt = attempt + 1 WHERE {_THIS_TASK}"
    " AND (status = 'pending' OR (status = 'running' AND heartbeat_at < :stale_before))"
    f" RETURNING {listed(_TASK_COLUMNS)}"
)
_TASK_HEARTBEAT = Statement(
    f"UPDATE workflow_tasks SET heartbeat_at = :now WHERE {_THIS_TASK}"
    " AND status = 'running' AND attempt = :in_attempt RETURNING task_id"
)
_FINISH_TASK = Statement(
    "UPDATE workflow_tasks SET status = :new_status, result = :new_result, finished_at = :now"
    f" WHERE {_THIS_TASK} AND status = 'running' AND attempt = :in_attempt"
)
_DUE_TASKS = Statement(
    f"{_SELECT_TASKS} WHERE (status = 'pending' AND due_at <= :now)"
    " OR (status = 'running' AND heartbeat_at < :stale_before) ORDER BY due_at LIMIT :at_most"
)

_INSERT_OUTBOX = Statement(insert_into("workflow_outbox", _MESSAGE_COLUMNS))
_TAKE_MESSAGES = Statement(
    "UPDATE workflow_outbox SET status = 'sending', due_at = :retry_at, attempt = attempt + 1 FROM ("
    "SELECT tenant AS due_tenant, message_id AS due_message FROM workflow_outbox"
    " WHERE status IN ('pending', 'sending') AND due_at <= :now"
    " ORDER BY due_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) AS due"
    " WHERE tenant = due_tenant AND message_id = due_message"
    f" RETURNING {listed(_MESSAGE_COLUMNS)}"
)
_SETTLE_MESSAGE = Statement(
    "UPDATE workflow_outbox SET status = :new_status, due_at = :new_due_at, last_error = :new_error,"
    " finished_at = :new_finished_at"
    " WHERE tenant = :in_tenant AND message_id = :in_message AND attempt = :in_attempt"
)


def insert_outbox(message: OutboxMessage) -> Write:
    """The write that stores a new message, for the transaction of what it tells about."""
    return Write(_INSERT_OUTBOX, asdict(message))


def insert_idempotency(record: IdempotencyRecord, created_at: int) -> Write:
    """The write that stores a new record, alone or with what its request made."""
    row = {
        **asdict(record.name),
        "request_hash": record.request_hash,
        "target_id": record.target_id,
        "reply": record.reply,
        "locked_until": record.locked_until,
        "created_at": created_at,
    }
    return Write(_INSERT_KEY, row)


class SqlTaskStore:
    """``TaskStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, task: TaskRecord, idempotency: IdempotencyRecord | None = None) -> None:
        """See ``TaskStore.add``."""
        writes = [Write(_INSERT_TASK, asdict(task))]
        if idempotency is not None:
            writes.append(insert_idempotency(idempotency, task.created_at))
        await self._database.write(*writes)

    async def task(self, tenant: str, task_id: str) -> TaskRecord | None:
        """See ``TaskStore.task``."""
        row = await self._database.fetch_one(_TASK, {"in_tenant": tenant, "in_task": task_id})
        return None if row is None else TaskRecord(**row)

    async def claim(
        self, tenant: str, task_id: str, owner: str, now: int, stale_before: int
    ) -> TaskRecord | None:
        """See ``TaskStore.claim``."""
        params = {
            "in_tenant": tenant,
            "in_task": task_id,
            "new_owner": owner,
            "now": now,
            "stale_before": stale_before,
        }
        [rows] = await self._database.write(Write(_CLAIM_TASK, params))
        return TaskRecord(**rows[0]) if rows else None

    async def heartbeat(self, task: TaskRecord, now: int) -> bool:
        """See ``TaskStore.heartbeat``."""
        params = {"in_tenant": task.tenant, "in_task": task.task_id, "in_attempt": task.attempt, "now": now}
        [rows] = await self._database.write(Write(_TASK_HEARTBEAT, params))
        return bool(rows)

    async def finish(
        self, task: TaskRecord, status: str, result: str, now: int, outbox: Sequence[OutboxMessage] = ()
    ) -> bool:
        """See ``TaskStore.finish``."""
        params = {
            "in_tenant": task.tenant,
            "in_task": task.task_id,
            "in_attempt": task.attempt,
            "new_status": status,
            "new_result": result,
            "now": now,
        }
        try:
            await self._database.write(
                Write(_FINISH_TASK, params, expect=1), *(insert_outbox(message) for message in outbox)
            )
        except PreconditionFailed:
            return False
        return True

    async def due(self, now: int, stale_before: int, limit: int) -> list[TaskRecord]:
        """See ``TaskStore.due``."""
        params = {"now": now, "stale_before": stale_before, "at_most": limit}
        return [TaskRecord(**row) for row in await self._database.fetch_all(_DUE_TASKS, params)]


class SqlOutboxStore:
    """``OutboxStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, now: int, retry_at: int, limit: int) -> list[OutboxMessage]:
        """See ``OutboxStore.take_due``."""
        params = {"now": now, "retry_at": retry_at, "at_most": limit}
        [rows] = await self._database.write(Write(_TAKE_MESSAGES, params))
        return [_message(row) for row in rows]

    async def delivered(self, message: OutboxMessage, now: int) -> None:
        """See ``OutboxStore.delivered``."""
        settled = replace(message, status="delivered", last_error=None, finished_at=now)
        await self._database.write(Write(_SETTLE_MESSAGE, _settled(settled)))

    async def failed(self, message: OutboxMessage, due_at: int | None, error: str, now: int) -> None:
        """See ``OutboxStore.failed``."""
        if due_at is None:
            settled = replace(message, status="dead", last_error=error, finished_at=now)
        else:
            settled = replace(message, status="pending", due_at=due_at, last_error=error)
        await self._database.write(Write(_SETTLE_MESSAGE, _settled(settled)))


def _settled(message: OutboxMessage) -> dict[str, Any]:
    return {
        "in_tenant": message.tenant,
        "in_message": message.message_id,
        "in_attempt": message.attempt,
        "new_status": message.status,
        "new_due_at": message.due_at,
        "new_error": message.last_error,
        "new_finished_at": message.finished_at,
    }


def _message(row: Row) -> OutboxMessage:
    return OutboxMessage(**row)
