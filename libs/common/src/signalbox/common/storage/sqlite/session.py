"""SQLite connections: how they are opened, and how one statement runs on one of them."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from signalbox.common.record import record
from signalbox.common.storage.errors import NotStorable, PreconditionFailed, StorageUnavailable
from signalbox.common.storage.ports import Params, Row, Statement

BUSY_TIMEOUT_S = 5.0
_STATEMENT_CACHE = 512
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


@record
class Step:
    """One statement with what sqlite3 binds, and the number of rows it must change."""

    sql: str
    values: Params
    expect: int | None


def prepare(statement: Statement, params: Params, expect: int | None) -> Step:
    """Bind the parameters; lists become JSON, which `any_of` reads.

    Raises NotStorable for text that no column can hold, TypeError for a missing value or a foreign type.
    """
    compiled = statement.compiled("sqlite")
    bound = compiled.bind(params)
    return Step(compiled.sql, {name: _adapt(bound[name]) for name in compiled.names}, expect)


def open_connection(path: Path, *, durable: bool = True, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, used by one thread at a time; raises StorageUnavailable."""
    try:
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENT_CACHE,
        )
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={'FULL' if durable else 'OFF'}",
            # Only macOS knows these: there, fsync alone does not reach the disk.
            "fullfsync=ON",
            "checkpoint_fullfsync=ON",
            "foreign_keys=ON",
            f"journal_size_limit={_WAL_LIMIT_BYTES}",
            f"query_only={'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise StorageUnavailable(f"The SQLite database {path} cannot be opened: {error}.") from error
    return connection


def run_step(connection: sqlite3.Connection, step: Step, index: int) -> list[Row]:
    """Run one statement; raises sqlite3.Error or PreconditionFailed."""
    cursor = connection.execute(step.sql, step.values)
    rows: list[Row] = []
    changed = cursor.rowcount
    if cursor.description is not None:
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, values, strict=True)) for values in cursor]
        changed = len(rows)
    if step.expect is not None:
        if changed < 0:
            # The module counts only for statements that begin with the verb, not with WITH.
            changed = connection.execute("SELECT changes()").fetchone()[0]
        if changed != step.expect:
            raise PreconditionFailed(index)
    return rows


def _adapt(value: Any) -> Any:
    if value is None or isinstance(value, (int, float, bytes)):
        return value
    if isinstance(value, str):
        if "\0" in value:
            raise NotStorable("Text must not hold the NUL character (U+0000).")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotStorable("Text must be valid Unicode; it holds half of a surrogate pair.") from None
        return value
    if isinstance(value, (list, tuple)):
        return json.dumps([_adapt(element) for element in value])
    raise TypeError(f"values of type {type(value).__name__} are not stored; convert them to text or a number")
