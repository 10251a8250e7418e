"""What calls have spent of budgets, as operators see it."""

from collections.abc import Callable

from pydantic import BaseModel

from signalbox.common.storage import Database, Statement
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.admission.calendar import END_OF_TIME_MS, CalendarWindow, window_at
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
    return Statement(
        f"""
        SELECT spender, sum(cost_pico) AS spent FROM (
            SELECT {spender} AS spender, calls.cost_pico AS cost_pico FROM ledger_calls AS calls
            WHERE {inside} AND {only} AND calls.currency = :currency
            UNION ALL
            SELECT {spender} AS spender, corrections.cost_pico AS cost_pico
            FROM ledger_calls AS calls JOIN ledger_corrections AS corrections
                ON corrections.tenant = calls.tenant AND corrections.call_id = calls.call_id
            WHERE {inside} AND {only} AND corrections.currency = :currency
        ) AS parts
        WHERE spender IS NOT NULL
        GROUP BY spender ORDER BY spent DESC, spender LIMIT {_MOST}
        """  # noqa: S608 - names of ours
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
        sums = {row["spender"]: row["spent"] for row in rows}
        if only is not None:
            sums.setdefault(only, 0)
        amount = int(rule.amount * PICO)
        return [Spent(of=of, amount=money(pico), left=money(amount - pico)) for of, pico in sums.items()]
