"""The row of an idempotency record, for whoever writes one with what its request made."""

from datetime import timedelta

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
KEPT_MS = int(timedelta(hours=24) / timedelta(milliseconds=1))
"""How long a key is remembered. Older rows count as forgotten, also before they are pruned."""
_DROP_OLD_KEY = Statement(
    "DELETE FROM workflow_idempotency WHERE tenant = :in_tenant AND subject = :in_subject AND route = :in_route"
    " AND key = :in_key AND created_at < :kept_since"
)
_INSERT_KEY = Statement(insert_into("workflow_idempotency", IDEMPOTENCY_COLUMNS))


def insert_idempotency(record: IdempotencyRecord, created_at: int, kept_since: int) -> list[Write]:
    """The writes that store a new record in place of one from before ``kept_since``, alone or with what it made."""
    name = record.name
    old = {
        "in_tenant": name.tenant,
        "in_subject": name.subject,
        "in_route": name.route,
        "in_key": name.key,
        "kept_since": kept_since,
    }
    row = {
        **row_of(record.name),
        "request_hash": record.request_hash,
        "target_id": record.target_id,
        "reply": record.reply,
        "locked_until": record.locked_until,
        "created_at": created_at,
    }
    return [Write(_DROP_OLD_KEY, old), Write(_INSERT_KEY, row)]
