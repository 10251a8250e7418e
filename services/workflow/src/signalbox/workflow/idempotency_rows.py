"""The row of an idempotency record, for whoever writes one with what its request made."""

from signalbox.common.storage import Statement, Write, insert_into, row_of
from signalbox.workflow.records import IdempotencyRecord

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
_INSERT_KEY = Statement(insert_into("workflow_idempotency", IDEMPOTENCY_COLUMNS))


def insert_idempotency(record: IdempotencyRecord, created_at: int) -> Write:
    """The write that stores a new record, alone or with what its request made."""
    row = {
        **row_of(record.name),
        "request_hash": record.request_hash,
        "target_id": record.target_id,
        "reply": record.reply,
        "locked_until": record.locked_until,
        "created_at": created_at,
    }
    return Write(_INSERT_KEY, row)
