"""What calls used and cost, summed up from the ledger, corrections included."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from signalbox.common.ids import new_id
from signalbox.common.record import record
from signalbox.common.storage import Database, Statement, Write, listed
from signalbox.contracts.llm import UsageLine
from signalbox.llm_gateway.admission.corrections import CountedCorrections
from signalbox.llm_gateway.admission.demands import Spender
from signalbox.llm_gateway.booked import booked, summed, total
from signalbox.llm_gateway.errors import WrongCorrection
from signalbox.llm_gateway.rates import money
from signalbox.llm_gateway.records import storable

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
    " FROM ledger_calls AS calls WHERE tenant = :tenant AND call_id = :call_id"
    " AND (CAST(:cost_pico AS bigint) >= 0 OR CAST(:cost_pico AS bigint)"
    " + CASE WHEN calls.currency = :currency THEN coalesce(calls.cost_pico, 0) ELSE 0 END"
    # In two sums, as in ``booked.summed``: the database could not hold that of several of the largest.
    " + (SELECT coalesce(sum(others.cost_pico / 1000000), 0) * 1000000"
    " + coalesce(sum(others.cost_pico % 1000000), 0) FROM ledger_corrections AS others"
    " WHERE others.tenant = calls.tenant AND others.call_id = calls.call_id"
    " AND others.currency = :currency) >= 0)"
    " RETURNING correction_id"
)
# Corrections of one call go one after the other: each sees the sum of those before it.
_LOCK = Statement("UPDATE ledger_calls SET call_id = call_id WHERE tenant = :tenant AND call_id = :call_id")
_CALL = Statement(
    "SELECT key_id, user_id, workflow_id, created_at, currency FROM ledger_calls"
    " WHERE tenant = :tenant AND call_id = :call_id"
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
    subject: str | None = None
    """Only calls that were made for this principal."""


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

    def __init__(self, database: Database, corrections: CountedCorrections) -> None:
        self._database = database
        self._corrections = corrections

    async def lines(self, query: UsageQuery) -> list[UsageLine]:
        """One line for each combination of what is grouped by, and for each currency; newest day first."""
        filters = {name: getattr(query, name) for name in ("model", "key", "workflow", "purpose")}
        wanted = {name: value for name, value in filters.items() if value is not None}
        if query.subject is not None:
            wanted["subject"] = storable(query.subject)
        statement = _statement(query.by, tuple(wanted))
        params = {"tenant": query.tenant, "since": query.since_ms, **wanted}
        return [_line(row) for row in await self._database.fetch_all(statement, params)]

    async def correct(self, correction: Correction) -> str | None:
        """Add a correction, also to the budgets that count its call; its id, or None when there is no such call.

        Raises:
            WrongCorrection: it is in another currency than the call's cost, or takes away more than that.
        """
        named = {"tenant": correction.tenant, "call_id": correction.call_id}
        call = await self._database.fetch_one(_CALL, named)
        if call is None:
            return None
        if call["currency"] not in {None, correction.currency}:
            raise WrongCorrection(
                f"The call's cost is in {call['currency']}; correct it in that.", pointer="/currency"
            )
        added = new_id("correction")
        spender = Spender(
            correction.tenant, call["key_id"], call["user_id"], call["workflow_id"], call["created_at"]
        )
        row = {**asdict(correction), "correction_id": added}
        with self._corrections.counted(added, spender, correction.cost_pico, correction.currency):
            _, written = await self._database.write(Write(_LOCK, named), Write(_CORRECT, row))
            if not written:
                raise WrongCorrection(
                    "More would be taken away than the call cost, earlier corrections included.",
                    pointer="/cost",
                )
        return added


def _statement(by: tuple[Dimension, ...], filters: tuple[str, ...]) -> Statement:
    """The sums by ``by`` of calls that pass ``filters``. All text in it is from this module."""
    dimensions = ", ".join(f"{_COLUMNS[name]} AS {name}_of" for name in by)
    grouped = "".join(f"{name}_of, " for name in by)
    passing = "".join(f" AND {_COLUMNS[name]} = :{name}" for name in DIMENSIONS if name in filters)
    if "subject" in filters:
        passing += " AND calls.subject = :subject"
    parts = booked(dimensions, f"calls.tenant = :tenant AND calls.created_at >= :since{passing}")
    order = ", ".join(f"{name}_of DESC" if name == "day" else f"{name}_of" for name in (*by, "currency"))
    return Statement(
        f"""
        SELECT {grouped} currency_of,
            sum(calls_of) AS calls, sum(failed) AS failed_calls, sum(given) AS input_tokens,
            sum(taken) AS output_tokens, {summed("cost")}, sum(unpriced) AS unpriced_calls,
            sum(estimated) AS estimated_calls, {summed("corrected")}
        FROM {parts} AS parts
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
        cost=_amount(total(row, "cost")),
        corrections=_amount(total(row, "corrected")),
        unpriced_calls=row["unpriced_calls"],
        estimated_calls=row["estimated_calls"],
    )


def _amount(pico: int | None) -> str | None:
    return None if pico is None else money(pico)
