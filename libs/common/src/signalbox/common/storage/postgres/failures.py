"""PostgreSQL's errors in the port's words (SQLSTATE: PostgreSQL documentation, appendix A)."""

from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from signalbox.common.errors import SignalboxError
from signalbox.common.storage.errors import (
    DuplicateKey,
    NotStorable,
    PreconditionFailed,
    SchemaMissing,
    StatementFailed,
    StorageUnavailable,
)
from signalbox.common.storage.postgres.queries import MARK

_SCHEMA = {"42P01", "42703", "3F000", "3D000"}
_NOT_STORABLE = {"22003", "22021"}
_UNAVAILABLE_CLASSES = {"08", "53", "57", "58", "XX"}
_READ_ONLY = "25006"
_REPEATABLE = {"40001", "40P01"}
_STALE_PLAN = {"0A000", "26000"}


class RepeatWrite(Exception):
    """The list was rolled back for a reason that running it again may not meet; never seen by a caller.

    ``reconnect``: the connection's prepared statements no longer fit the schema.
    """

    def __init__(self, error: StorageUnavailable, *, reconnect: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.reconnect = reconnect


def failure_of(result: PGresult, index: int) -> SignalboxError | RepeatWrite:
    """What the failed ``result`` of statement ``index`` means."""
    state = _field(result, DiagnosticField.SQLSTATE)
    message = _field(result, DiagnosticField.MESSAGE_PRIMARY) or result.get_error_message()
    if state == "22P02" and MARK in (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""):
        return PreconditionFailed(index)
    if state == "23505":
        return DuplicateKey(_field(result, DiagnosticField.CONSTRAINT_NAME), index)
    if state in _REPEATABLE or state in _STALE_PLAN:
        unavailable = StorageUnavailable(f"PostgreSQL rolled the write back several times: {message}.")
        return RepeatWrite(unavailable, reconnect=state in _STALE_PLAN)
    if state in _SCHEMA:
        return SchemaMissing(message)
    if state in _NOT_STORABLE:
        return NotStorable(f"The database cannot hold a value: {message}.")
    if state[:2] in _UNAVAILABLE_CLASSES or state == _READ_ONLY:
        return StorageUnavailable(f"PostgreSQL does not serve: {message}.")
    return StatementFailed(f"{state} {message}")


def _field(result: PGresult, field: DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode("utf-8", "replace")
