"""What the ledger says was spent, for budgets that do not know it."""

from typing import Protocol

from signalbox.common.storage import Database, Statement, any_of
from signalbox.llm_gateway.admission.demands import Scope
from signalbox.llm_gateway.booked import booked, of_currency, summed, total


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
    parts = booked(
        "",
        f"calls.tenant = :tenant AND calls.created_at >= :start AND calls.created_at < :end AND {condition}",
        calls=f"{of_currency('calls')} AND NOT {any_of('calls.call_id', 'without')}",
        # Corrections are counted apart from the calls that they are of.
        corrections=f"{of_currency('corrections')} AND NOT {any_of('corrections.correction_id', 'without')}",
    )
    return Statement(f"SELECT {summed('held')} FROM {parts} AS parts")  # noqa: S608 - text of ours


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
        return 0 if row is None else total(row, "held") or 0
