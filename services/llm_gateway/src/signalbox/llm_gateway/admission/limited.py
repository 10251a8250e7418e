"""Admits calls within limits and budgets."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from signalbox.common.errors import Unavailable
from signalbox.common.ids import now_ms
from signalbox.llm_gateway.admission.counters import (
    NEVER_MS,
    UNKNOWN_MS,
    Amounts,
    Answer,
    Counters,
    Verdict,
)
from signalbox.llm_gateway.admission.demands import Demand, Demands, DemandSet
from signalbox.llm_gateway.admission.metrics import AdmissionMetrics
from signalbox.llm_gateway.admission.open_calls import opened
from signalbox.llm_gateway.admission.ports import Opening
from signalbox.llm_gateway.admission.rate_headers import rate_headers
from signalbox.llm_gateway.admission.refusals import refusal, uncounted, unpriced
from signalbox.llm_gateway.admission.seeding import Seeding
from signalbox.llm_gateway.admission.ticket import LimitedTicket, nano_of
from signalbox.llm_gateway.admission.waiting import WaitingRoom
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import BudgetExceeded, LimitExceeded
from signalbox.llm_gateway.money import WorstCase

_LOG = logging.getLogger(__name__)

_MAX_SAID = 4096
_ROUNDS = 8
"""How often a reservation is tried anew after what kept it from being decided was mended."""


class LimitedAdmission:
    """``Admission`` by the rules that ``demands`` compiles, counted by ``counters``."""

    def __init__(
        self,
        demands: Demands,
        counters: Counters,
        seeding: Seeding,
        metrics: AdmissionMetrics,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._demands = demands
        self._counters = counters
        self._seeding = seeding
        self._metrics = metrics
        self._room = WaitingRoom(metrics.waiting.set)
        self._clock = clock
        self._ahead_ms = 0
        """By how much the clock that counts is ahead of this process's."""
        self._exceeded: set[str] = set()

    async def admit(self, opening: Opening) -> LimitedTicket:
        """See ``Admission``."""
        demands = self._demands.of(opening, self._clock() + self._ahead_ms)
        _check_price(opening, demands)
        asking = _Asking(opening, _amounts(opening.worst), opened(opening))
        try:
            if self._room.is_empty:
                verdict = await self._counters.reserve(
                    opening.call_id, demands, asking.amounts, asking.record
                )
                if verdict.answer is Answer.GRANTED and not verdict.over:
                    asking.rooms = verdict.rooms
                else:
                    demands = await self._reserve(asking, demands, verdict)
            else:
                demands = await self._reserve(asking, demands)
        except Unavailable as error:
            if not demands.fails_open:
                self._counters.give_back(opening.call_id)
                raise uncounted() from error
            self._metrics.uncounted.value += 1
            self._counters.assume(opening.call_id, demands, asking.amounts, asking.record)
        else:
            self._metrics.counted.value += 1
        return LimitedTicket(self, self._counters, opening, demands, asking.amounts, asking.rooms)

    def kept(self, call_ids: list[str]) -> None:
        """See ``Admission``."""
        self._counters.forget(call_ids)

    def of_deployment(self, opening: Opening, deployment: Deployment) -> DemandSet:
        """What a call asks of a deployment."""
        return self._demands.of_deployment(opening, deployment)

    def ended(self, demands: DemandSet) -> None:
        """A call with these demands is over: there may be room for another."""
        self._room.freed(demands)

    async def mended(self, demands: DemandSet, verdict: Verdict) -> None:
        """Do what a reservation lacks to be decided.

        Raises:
            Unavailable: that cannot be done now.
        """
        if verdict.answer is Answer.COLD:
            await self._seeding.seed(demands.demands[verdict.index])
        else:
            await self._seeding.opened()

    def refused(self, demand: Demand, ms: int, amounts: Amounts) -> LimitExceeded | BudgetExceeded:
        """The error of a call for which a demand has no room."""
        self._metrics.refused.labels(demand.name).inc()
        return refusal(demand, ms, _needed(demand, amounts))

    def _refused(
        self, asking: "_Asking", demands: DemandSet, verdict: Verdict
    ) -> LimitExceeded | BudgetExceeded:
        error = self.refused(demands.demands[verdict.index], verdict.ms, asking.amounts)
        error.headers = {**rate_headers(demands, verdict.rooms), **error.headers}
        return error

    async def _reserve(
        self, asking: "_Asking", demands: DemandSet, verdict: Verdict | None = None
    ) -> DemandSet:
        """The demands that were reserved; ``verdict`` is what was said already."""
        key = None if verdict is not None else self._room.ahead(demands)
        if key is not None and not self._room.is_full:
            return await self._wait(asking, demands, key, None)
        demands, refused = await self._decide(asking, demands, verdict)
        if refused is None:
            return demands
        demand = demands.demands[refused.index]
        if self._room.is_full or not _may_wait(demand, refused):
            raise self._refused(asking, demands, refused)
        return await self._wait(asking, demands, demand.key, refused)

    async def _wait(
        self, asking: "_Asking", demands: DemandSet, key: str, refused: Verdict | None
    ) -> DemandSet:
        """Wait in the line for ``key``, then maybe in another, as long as the limits and the caller allow."""
        loop = asyncio.get_running_loop()
        started, deadline = loop.time(), asking.opening.deadline
        last = float("inf") if deadline is None else started + deadline.remaining()
        try:
            while True:
                demand = next(each for each in demands.demands if each.key == key)
                # No longer than the limit says, nor than the caller waits.
                until = min(last, started + demand.wait_s)
                demands, refused = await self._stand(asking, demands, demand, refused, until)
                if refused is None:
                    return demands
                demand = demands.demands[refused.index]
                if not _may_wait(demand, refused) or loop.time() >= until:
                    raise self._refused(asking, demands, refused)
                key = demand.key
        finally:
            self._metrics.waited.observe(loop.time() - started)

    async def _stand(
        self, asking: "_Asking", demands: DemandSet, demand: Demand, refused: Verdict | None, until: float
    ) -> tuple[DemandSet, Verdict | None]:
        """Stand in the line for one demand until it or another decides; its verdict when the time is over first."""
        verdict = refused or Verdict(Answer.REFUSED, demands.demands.index(demand), UNKNOWN_MS)
        with self._room.place(demand.key, asking.opening.priority) as place:
            place.enter(None if refused is None else refused.ms)
            while await place.turn(until):
                demands, refused = await self._decide(asking, demands)
                if refused is None or demands.demands[refused.index].key != demand.key:
                    return demands, refused
                verdict = refused
                place.refused(refused.ms)
        return demands, verdict

    async def _decide(
        self, asking: "_Asking", demands: DemandSet, verdict: Verdict | None = None
    ) -> tuple[DemandSet, Verdict | None]:
        """The demands that were reserved, or those of which one has no room, and which."""
        for _ in range(_ROUNDS):
            if verdict is None:
                verdict = await self._counters.reserve(
                    asking.opening.call_id, demands, asking.amounts, asking.record
                )
            if verdict.answer is Answer.GRANTED:
                asking.rooms = verdict.rooms
                self._say_exceeded([demands.demands[index] for index in verdict.over])
                return demands, None
            if verdict.answer is Answer.REFUSED:
                return demands, verdict
            if verdict.answer is Answer.STALE:
                self._ahead_ms = verdict.ms - self._clock()
                self._demands.forget()
                demands = self._demands.of(asking.opening, verdict.ms)
            else:
                await self.mended(demands, verdict)
            verdict = None
        raise uncounted()

    def _say_exceeded(self, budgets: list[Demand]) -> None:
        for budget in budgets:
            self._metrics.exceeded.labels(budget.name).inc()
            if budget.key not in self._exceeded:
                if len(self._exceeded) >= _MAX_SAID:
                    self._exceeded.clear()
                self._exceeded.add(budget.key)
                _LOG.warning("the soft budget '%s' is exceeded", budget.name)


@dataclass(slots=True)
class _Asking:
    """A call that asks to be admitted."""

    opening: Opening
    amounts: Amounts
    record: bytes
    rooms: Sequence[int] = ()
    """What the windows had left when it was."""


def _check_price(opening: Opening, demands: DemandSet) -> None:
    if demands.has_hard_budget and (opening.worst.cost_pico is None or demands.foreign is not None):
        raise unpriced(opening.model, opening.worst.unknown, demands.foreign)


def _may_wait(demand: Demand, refused: Verdict) -> bool:
    return demand.wait_s > 0 and refused.ms != NEVER_MS


def _amounts(worst: WorstCase) -> Amounts:
    return Amounts(worst.estimate.input + worst.estimate.output, nano_of(worst.cost_pico or 0))


def _needed(demand: Demand, amounts: Amounts) -> int:
    if demand.kind == "tokens":
        return amounts.tokens
    return amounts.nano if demand.kind in {"hard", "soft"} else 1
