"""The database port: statements in SQL, reads, and atomic durable writes in one round trip.

There is no interactive transaction. A write is a list of statements that commit together or not at all, and
whose preconditions are row counts: ``expect=1`` on a compare-and-set makes the whole list conditional on it.
That one shape fits both implementations: PostgreSQL runs the list as one pipeline (one round trip), SQLite
hands it to the single writer thread, which commits several waiting lists as a group.
"""

from dataclasses import field
from typing import Any, Protocol

from signalbox.common.record import record
from signalbox.common.storage.errors import (
    DatabaseInUse,
    DuplicateKey,
    NotStorable,
    PreconditionFailed,
    SchemaMissing,
    StatementFailed,
    StorageUnavailable,
)
from signalbox.common.storage.statement import Dialect, Params, Statement, any_of

__all__ = [
    "Database",
    "DatabaseInUse",
    "Dialect",
    "DuplicateKey",
    "NotStorable",
    "Params",
    "PreconditionFailed",
    "Row",
    "SchemaMissing",
    "Statement",
    "StatementFailed",
    "StorageUnavailable",
    "Write",
    "any_of",
]

Row = dict[str, Any]


@record
class Write:
    """One statement of a write, with its parameters.

    ``expect`` is the number of rows that it must change (for a read: find); None accepts any number.
    """

    statement: Statement
    params: Params = field(default_factory=dict)
    expect: int | None = None


class Database(Protocol):
    """One database, shared by all repositories of a service; it belongs to one event loop.

    Every call may raise, besides what it names: StorageUnavailable, SchemaMissing, NotStorable (a value no
    column can hold), StatementFailed and TypeError (defects of the caller's).
    """

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        ...

    async def fetch_all(self, statement: Statement, params: Params | None = None) -> list[Row]:
        """All rows of a read; it sees every write that has returned."""
        ...

    async def fetch_one(self, statement: Statement, params: Params | None = None) -> Row | None:
        """The first row of a read, or None."""
        ...

    async def write(self, *writes: Write) -> list[list[Row]]:
        """Run the writes in order as one transaction that is durable on return.

        Each statement sees the effects of those before it. Returns the rows that each statement gave by
        ``RETURNING`` (empty for one without). The list may be run again as a whole after a deadlock. A
        cancelled caller leaves a list that is either written whole or not at all.

        Raises:
            PreconditionFailed: a statement changed another number of rows than expected; nothing was written.
            DuplicateKey: a unique key is taken; nothing was written.
            StorageUnavailable: the outcome is not known.
        """
        ...

    async def ping(self) -> None:
        """Return when the database answers; raise StorageUnavailable within a second when it does not."""
        ...

    async def close(self) -> None:
        """Finish what was begun and free connections and threads; idempotent."""
        ...
