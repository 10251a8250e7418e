"""The two writes that belong to every change: the next revision, and the audit entry."""

from signalbox.admin.records import AuditEntry
from signalbox.common.auth import SYSTEM_TENANT
from signalbox.common.storage import Statement, Write, insert_into

_NEXT_REVISION = Statement(
    "INSERT INTO admin_state (tenant, revision) VALUES (:tenant, 1)"
    " ON CONFLICT (tenant) DO UPDATE SET revision = admin_state.revision + 1"
)
_ADD_AUDIT = Statement(
    insert_into("admin_audit", ("tenant", "audit_id", "at", "subject", "action", "target", "detail"))
)


def change(audit: AuditEntry | None, *writes: Write) -> list[Write]:
    """The writes of one change that followers have to hear of.

    The revision comes first: its row lock lets changes commit in the order of their numbers, so that whoever
    has read a revision sees all that belongs to it.
    """
    return [Write(_NEXT_REVISION, {"tenant": SYSTEM_TENANT}), *kept(audit, *writes)]


def kept(audit: AuditEntry | None, *writes: Write) -> list[Write]:
    """The writes of a change that only this service looks at."""
    return [*writes, *([] if audit is None else [Write(_ADD_AUDIT, audit.row())])]
