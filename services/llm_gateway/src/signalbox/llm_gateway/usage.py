"""What calls used and cost, summed up from the ledger, corrections included."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.common.storage import Database, Statement, Write, listed
from signalbox.contracts.llm import UsageLine
from signalbox.llm_gateway.rates import money

Dimension = Literal["day", "model", "key", "workflow", "purpose"]
"""What usage can be grouped by. A day is one of UTC; a model the name that was asked for."""

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

_DAY_MS = 86_400_000
_COLUMNS: dict[Dimension, str] = {
    "day": f"calls.created_at - calls.created_at % {_DAY_MS}",
    "model": "calls.model_asked",
    "key": "calls.key_id",
    "workflow": "calls.workflow_id",
    "purpose": "calls.purpose",
}
_CORRECTION = (
    "tenant",
    "correction_id",
    "call_id",
    "cost_pico",
    "currency",
    "reason",
    "created_by",
    "created_at",
)
_CORRECT = Statement(
    f"INSERT INTO ledger_corrections ({listed(_CORRECTION)})"  # noqa: S608 - names of ours
    " SELECT tenant, :correction_id, call_id, :cost_pico, :currency, :reason, :created_by, :created_at"
    " FROM ledger_calls WHERE tenant = :tenant AND call_id = :call_id RETURNING correction_id"
)


@record
class UsageQuery:
    """Which calls of a tenant are summed up, and by what. A filter that is None takes all."""

    tenant: str
    since_ms: int
    by: tuple[Dimension, ...] = ("day", "model")
    model: str | None = None
    key: str | None = None
    workflow: str | None = None
    purpose: str | None = None


@record
class Correction:
    """What a call cost more, or less (below zero), than its row says."""

    tenant: str
    call_id: str
    cost_pico: int
    currency: str
    reason: str
    created_by: str
    created_at: int


class Usage:
    """Reads the ledger for reports, and adds corrections to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self, query: UsageQuery) -> list[UsageLine]:
        """One line for each combination of what is grouped by, and for each currency; newest day first."""
        filters = {name: getattr(query, name) for name in ("model", "key", "workflow", "purpose")}
        wanted = {name: value for name, value in filters.items() if value is not None}
        statement = _statement(query.by, tuple(wanted))
        params = {"tenant": query.tenant, "since": query.since_ms, **wanted}
        return [_line(row) for row in await self._database.fetch_all(statement, params)]

    async def correct(self, correction: Correction) -> str | None:
        """Add a correction; its id, or None when the tenant has no such call."""
        row = {**asdict(correction), "correction_id": new_id("correction")}
        (added,) = await self._database.write(Write(_CORRECT, row))
        return str(added[0]["correction_id"]) if added else None


def _statement(by: tuple[Dimension, ...], filters: tuple[str, ...]) -> Statement:
    """The sums by ``by`` of calls that pass ``filters``. All text in it is from this module."""
    dimensions = "".join(f"{_COLUMNS[name]} AS {name}_of, " for name in by)
    grouped = "".join(f"{name}_of, " for name in by)
    passing = "".join(f" AND {_COLUMNS[name]} = :{name}" for name in DIMENSIONS if name in filters)
    where = f"calls.tenant = :tenant AND calls.created_at >= :since{passing}"
    order = ", ".join(f"{name}_of DESC" if name == "day" else f"{name}_of" for name in (*by, "currency"))
    return Statement(
        f"""
        SELECT {grouped} currency_of,
            sum(calls_of) AS calls, sum(failed) AS failed_calls, sum(given) AS input_tokens,
            sum(taken) AS output_tokens, sum(cost) AS cost_pico, sum(unpriced) AS unpriced_calls,
            sum(estimated) AS estimated_calls, sum(corrected) AS corrected_pico
        FROM (
            SELECT {dimensions} calls.currency AS currency_of, 1 AS calls_of,
                CASE WHEN calls.outcome = 'ok' THEN 0 ELSE 1 END AS failed,
                calls.input_tokens AS given, calls.output_tokens AS taken, calls.cost_pico AS cost,
                1 - calls.priced AS unpriced, calls.estimated AS estimated, NULL AS corrected
            FROM ledger_calls AS calls WHERE {where}
            UNION ALL
            SELECT {dimensions} corrections.currency AS currency_of, 0, 0, 0, 0, corrections.cost_pico, 0, 0,
                corrections.cost_pico
            FROM ledger_calls AS calls JOIN ledger_corrections AS corrections
                ON corrections.tenant = calls.tenant AND corrections.call_id = calls.call_id
            WHERE {where}
        ) AS parts
        GROUP BY {grouped} currency_of
        ORDER BY {order}
        """  # noqa: S608 - names of ours
    )


def _line(row: dict[str, Any]) -> UsageLine:
    day = row.get("day_of")
    return UsageLine(
        day=None if day is None else datetime.fromtimestamp(day / 1000, UTC).date().isoformat(),
        model=row.get("model_of"),
        key_id=row.get("key_of"),
        workflow_id=row.get("workflow_of"),
        purpose=row.get("purpose_of"),
        calls=row["calls"],
        failed_calls=row["failed_calls"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        currency=row["currency_of"],
        cost=_amount(row["cost_pico"]),
        corrections=_amount(row["corrected_pico"]),
        unpriced_calls=row["unpriced_calls"],
        estimated_calls=row["estimated_calls"],
    )


def _amount(pico: int | None) -> str | None:
    return None if pico is None else money(pico)
