"""What calls have spent of budgets, as operators see it."""

from collections.abc import Callable

from pydantic import BaseModel

from signalbox.common.storage import Database, Statement
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.admission.calendar import END_OF_TIME_MS, CalendarWindow, window_at
from signalbox.llm_gateway.booked import booked, largest_first, of_currency, summed, total
from signalbox.llm_gateway.policies.managing import BudgetView, ManagedPolicies
from signalbox.llm_gateway.policies.rules import BudgetRule, PolicySet
from signalbox.llm_gateway.rates import PICO, money

_MOST = 200
"""Spenders of one budget that are listed, the largest first."""

_SPENDERS = {
    "tenant": "calls.tenant",
    "key": "calls.key_id",
    "user": "calls.user_id",
    "workflow": "calls.workflow_id",
}


class Spent(BaseModel):
    """What one spender of a budget used of it; decimals in the budget's currency."""

    of: str
    """A key's id, a user, a workflow or the tenant."""
    amount: str
    left: str
    """Below zero where a soft budget was exceeded, or a hard one lowered."""


class BudgetReport(BudgetView):
    """A budget and the window that it is in."""

    window_start: int
    """Epoch milliseconds; 0 for ``total``."""
    window_end: int | None
    """null: never."""
    spent: list[Spent]
    """By calls that are over; what those under way have reserved is not in it. At most 200, the largest first."""


class BudgetList(BaseModel):
    """``GET /llm/v1/budgets``."""

    items: list[BudgetReport]


def _statement(spender: str) -> Statement:
    inside = "calls.tenant = :tenant AND calls.created_at >= :start AND calls.created_at < :until"
    only = f"(CAST(:only AS text) IS NULL OR {spender} = :only)"
    parts = booked(
        f"{spender} AS spender",
        f"{inside} AND {only} AND {spender} IS NOT NULL",
        calls=of_currency("calls"),
        corrections=of_currency("corrections"),
    )
    return Statement(
        f"SELECT spender, {summed('held')} FROM {parts} AS parts"  # noqa: S608 - names of ours
        f" GROUP BY spender ORDER BY {largest_first('held')}, spender LIMIT {_MOST}"
    )


_STATEMENTS = {of: _statement(spender) for of, spender in _SPENDERS.items()}


class BudgetReports:
    """Sums up what was spent of budgets, from the ledger."""

    def __init__(
        self,
        database: Database,
        policies: ManagedPolicies,
        rules: Callable[[], PolicySet],
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._policies = policies
        self._rules = rules
        self._clock = clock

    async def of(self, principal: Principal) -> BudgetList:
        """The budgets of the principal's tenant.

        Raises:
            StorageUnavailable: the database is away.
        """
        zone, now = self._rules().timezone_of(principal.tenant), self._clock()
        found = []
        for rule in self._policies.budgets(principal):
            window = window_at(rule.window, zone, now)
            found.append(
                BudgetReport(
                    **dict(self._policies.view(rule)),
                    window_start=window.start_ms,
                    window_end=None if window.end_ms == END_OF_TIME_MS else window.end_ms,
                    spent=await self._spent(principal.tenant, rule, window),
                )
            )
        return BudgetList(items=found)

    async def _spent(self, tenant: str, rule: BudgetRule, window: CalendarWindow) -> list[Spent]:
        only = tenant if rule.of == "tenant" else rule.only
        params = {
            "tenant": tenant,
            "only": only,
            "start": window.start_ms,
            "until": window.end_ms,
            "currency": rule.currency,
        }
        rows = await self._database.fetch_all(_STATEMENTS[rule.of], params)
        found = [(row["spender"], total(row, "held") or 0) for row in rows]
        sums = dict(sorted(found, key=lambda each: (-each[1], each[0])))
        if only is not None:
            sums.setdefault(only, 0)
        amount = int(rule.amount * PICO)
        return [Spent(of=of, amount=money(pico), left=money(amount - pico)) for of, pico in sums.items()]
