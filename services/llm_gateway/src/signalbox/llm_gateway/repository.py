"""The ledger's SQL."""

from typing import Any

import orjson

from signalbox.common.storage import Database, Dialect, Statement, Write, any_of, insert_into, listed
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import LedgerAttempt, LedgerCall

_TOKENS = (
    ("input_tokens", "input"),
    ("output_tokens", "output"),
    ("cached_tokens", "cached"),
    ("cache_write_tokens", "cache_write"),
    ("cache_write_1h_tokens", "cache_write_1h"),
    ("reasoning_tokens", "reasoning"),
    ("audio_input_tokens", "audio_input"),
    ("audio_output_tokens", "audio_output"),
    ("image_input_tokens", "image_input"),
    ("image_output_tokens", "image_output"),
)
"""Columns, and the field of ``Tokens`` in each."""

_COUNTS = tuple(column for column, _ in _TOKENS)
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
    *_COUNTS,
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
    *_COUNTS,
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
        parsed = f"json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json))"
        given = f"(SELECT {', '.join(f':{name} AS {name}' for name in columns)})"
        chosen = (
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {{}} AS row WHERE {only or 'TRUE'} {conflict}"
        )
        self._all = Statement(chosen.format(parsed))
        one = f"{insert_into(table, columns)} {conflict}" if only is None else chosen.format(given)
        self._one = Statement(one)

    def of(self, rows: list[dict[str, Any]], dialect: Dialect) -> list[Write]:
        """The writes that insert ``rows``."""
        if not rows:
            return []
        if dialect == "postgresql":
            return [Write(self._all, {"rows": orjson.dumps(rows).decode()})]
        return [Write(self._one, row) for row in rows]


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
        rows = {(call.tenant, call.call_id): call for call in sorted(calls, key=_own_last)}
        ordered = [rows[key] for key in sorted(rows)]
        dialect = self._database.dialect
        own = [
            _attempt_row(call, attempt) for call in ordered for attempt in call.attempts if not call.reaped
        ]
        reaped = [_attempt_row(call, attempt) for call in ordered for attempt in call.attempts if call.reaped]
        await self._database.write(
            *_CALLS.of([_call_row(call) for call in ordered], dialect),
            Write(_DELETE_REPLACED_ATTEMPTS, {"call_ids": [call.call_id for call in ordered]}),
            *_ATTEMPTS.of(own, dialect),
            *_REAPED_ATTEMPTS.of(reaped, dialect),
        )


def _own_last(call: LedgerCall) -> bool:
    return not call.reaped


def _call_row(call: LedgerCall) -> dict[str, Any]:
    labels = call.labels
    return {
        "tenant": call.tenant,
        "call_id": call.call_id,
        "subject": call.subject,
        "workflow_id": labels.workflow_id,
        "session_id": labels.session_id,
        "skill_id": labels.skill_id,
        "purpose": labels.purpose,
        "operation": call.operation,
        "model_asked": call.model_asked,
        "model_answered": call.model_answered,
        "deployment": call.deployment,
        "streamed": int(call.streamed),
        **_token_columns(call.tokens),
        "cost_pico": call.cost_pico,
        "currency": call.currency,
        "priced": int(call.priced),
        "estimated": int(call.estimated),
        "emulated": call.emulated,
        "outcome": call.outcome,
        "status": call.status,
        "error_code": call.error_code,
        "latency_ms": call.latency_ms,
        "first_token_ms": call.first_token_ms,
        "trace_id": call.trace_id,
        "created_at": call.created_at,
        "user_id": labels.user_id,
        "key_id": call.key_id,
        "reaped": int(call.reaped),
        "cached": call.cached,
        "held_pico": call.held_pico,
    }


def _attempt_row(call: LedgerCall, attempt: LedgerAttempt) -> dict[str, Any]:
    return {
        "tenant": call.tenant,
        "call_id": call.call_id,
        "number": attempt.number,
        "deployment": attempt.deployment,
        "model_answered": attempt.model_answered,
        **_token_columns(attempt.tokens),
        "cost_pico": attempt.cost_pico,
        "currency": attempt.currency,
        "estimated": int(attempt.estimated),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error_code": attempt.error_code,
        "latency_ms": attempt.latency_ms,
        "created_at": call.created_at,
        "reaped": int(call.reaped),
    }


def _token_columns(tokens: Tokens) -> dict[str, int]:
    return {column: getattr(tokens, kind) for column, kind in _TOKENS}
