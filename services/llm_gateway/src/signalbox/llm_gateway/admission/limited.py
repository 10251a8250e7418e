"""Admits calls within limits and budgets."""

import logging
from collections.abc import Callable

from signalbox.common.errors import Unavailable
from signalbox.common.ids import now_ms
from signalbox.llm_gateway.admission.counters import Amounts, Answer, Counters, Used, Verdict
from signalbox.llm_gateway.admission.demands import Demand, Demands, DemandSet
from signalbox.llm_gateway.admission.open_calls import abandoned, encode
from signalbox.llm_gateway.admission.ports import Opening
from signalbox.llm_gateway.admission.refusals import refusal, uncounted, unpriced
from signalbox.llm_gateway.admission.seeding import Seeding
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.records import LedgerCall

_LOG = logging.getLogger(__name__)

_PICO_IN_NANO = 1000
_MAX_SAID = 4096
_ROUNDS = 8
"""How often a reservation is tried anew after what kept it from being decided was mended."""


class LimitedAdmission:
    """``Admission`` by the rules that ``demands`` compiles, counted by ``counters``."""

    def __init__(
        self, demands: Demands, counters: Counters, seeding: Seeding, clock: Callable[[], int] = now_ms
    ) -> None:
        self._demands = demands
        self._counters = counters
        self._seeding = seeding
        self._clock = clock
        self._ahead_ms = 0
        """By how much the clock that counts is ahead of this process's."""
        self._exceeded: set[str] = set()

    async def admit(self, opening: Opening) -> "LimitedTicket":
        """See ``Admission``."""
        demands = self._demands.of(opening, self.now_ms())
        _check_price(opening, demands)
        amounts = _amounts(opening.worst)
        record = encode(abandoned(opening))
        try:
            demands = await self._reserve(opening, demands, amounts, record)
        except Unavailable as error:
            if not demands.fails_open:
                self._counters.give_back(opening.call_id)
                raise uncounted() from error
            self._counters.assume(opening.call_id, demands, amounts, record)
        return LimitedTicket(self, self._counters, opening, demands, amounts)

    def kept(self, call_ids: list[str]) -> None:
        """See ``Admission``."""
        self._counters.forget(call_ids)

    def now_ms(self) -> int:
        """The time on the clock that counts, as far as it is known."""
        return self._clock() + self._ahead_ms

    def of_deployment(self, opening: Opening, deployment: Deployment) -> DemandSet:
        """What a call asks of a deployment."""
        return self._demands.of_deployment(opening, deployment, self.now_ms())

    async def _reserve(
        self, opening: Opening, demands: DemandSet, amounts: Amounts, record: bytes
    ) -> DemandSet:
        for _ in range(_ROUNDS):
            verdict = await self._counters.reserve(opening.call_id, demands, amounts, record)
            if verdict.answer is Answer.GRANTED:
                self._say_exceeded([demands.demands[index] for index in verdict.over])
                return demands
            if verdict.answer is Answer.STALE:
                self._ahead_ms = verdict.ms - self._clock()
                self._demands.forget()
                demands = self._demands.of(opening, verdict.ms)
            else:
                await self.mend(demands, amounts, verdict)
        raise uncounted()

    def _say_exceeded(self, budgets: list[Demand]) -> None:
        for budget in budgets:
            if budget.key not in self._exceeded:
                if len(self._exceeded) >= _MAX_SAID:
                    self._exceeded.clear()
                self._exceeded.add(budget.key)
                _LOG.warning("the soft budget '%s' is exceeded", budget.name)

    async def mend(self, demands: DemandSet, amounts: Amounts, verdict: Verdict) -> None:
        """Do what a reservation lacks to be decided.

        Raises:
            LimitExceeded, BudgetExceeded: it is decided.
            Unavailable: that cannot be done now.
        """
        demand = demands.demands[verdict.index]
        if verdict.answer is Answer.COLD:
            await self._seeding.seed(demand)
        elif verdict.answer is Answer.CLOSED:
            await self._seeding.opened()
        else:
            raise refusal(demand, verdict.ms, _needed(demand, amounts))


class LimitedTicket:
    """A call that was admitted."""

    def __init__(
        self,
        admission: LimitedAdmission,
        counters: Counters,
        opening: Opening,
        demands: DemandSet,
        amounts: Amounts,
    ) -> None:
        self._admission = admission
        self._counters = counters
        self._opening = opening
        self._demands = demands
        self._reserved_nano = amounts.nano
        self._extended: list[str] = []
        self._settled = False

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> None:
        """See ``Ticket``."""
        own = self._admission.of_deployment(self._opening, deployment)
        needed = _nano(spent_pico) + _nano(worst.cost_pico or 0)
        more = max(0, needed - self._reserved_nano)
        budgets = [each for each in self._demands.demands if more and each.kind in {"hard", "soft"}]
        if not own.demands and not budgets:
            return
        demands = own if not budgets else DemandSet.of([*own.demands, *budgets])
        amounts = Amounts(worst.estimate.input + worst.estimate.output, more)
        try:
            await self._extend(demands, amounts)
        except Unavailable as error:
            if not demands.fails_open:
                raise uncounted() from error
            return
        self._extended.append(deployment.name)
        self._reserved_nano += more

    async def _extend(self, demands: DemandSet, amounts: Amounts) -> None:
        for _ in range(_ROUNDS):
            verdict = await self._counters.extend(self._opening.call_id, demands, amounts)
            if verdict.answer is Answer.GRANTED:
                return
            await self._admission.mend(demands, amounts, verdict)
        raise uncounted()

    def settle(self, row: LedgerCall) -> None:
        """See ``Ticket``."""
        if self._settled:
            return
        self._settled = True
        tokens = row.tokens.input + row.tokens.output
        amounts = Amounts(tokens, _cost_nano(row, self._opening.worst.currency))
        by_deployment: dict[str, int] = {}
        for each in row.attempts:
            used = by_deployment.get(each.deployment, 0)
            by_deployment[each.deployment] = used + each.tokens.input + each.tokens.output
        # All that a deployment used is counted where it was reserved first.
        extensions = tuple(by_deployment.pop(name, 0) for name in self._extended)
        self._counters.settle(self._opening.call_id, Used(amounts, extensions), encode(row))


def _check_price(opening: Opening, demands: DemandSet) -> None:
    if demands.has_hard_budget and (opening.worst.cost_pico is None or demands.foreign is not None):
        raise unpriced(opening.model, opening.worst.unknown, demands.foreign)


def _amounts(worst: WorstCase) -> Amounts:
    return Amounts(worst.estimate.input + worst.estimate.output, _nano(worst.cost_pico or 0))


def _needed(demand: Demand, amounts: Amounts) -> int:
    if demand.kind == "tokens":
        return amounts.tokens
    return amounts.nano if demand.kind in {"hard", "soft"} else 1


def _nano(pico: int) -> int:
    return -(-pico // _PICO_IN_NANO)


def _cost_nano(row: LedgerCall, currency: str | None) -> int:
    """What a call cost in the currency of its budgets."""
    return _nano(
        sum(each.cost_pico or 0 for each in row.attempts if currency is None or each.currency == currency)
    )
