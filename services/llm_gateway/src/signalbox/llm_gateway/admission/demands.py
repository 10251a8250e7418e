"""What a call asks of limits and budgets, compiled once from the rules for all calls that are alike."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, cast

from signalbox.common.cache.ports import key
from signalbox.common.record import record
from signalbox.contracts.identity import key_id_of
from signalbox.llm_gateway.admission.calendar import END_OF_TIME_MS, window_at
from signalbox.llm_gateway.admission.ports import Opening
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.policies import BudgetRule, LimitRule, PolicySet
from signalbox.llm_gateway.policies.rules import ANY_TENANT

DemandKind = Literal["requests", "tokens", "parallel", "hard", "soft"]
"""``hard`` and ``soft`` are budgets."""

_MAX_KNOWN = 4096
_FEW = 1000
"""Where a limit has room for more calls than these, none of them waits for the end of a certain other one."""

NANO = 10**9


@record
class Scope:
    """Whose calls a budget counts: rows of the ledger of ``tenant`` that are ``of`` somebody named ``value``."""

    tenant: str
    of: Literal["tenant", "key", "user", "workflow"]
    value: str
    currency: str


@record
class Spender:
    """Whom a call of the ledger counts for in budgets, by what a budget is of, and when it began."""

    tenant: str
    key: str | None
    user: str | None
    workflow: str | None
    created_at: int


@record
class Demand:
    """Room that a call needs in one counter.

    ``limit`` counts requests, tokens, calls at a time, or 10^-9 units of a budget's currency. A budget is one window
    of the calendar, ``start_ms`` to ``end_ms``; ``rule`` names it whatever the window is.
    """

    kind: DemandKind
    name: str
    key: str
    limit: int
    window_s: int = 0
    wait_s: float = 0
    fails_open: bool = True
    start_ms: int = 0
    end_ms: int = END_OF_TIME_MS
    rule: str = ""
    scope: Scope | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DemandSet:
    """All that a call asks for, limits first; compared by identity. It is right until ``until_ms``."""

    demands: tuple[Demand, ...]
    fails_open: bool
    until_ms: int
    wait_s: float
    foreign: Demand | None
    """A hard budget in another currency than that of the call's worst case."""
    has_hard_budget: bool
    windows: tuple[Demand, ...]
    """The limits of requests and tokens."""
    least_parallel: float
    least_tokens: float
    least_nano: float
    """The smallest of its limits of a kind; infinite where there is none."""

    @classmethod
    def of(cls, demands: list[Demand], foreign: Demand | None = None) -> "DemandSet":
        """The set of these demands."""
        return cls(
            demands=tuple(demands),
            fails_open=all(demand.fails_open for demand in demands),
            until_ms=min((demand.end_ms for demand in demands), default=END_OF_TIME_MS),
            wait_s=max((demand.wait_s for demand in demands), default=0),
            foreign=foreign,
            has_hard_budget=any(demand.kind == "hard" for demand in demands) or foreign is not None,
            windows=tuple(demand for demand in demands if demand.kind in {"requests", "tokens"}),
            least_parallel=_least(demands, "parallel"),
            least_tokens=_least(demands, "tokens"),
            least_nano=_least(demands, "hard"),
        )

    def is_tight(self, tokens: int, nano: int) -> bool:
        """Whether what a call gives back at its end may be what the next one waits for: few like it fit in a limit."""
        return (
            self.least_parallel < _FEW or self.least_tokens < tokens * _FEW or self.least_nano < nano * _FEW
        )


def _least(demands: list[Demand], kind: DemandKind) -> float:
    return min((demand.limit for demand in demands if demand.kind == kind), default=inf)


NOTHING = DemandSet.of([])

_Known = tuple[str, str, str | None, str | None, str, str | None]


class Demands:
    """Compiles the rules of ``source``, which is asked at every call and gives the same object until rules change."""

    def __init__(self, source: Callable[[], PolicySet]) -> None:
        self._source = source
        self._policies: PolicySet | None = None
        self._known: dict[object, DemandSet] = {}

    def of(self, opening: Opening, now_ms: int) -> DemandSet:
        """What a call asks for at ``now_ms``, apart from what is asked of each deployment that it tries."""
        labels = opening.labels
        known: _Known = (
            opening.principal.tenant,
            opening.principal.subject,
            labels.user_id,
            labels.workflow_id,
            opening.model,
            opening.worst.currency,
        )
        found = self._found(known)
        if found is None or now_ms >= found.until_ms:
            found = self._keep(known, _compile(self._source(), opening, now_ms))
        return found

    def budgets_of(self, call: "Spender", currency: str, now_ms: int) -> DemandSet:
        """The budgets of a currency that a call of the ledger counts in and whose windows are not over."""
        policies = self._source()
        zone = policies.timezone_of(call.tenant)
        found = (
            _budget(rule, call.tenant, getattr(call, rule.of), zone, call.created_at)
            for rule in policies.budgets
            if rule.currency == currency
        )
        return DemandSet.of([each for each in found if each is not None and now_ms < each.end_ms])

    def of_deployment(self, opening: Opening, deployment: Deployment) -> DemandSet:
        """What a call asks of a deployment: its own limits, which all share, and the tenant's limits for it."""
        tenant = opening.principal.tenant
        known = (tenant, deployment.name)
        found = self._found(known)
        if found is None:
            limits = [
                demand
                for rule in self._source().limits
                if rule.of == "deployment"
                for demand in _limit(rule, tenant, deployment.name)
            ]
            found = self._keep(known, DemandSet.of([*_own_limits(deployment), *limits]))
        return found

    def _found(self, known: object) -> DemandSet | None:
        policies = self._source()
        if policies is not self._policies:
            self._policies = policies
            self._known.clear()
        return self._known.get(known)

    def _keep(self, known: object, demands: DemandSet) -> DemandSet:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[known] = demands
        return demands

    def forget(self) -> None:
        """Compile anew: this process was wrong about the time."""
        self._known.clear()


def _compile(policies: PolicySet, opening: Opening, now_ms: int) -> DemandSet:
    names = _names(opening)
    tenant = opening.principal.tenant
    limits = [
        demand
        for rule in policies.limits
        if rule.of != "deployment"
        for demand in _limit(rule, tenant, names[rule.of])
    ]
    budgets, foreign = [], None
    zone = policies.timezone_of(tenant)
    for rule in policies.budgets:
        demand = _budget(rule, tenant, names[rule.of], zone, now_ms)
        if demand is None:
            continue
        if opening.worst.currency in {None, rule.currency}:
            budgets.append(demand)
        elif rule.hard:
            foreign = demand
    return DemandSet.of([*limits, *budgets], foreign)


def _names(opening: Opening) -> dict[str, str | None]:
    """Whom a call counts for, by what a rule is of."""
    return {
        "tenant": opening.principal.tenant,
        "key": key_id_of(opening.principal.subject),
        "user": opening.labels.user_id,
        "model": opening.model,
        "workflow": opening.labels.workflow_id,
    }


def _applies(rule: LimitRule | BudgetRule, tenant: str, value: str | None) -> bool:
    return value is not None and rule.tenant in {ANY_TENANT, tenant} and rule.only in {None, value}


def _limit(rule: LimitRule, tenant: str, value: str | None) -> list[Demand]:
    if value is None or not _applies(rule, tenant, value):
        return []

    def demand(kind: DemandKind, limit: int) -> Demand:
        window = "" if kind == "parallel" else str(rule.window_s)
        return Demand(
            kind=kind,
            name=rule.name,
            key=key(kind, tenant, rule.tenant, rule.name, rule.of, value, window),
            limit=limit,
            window_s=rule.window_s,
            wait_s=rule.wait_s,
            fails_open=rule.when_unavailable == "open",
        )

    found = []
    if rule.requests is not None:
        found.append(demand("requests", rule.requests))
    if rule.tokens is not None:
        found.append(demand("tokens", rule.tokens))
    if rule.parallel is not None:
        found.append(demand("parallel", rule.parallel))
    return found


def _own_limits(deployment: Deployment) -> list[Demand]:
    limits, name = deployment.limits, deployment.name
    found = []
    for kind, limit in (
        ("requests", limits.requests),
        ("tokens", limits.tokens),
        ("parallel", limits.parallel),
    ):
        if limit is not None:
            window = "" if kind == "parallel" else str(limits.window_s)
            counter = key(kind, ANY_TENANT, name, window)
            found.append(Demand(cast("DemandKind", kind), name, counter, limit, limits.window_s))
    return found


def _budget(rule: BudgetRule, tenant: str, value: str | None, zone: str, now_ms: int) -> Demand | None:
    if value is None or not _applies(rule, tenant, value):
        return None
    window = window_at(rule.window, zone, now_ms)
    named = key("budget", tenant, rule.tenant, rule.name, rule.of, rule.window, rule.currency)
    return Demand(
        kind="hard" if rule.hard else "soft",
        name=rule.name,
        key=key(
            "budget",
            tenant,
            rule.tenant,
            rule.name,
            rule.of,
            value,
            rule.currency,
            str(window.start_ms),
            rule.window,
        ),
        limit=int(rule.amount * NANO),
        # A soft budget refuses nothing, also when it cannot be counted.
        fails_open=rule.when_unavailable == "open" or not rule.hard,
        start_ms=window.start_ms,
        end_ms=window.end_ms,
        rule=f"{named}:{zone}",
        scope=Scope(tenant, rule.of, value, rule.currency),
    )
