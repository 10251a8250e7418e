"""The ledger's SQL."""

from collections.abc import Sequence

import orjson

from signalbox.common.storage import Database, Dialect, Statement, Write, any_of, insert_into, listed
from signalbox.llm_gateway.ledger_rows import COUNTS, Row, lines_of
from signalbox.llm_gateway.records import LedgerCall

_CALL = (
    "tenant",
    "call_id",
    "subject",
    "key_id",
    "user_id",
    "workflow_id",
    "session_id",
    "skill_id",
    "purpose",
    "operation",
    "model_asked",
    "model_answered",
    "deployment",
    "streamed",
    *COUNTS,
    "cost_pico",
    "currency",
    "priced",
    "estimated",
    "emulated",
    "outcome",
    "status",
    "error_code",
    "latency_ms",
    "first_token_ms",
    "trace_id",
    "created_at",
    "reaped",
    "cached",
    "held_pico",
)
_ATTEMPT = (
    "tenant",
    "call_id",
    "number",
    "deployment",
    "model_answered",
    *COUNTS,
    "cost_pico",
    "currency",
    "estimated",
    "outcome",
    "status",
    "error_code",
    "latency_ms",
    "created_at",
    "reaped",
)
_ZERO = frozenset((*COUNTS, "reaped"))
_REPLACED = ", ".join(
    f"{name} = excluded.{name}" for name in _CALL if name not in {"tenant", "call_id", "reaped"}
)


class _Inserts:
    """The INSERT of rows into one table: one by one, or all of a list by one parameter, the text of its JSON.

    A parameter for each value would be bound, sent and parsed apart, which costs four times the processor time in this
    process with PostgreSQL. SQLite is the other way round: its JSON functions take twice the time of bound values.
    """

    def __init__(self, table: str, columns: tuple[str, ...], conflict: str, only: str | None = None) -> None:
        names = listed(columns)
        # A member that a row's JSON does not have is null.
        said = listed(f"coalesce({name}, 0)" if name in _ZERO else name for name in columns)
        parsed = f"json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json))"
        given = f"(SELECT {', '.join(f':{name} AS {name}' for name in columns)})"
        chosen = (
            f"INSERT INTO {table} ({names}) SELECT {{}} FROM {{}} AS row WHERE {only or 'TRUE'} {conflict}"
        )
        self._all = Statement(chosen.format(said, parsed))
        one = f"{insert_into(table, columns)} {conflict}" if only is None else chosen.format(names, given)
        self._one = Statement(one)
        self._empty: Row = {name: 0 if name in _ZERO else None for name in columns}

    def of(self, lines: Sequence[bytes], dialect: Dialect) -> list[Write]:
        """The writes that insert rows, which are JSON."""
        if not lines:
            return []
        if dialect == "postgresql":
            return [Write(self._all, {"rows": f"[{b','.join(lines).decode()}]"})]
        return [Write(self._one, self._empty | orjson.loads(line)) for line in lines]


# A batch whose outcome was not known is written again: what is there already stays as it is. Only what a reaper wrote
# is replaced, by the call's own row and once; money of other rows is never changed.
_CALLS = _Inserts(
    "ledger_calls",
    _CALL,
    f"ON CONFLICT (tenant, call_id) DO UPDATE SET {_REPLACED}, reaped = 2"
    " WHERE ledger_calls.reaped = 1 AND excluded.reaped = 0",
)
_ATTEMPTS = _Inserts("ledger_attempts", _ATTEMPT, "ON CONFLICT (tenant, call_id, number) DO NOTHING")
_IS_REAPED = (
    "EXISTS (SELECT 1 FROM ledger_calls AS owner WHERE owner.tenant = {0}.tenant AND owner.call_id = {0}.call_id"
    " AND owner.reaped = 1)"
)
_REAPED_ATTEMPTS = _Inserts(
    "ledger_attempts",
    _ATTEMPT,
    "ON CONFLICT (tenant, call_id, number) DO NOTHING",
    _IS_REAPED.format("row"),
)
_DELETE_REPLACED_ATTEMPTS = Statement(
    f"DELETE FROM ledger_attempts WHERE reaped = 1 AND {any_of('call_id', 'call_ids')}"
    f" AND NOT {_IS_REAPED.format('ledger_attempts')}"
)


_PROBE = Statement("SELECT reaped, cached, held_pico FROM ledger_calls WHERE tenant IS NULL")


class LedgerRepository:
    """Writes the ledger's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Return when the ledger can be written; raise Unavailable, which says why, when it cannot.

        A database that answers but was never migrated could keep no row.
        """
        await self._database.fetch_all(_PROBE)

    async def insert(self, calls: list[LedgerCall]) -> None:
        """Write calls with their attempts as one transaction.

        Those that are there already stay as they are; but a reaper's row is replaced by the call's own, once.
        """
        rows = {(call.tenant, call.call_id): call for call in calls}
        if len(rows) < len(calls):
            rows = {(call.tenant, call.call_id): call for call in sorted(calls, key=_own_last)}
        ordered = [rows[key] for key in sorted(rows)]
        dialect = self._database.dialect
        lines: list[bytes] = []
        own: list[bytes] = []
        reaped: list[bytes] = []
        for call in ordered:
            first, *others = lines_of(call)
            lines.append(first)
            (reaped if call.reaped else own).extend(others)
        await self._database.write(
            *_CALLS.of(lines, dialect),
            Write(_DELETE_REPLACED_ATTEMPTS, {"call_ids": [call.call_id for call in ordered]}),
            *_ATTEMPTS.of(own, dialect),
            *_REAPED_ATTEMPTS.of(reaped, dialect),
        )


def _own_last(call: LedgerCall) -> bool:
    return not call.reaped
