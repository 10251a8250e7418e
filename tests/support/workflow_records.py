"""Records of the Workflow service for the tests of its repositories."""

from dataclasses import replace
from typing import Any

from signalbox.common.storage import Database, Statement
from signalbox.workflow.background.records import OutboxMessage, TaskRecord
from signalbox.workflow.records import ErasureRecord, IdempotencyKey, Session, TurnRecord

NOW = 1_728_043_200_000
KEY = IdempotencyKey("acme", "key:1", "query", "k1")


def new_session(tenant: str = "acme", session_id: str = "s1", **changes: Any) -> Session:
    """A session that is not stored yet."""
    values: dict[str, Any] = {
        "tenant": tenant,
        "session_id": session_id,
        "subject": "key:1",
        "user_id": None,
        "workflow_id": "shop",
        "created_at": NOW,
        "updated_at": NOW,
        "expires_at": NOW + 1000,
    }
    return Session(**{**values, **changes})


def turn(seq: int = 1, tenant: str = "acme", session_id: str = "s1", **changes: Any) -> TurnRecord:
    """A committed turn."""
    values: dict[str, Any] = {
        "tenant": tenant,
        "turn_id": f"{tenant}-{session_id}-{seq}",
        "session_id": session_id,
        "epoch": 1,
        "seq": seq,
        "status": "committed",
        "owner": "a",
        "first_message": 2 * seq - 1,
        "user_text": f"message {seq}",
        "workflow_id": "shop",
        "config_hash": "0" * 64,
        "created_at": NOW,
        "heartbeat_at": NOW,
        "reply": "{}",
        "events": "[]",
        "committed_at": NOW,
    }
    return TurnRecord(**{**values, **changes})


def running(seq: int = 1, **changes: Any) -> TurnRecord:
    """A turn that has begun."""
    return turn(seq, **{"status": "running", "reply": None, "events": None, "committed_at": None, **changes})


def after(session: Session, **changes: Any) -> Session:
    """The session after one more turn."""
    return replace(
        session,
        last_seq=session.last_seq + 1,
        message_count=session.message_count + 2,
        **changes,
    )


def message(number: int = 1, **changes: Any) -> OutboxMessage:
    """A webhook to deliver."""
    values: dict[str, Any] = {
        "tenant": "acme",
        "message_id": f"m{number}",
        "kind": "action",
        "target": "{}",
        "payload": "{}",
        "due_at": NOW,
        "created_at": NOW,
    }
    return OutboxMessage(**{**values, **changes})


def task(number: int = 1, **changes: Any) -> TaskRecord:
    """An async query that waits."""
    values: dict[str, Any] = {
        "tenant": "acme",
        "task_id": f"task{number}",
        "subject": "key:1",
        "session_id": "s1",
        "status": "pending",
        "request": '{"message": "hi"}',
        "due_at": NOW,
        "created_at": NOW,
    }
    return TaskRecord(**{**values, **changes})


def erasure(number: int = 1, tenant: str = "acme", **changes: Any) -> ErasureRecord:
    """Something to be forgotten elsewhere."""
    values = {"what": "{}", "due_at": NOW, "created_at": NOW}
    return ErasureRecord(tenant, f"erasure{number}", **{**values, **changes})


async def rows(database: Database, table: str) -> list[dict[str, Any]]:
    """All rows of one of the service's tables."""
    return await database.fetch_all(Statement(f"SELECT * FROM workflow_{table}"))
