"""What the ledger says was spent, for budgets that do not know it."""

from typing import Protocol

from signalbox.common.storage import Database, Statement, any_of
from signalbox.llm_gateway.admission.demands import Scope


class Spending(Protocol):
    """Sums of money that was spent."""

    async def spent_pico(self, scope: Scope, start_ms: int, end_ms: int, without: list[str]) -> int:
        """What calls of a scope cost that began in a window, in 10^-12 units.

        Calls and corrections whose ids are in ``without`` are left out.

        Raises:
            StorageUnavailable: the ledger cannot be read now.
        """
        ...


def _sum(condition: str) -> Statement:
    inside = (
        f"calls.tenant = :tenant AND calls.created_at >= :start AND calls.created_at < :end AND {condition}"
    )
    listed = any_of("calls.call_id", "without")
    # Corrections are counted apart from the calls that they are of.
    corrected = any_of("corrections.correction_id", "without")
    return Statement(
        f"""
        SELECT CAST(coalesce(sum(cost_pico), 0) AS bigint) AS spent FROM (
            SELECT calls.cost_pico AS cost_pico FROM ledger_calls AS calls
            WHERE {inside} AND calls.currency = :currency AND NOT {listed}
            UNION ALL
            SELECT corrections.cost_pico AS cost_pico
            FROM ledger_calls AS calls JOIN ledger_corrections AS corrections
                ON corrections.tenant = calls.tenant AND corrections.call_id = calls.call_id
            WHERE {inside} AND corrections.currency = :currency AND NOT {corrected}
        ) AS parts
        """  # noqa: S608 - conditions of ours
    )


_SUMS = {
    "tenant": _sum("calls.tenant = :value"),
    "key": _sum("calls.key_id = :value"),
    "user": _sum("calls.user_id = :value"),
    "workflow": _sum("calls.workflow_id = :value"),
}


class LedgerSpending:
    """``Spending`` read from the ledger's table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spent_pico(self, scope: Scope, start_ms: int, end_ms: int, without: list[str]) -> int:
        """See ``Spending``."""
        row = await self._database.fetch_one(
            _SUMS[scope.of],
            {
                "tenant": scope.tenant,
                "value": scope.value,
                "currency": scope.currency,
                "start": start_ms,
                "end": end_ms,
                "without": without,
            },
        )
        return 0 if row is None else int(row["spent"])
