"""SQLite's errors in the port's words (result codes: sqlite.org/rescode.html)."""

import sqlite3

from signalbox.common.errors import SignalboxError
from signalbox.common.storage.errors import (
    DuplicateKey,
    NotStorable,
    SchemaMissing,
    StatementFailed,
    StorageUnavailable,
)

_UNIQUE = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_SCHEMA_WORDS = ("no such table", "no such column", "has no column named")


def failure_of(error: Exception, index: int) -> SignalboxError:
    """What ``error``, raised by statement ``index``, means."""
    code = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    if code in _UNIQUE:
        return DuplicateKey(text.removeprefix("UNIQUE constraint failed: "), index)
    if isinstance(error, OverflowError):
        return NotStorable("Numbers must fit into 64 bits.")
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return StorageUnavailable(
            "The SQLite database's disk is full, and nothing was written: make room there."
        )
    if code is not None and code & 0xFF in _UNAVAILABLE:
        return StorageUnavailable(f"The SQLite database does not serve: {text}.")
    if any(words in text for words in _SCHEMA_WORDS):
        return SchemaMissing(text)
    return StatementFailed(text)
