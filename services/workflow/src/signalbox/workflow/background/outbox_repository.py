"""The outbox in SQL."""

from dataclasses import replace
from typing import Any

from signalbox.common.storage import Database, Row, Statement, Write, columns_of, insert_into, listed, row_of
from signalbox.workflow.background.records import OutboxMessage

_COLUMNS = columns_of(OutboxMessage)
_THIS = "tenant = :in_tenant AND message_id = :in_message"
_SELECT = f"SELECT {listed(_COLUMNS)} FROM workflow_outbox"

_INSERT = Statement(insert_into("workflow_outbox", _COLUMNS))
_TAKE = Statement(
    "UPDATE workflow_outbox SET status = 'sending', due_at = :retry_at, attempt = attempt + 1 FROM ("
    "SELECT tenant AS due_tenant, message_id AS due_message FROM workflow_outbox"
    " WHERE status IN ('pending', 'sending') AND due_at <= :now"
    " ORDER BY due_at LIMIT :at_most /*postgresql FOR UPDATE SKIP LOCKED*/) AS due"
    " WHERE tenant = due_tenant AND message_id = due_message"
    f" RETURNING {listed(_COLUMNS)}"
)
_SETTLE = Statement(
    "UPDATE workflow_outbox SET status = :new_status, due_at = :new_due_at, last_error = :new_error,"
    f" finished_at = :new_finished_at WHERE {_THIS} AND attempt = :in_attempt"
)
_MESSAGE = Statement(f"{_SELECT} WHERE {_THIS}")
_LISTED = Statement(
    f"{_SELECT} WHERE tenant = :in_tenant AND message_id < :before"
    " AND (CAST(:in_status AS text) = '' OR status = :in_status)"
    " ORDER BY message_id DESC LIMIT :at_most"
)
_REPLAY = Statement(
    "UPDATE workflow_outbox SET status = 'pending', attempt = 0, due_at = :now, finished_at = NULL"
    f" WHERE {_THIS} AND status = 'dead' RETURNING {listed(_COLUMNS)}"
)
_LAST = "~"
"""After every id, which are letters and digits."""


def insert_outbox(message: OutboxMessage) -> Write:
    """The write that stores a new message, for the transaction of what it tells about."""
    return Write(_INSERT, row_of(message))


class SqlOutboxStore:
    """``OutboxStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, now: int, retry_at: int, limit: int) -> list[OutboxMessage]:
        """See ``OutboxStore.take_due``."""
        params = {"now": now, "retry_at": retry_at, "at_most": limit}
        [rows] = await self._database.write(Write(_TAKE, params))
        return [_message(row) for row in rows]

    async def delivered(self, message: OutboxMessage, now: int) -> None:
        """See ``OutboxStore.delivered``."""
        settled = replace(message, status="delivered", last_error=None, finished_at=now)
        await self._database.write(Write(_SETTLE, _settled(settled)))

    async def failed(self, message: OutboxMessage, due_at: int | None, error: str, now: int) -> None:
        """See ``OutboxStore.failed``."""
        if due_at is None:
            settled = replace(message, status="dead", last_error=error, finished_at=now)
        else:
            settled = replace(message, status="pending", due_at=due_at, last_error=error)
        await self._database.write(Write(_SETTLE, _settled(settled)))

    async def listed(
        self, tenant: str, *, status: str | None, before: str | None, limit: int
    ) -> list[OutboxMessage]:
        """See ``OutboxStore.listed``."""
        params = {
            "in_tenant": tenant,
            "in_status": status or "",
            "before": before or _LAST,
            "at_most": limit,
        }
        return [_message(row) for row in await self._database.fetch_all(_LISTED, params)]

    async def message(self, tenant: str, message_id: str) -> OutboxMessage | None:
        """See ``OutboxStore.message``."""
        row = await self._database.fetch_one(_MESSAGE, {"in_tenant": tenant, "in_message": message_id})
        return None if row is None else _message(row)

    async def replay(self, tenant: str, message_id: str, now: int) -> OutboxMessage | None:
        """See ``OutboxStore.replay``."""
        params = {"in_tenant": tenant, "in_message": message_id, "now": now}
        [rows] = await self._database.write(Write(_REPLAY, params))
        return _message(rows[0]) if rows else None


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
