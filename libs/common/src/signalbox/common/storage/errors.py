"""What a database call can fail with.

::

    SignalboxError
    ├── BadRequest
    │   └── NotStorable         400  text or a number that no database column can hold
    ├── Conflict
    │   ├── PreconditionFailed  409  a statement changed another number of rows than it was to
    │   └── DuplicateKey        409  a primary or unique key is taken
    ├── Unavailable
    │   ├── StorageUnavailable  503  unreachable or too slow; the outcome is not known
    │   ├── DatabaseInUse       503  another process holds the SQLite file
    │   └── SchemaMissing       503  the tables are not there, or older than the code
    ├── MigrationFailed         500  a revision could not be applied
    └── StatementFailed         500  the database refuses the statement: a defect of ours
"""

from typing import ClassVar

from signalbox.common.errors import BadRequest, Conflict, SignalboxError, Unavailable


class PreconditionFailed(Conflict):
    """A write changed another number of rows than it was to; the whole list was rolled back.

    ``index`` is the position of that statement in the list.
    """

    code: ClassVar[str] = "precondition_failed"

    def __init__(self, index: int) -> None:
        super().__init__("The state has changed since it was read; read it again and retry.")
        self.index = index


class DuplicateKey(Conflict):
    """A write would have repeated a primary or unique key; the whole list was rolled back.

    ``constraint`` is what the database calls it: a constraint's name in PostgreSQL, ``table.column, ...`` in
    SQLite. ``index`` is the position of the statement in the list, the same in both.
    """

    code: ClassVar[str] = "duplicate_key"

    def __init__(self, constraint: str, index: int = 0) -> None:
        super().__init__(f"There is already a row with this key ({constraint}).")
        self.constraint = constraint
        self.index = index


class StorageUnavailable(Unavailable):
    """The database cannot be reached or does not answer in time; whether a write took effect is not known."""

    code: ClassVar[str] = "storage_unavailable"


class DatabaseInUse(Unavailable):
    """Another process holds the SQLite file."""

    code: ClassVar[str] = "database_in_use"


class SchemaMissing(Unavailable):
    """A table or column that the code needs is not there."""

    code: ClassVar[str] = "schema_missing"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database lacks tables of this release ({reason}); run `signalbox migrate`.")


class NotStorable(BadRequest):
    """A value that no column can hold: text with a NUL or half a surrogate pair, a number over 64 bits."""

    code: ClassVar[str] = "not_storable"


class MigrationFailed(SignalboxError):
    """A revision could not be applied; the database has the one before it."""

    code: ClassVar[str] = "migration_failed"


class StatementFailed(SignalboxError):
    """The database refuses the statement (syntax, type, foreign key, check): a defect, not a condition.

    The client is not shown ``reason``, which may quote values.
    """

    code: ClassVar[str] = "statement_failed"

    def __init__(self, reason: str) -> None:
        super().__init__("The database refused a statement; the service's log has the reason.")
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.detail} {self.reason}"
