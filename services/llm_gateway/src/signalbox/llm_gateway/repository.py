"""The ledger's SQL."""

from datetime import UTC, datetime
from typing import Any

from signalbox.common.storage import Database, Statement, Write, insert_into
from signalbox.contracts.llm import UsageLine
from signalbox.llm_gateway.money import money
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import LedgerAttempt, LedgerCall

_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
)
_CALL = (
    "tenant",
    "call_id",
    "subject",
    "workflow_id",
    "session_id",
    "skill_id",
    "purpose",
    "operation",
    "model_asked",
    "model_answered",
    "deployment",
    "streamed",
    *_TOKENS,
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
)
_ATTEMPT = (
    "tenant",
    "call_id",
    "number",
    "deployment",
    "model_answered",
    *_TOKENS,
    "cost_pico",
    "currency",
    "estimated",
    "outcome",
    "status",
    "error_code",
    "latency_ms",
    "created_at",
)

# A batch whose outcome was not known is written again: what is there already stays as it is.
_INSERT_CALL = Statement(f"{insert_into('ledger_calls', _CALL)} ON CONFLICT (tenant, call_id) DO NOTHING")
_INSERT_ATTEMPT = Statement(
    f"{insert_into('ledger_attempts', _ATTEMPT)} ON CONFLICT (tenant, call_id, number) DO NOTHING"
)
_USAGE = Statement(
    """
    SELECT created_at - created_at % 86400000 AS day_ms, model_asked, currency,
        count(*) AS calls,
        sum(CASE WHEN outcome = 'ok' THEN 0 ELSE 1 END) AS failed_calls,
        sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens,
        sum(cost_pico) AS cost_pico,
        sum(1 - priced) AS unpriced_calls,
        sum(estimated) AS estimated_calls
    FROM ledger_calls
    WHERE tenant = :tenant AND created_at >= :since
    GROUP BY created_at - created_at % 86400000, model_asked, currency
    ORDER BY day_ms DESC, model_asked, currency
    """
)


class LedgerRepository:
    """Reads and writes the ledger's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, calls: list[LedgerCall]) -> None:
        """Write calls with their attempts as one transaction; those that are there already stay as they are."""
        writes = []
        for call in calls:
            writes.append(Write(_INSERT_CALL, _call_row(call)))
            writes += [Write(_INSERT_ATTEMPT, _attempt_row(call, attempt)) for attempt in call.attempts]
        if writes:
            await self._database.write(*writes)

    async def usage(self, tenant: str, since_ms: int) -> list[UsageLine]:
        """See ``ports.Ledger.usage``."""
        rows = await self._database.fetch_all(_USAGE, {"tenant": tenant, "since": since_ms})
        return [_usage_line(row) for row in rows]


def _usage_line(row: dict[str, Any]) -> UsageLine:
    return UsageLine(
        day=datetime.fromtimestamp(row["day_ms"] / 1000, UTC).date().isoformat(),
        model=row["model_asked"],
        calls=row["calls"],
        failed_calls=row["failed_calls"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        currency=row["currency"],
        cost=None if row["cost_pico"] is None else money(row["cost_pico"]),
        unpriced_calls=row["unpriced_calls"],
        estimated_calls=row["estimated_calls"],
    )


def _call_row(call: LedgerCall) -> dict[str, Any]:
    return {
        "tenant": call.tenant,
        "call_id": call.call_id,
        "subject": call.subject,
        "workflow_id": call.labels.workflow_id,
        "session_id": call.labels.session_id,
        "skill_id": call.labels.skill_id,
        "purpose": call.labels.purpose,
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
    }


def _token_columns(tokens: Tokens) -> dict[str, int]:
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cached_tokens": tokens.cached,
        "cache_write_tokens": tokens.cache_write,
        "reasoning_tokens": tokens.reasoning,
        "audio_input_tokens": tokens.audio_input,
        "audio_output_tokens": tokens.audio_output,
    }
