"""What a caller is told whose call a limit or a budget refuses."""

from datetime import UTC, datetime

from signalbox.contracts import headers as names
from signalbox.llm_gateway.admission.calendar import END_OF_TIME_MS
from signalbox.llm_gateway.admission.counters import NEVER_MS, UNKNOWN_MS
from signalbox.llm_gateway.admission.demands import NANO, Demand
from signalbox.llm_gateway.errors import BudgetExceeded, LimitExceeded, LimitsUnavailable, UnpricedModel

_SOON_MS = 60_000
PARALLEL_RETRY_MS = 1000
"""When to come again where calls at a time are limited: one may end at any moment."""


def retry_ms(demand: Demand, ms: int) -> int:
    """Milliseconds until a refused call may be made, as far as that is known."""
    if ms == UNKNOWN_MS:
        return PARALLEL_RETRY_MS
    if ms == NEVER_MS:
        return demand.window_s * 1000 if demand.kind == "tokens" else 3_600_000
    return max(1, ms)


def refusal(demand: Demand, ms: int, amount: int) -> LimitExceeded | BudgetExceeded:
    """The error of a call that needs ``amount`` of a demand that has no room."""
    if _is_spent_for_good(demand, ms):
        headers = {names.LIMIT: demand.name, "x-should-retry": "false"}
        return BudgetExceeded(_of_budget(demand, ms, amount), headers=headers)
    wait_ms = retry_ms(demand, ms)
    headers = {
        "Retry-After": str(-(-wait_ms // 1000)),
        "retry-after-ms": str(wait_ms),
        names.LIMIT: demand.name,
    }
    if wait_ms > _SOON_MS:
        # SDKs of OpenAI and Anthropic try again after seconds, whatever Retry-After says, unless they are told this.
        headers["x-should-retry"] = "false"
    if demand.kind in {"hard", "soft"}:
        return BudgetExceeded(_of_budget(demand, ms, amount), headers=headers)
    return LimitExceeded(_of_limit(demand, ms, amount, wait_ms), headers=headers)


def _is_spent_for_good(demand: Demand, ms: int) -> bool:
    """Whether a budget without an end has no room: no time can be named at which it has some."""
    return demand.kind in {"hard", "soft"} and demand.end_ms >= END_OF_TIME_MS and ms != NEVER_MS


def _of_limit(demand: Demand, ms: int, amount: int, wait_ms: int) -> str:
    if demand.kind == "parallel":
        return (
            f"The limit '{demand.name}' of {demand.limit} call(s) at a time has no room; try again shortly."
        )
    allowed = f"The limit '{demand.name}' of {demand.limit} {demand.kind} in {demand.window_s} s"
    if ms == NEVER_MS:
        return f"{allowed} is less than the {amount} that this call may use; ask for fewer output tokens."
    return f"{allowed} has no room for {amount}; try again in {-(-wait_ms // 1000)} s."


def _of_budget(demand: Demand, ms: int, amount: int) -> str:
    currency = demand.scope.currency if demand.scope is not None else ""
    needed = f"the {_money(amount)} {currency} that this call may cost"
    if ms == NEVER_MS:
        return f"The budget '{demand.name}' is less than {needed}; ask for fewer output tokens."
    if _is_spent_for_good(demand, ms):
        return f"The budget '{demand.name}' has no room for {needed}; it does not begin anew."
    ends = datetime.fromtimestamp(demand.end_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    return f"The budget '{demand.name}' has no room for {needed}; it begins anew at {ends}."


def _money(nano: int) -> str:
    return f"{nano // NANO}.{nano % NANO:09d}".rstrip("0").rstrip(".")


def unpriced(model: str, unknown: str | None, budget: Demand | None) -> UnpricedModel:
    """The error of a call whose cost a hard budget could not count; ``unknown`` says why."""
    if unknown is None and budget is not None and budget.scope is not None:
        unknown = f"its price is in another currency than the budget '{budget.name}', {budget.scope.currency}"
    return UnpricedModel(
        f"A budget applies, and what '{model}' costs is not known to it: {unknown}. Declare a price."
    )


def uncounted() -> LimitsUnavailable:
    """The error of a call that may only be made counted."""
    return LimitsUnavailable(
        "Limits or budgets of this call cannot be counted now, and they say that it is not made uncounted; "
        "try again shortly.",
        headers={"Retry-After": "2", "retry-after-ms": "2000"},
    )
