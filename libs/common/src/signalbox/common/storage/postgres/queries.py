"""The SQL that is sent: statements as they are, or wrapped so that the server itself checks the row count.

In a pipeline the client learns a count only after the commit, so the check has to be the server's. A guarded
statement becomes a common table expression whose rows are counted; another count than expected makes a cast
fail, and the failure rolls back the whole pipeline. The cast quotes its input in the error, in every language
of the server's messages, which tells it from any other failure.
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from signalbox.common.storage.statement import CompiledStatement, Statement

_MARK = "signalbox_precondition:"
MARK = _MARK.encode()
HELD = "signalbox_held"


@dataclass(slots=True)
class Query:
    """One SQL text as libpq takes it."""

    compiled: CompiledStatement
    sql: bytes
    expect: int | None
    uses: int = 0
    """How often it ran; statements made for one request never reach the point of being prepared."""

    def rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The statement's own rows among those that the server gave."""
        if self.expect is None:
            return rows
        if self.expect == 0 or not self.compiled.returns_rows:
            return []
        for row in rows:
            del row[HELD]
        return rows


class Queries:
    """The queries of the statements that live; one per statement and expected count."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Statement, dict[int | None, Query]] = WeakKeyDictionary()

    def get(self, statement: Statement, expect: int | None) -> Query:
        """The query of ``statement``, guarded when ``expect`` is a number."""
        variants = self._known.get(statement)
        if variants is None:
            variants = self._known[statement] = {}
        query = variants.get(expect)
        if query is None:
            compiled = statement.compiled("postgresql")
            sql = compiled.sql if expect is None else guarded(compiled, expect)
            query = variants[expect] = Query(compiled, sql.encode(), expect)
        return query


def guarded(compiled: CompiledStatement, expect: int) -> str:
    """SQL that fails unless ``compiled`` changes (or finds) exactly ``expect`` rows."""
    wrong = f"CAST('{_MARK}' || count(*) AS integer)"
    check = (
        f"SELECT CASE WHEN count(*) = {expect:d} THEN 1 ELSE {wrong} END AS {HELD} "  # noqa: S608 - not input
        "FROM signalbox_rows"
    )
    if not compiled.returns_rows:
        return f"WITH signalbox_rows AS ({compiled.sql} RETURNING 1) {check}"
    # The check is on the preserved side of an outer join and in the output: no plan can leave it out.
    return (
        f"WITH signalbox_rows AS ({compiled.sql}), signalbox_check AS ({check}) "  # noqa: S608 - not input
        f"SELECT signalbox_check.{HELD}, signalbox_rows.* "
        "FROM signalbox_check LEFT JOIN signalbox_rows ON TRUE"
    )
