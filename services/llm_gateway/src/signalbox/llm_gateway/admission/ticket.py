"""An admitted call, until its end."""

from collections.abc import Sequence
from typing import Protocol

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.llm_gateway.admission.counters import Amounts, Answer, Counters, Used, Verdict
from signalbox.llm_gateway.admission.demands import Demand, DemandSet
from signalbox.llm_gateway.admission.open_calls import encode
from signalbox.llm_gateway.admission.ports import Opening, Slot
from signalbox.llm_gateway.admission.rate_headers import rate_headers
from signalbox.llm_gateway.admission.refusals import uncounted
from signalbox.llm_gateway.admission.unlimited import NO_SLOT
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.records import LedgerCall

_PICO_IN_NANO = 1000
_ROUNDS = 8


class _AttemptSlot:
    """A slot of a deployment that is counted."""

    def __init__(self, counters: Counters, call_id: str, number: int) -> None:
        self._counters = counters
        self._call_id = call_id
        self._number = number
        self._freed = False

    def free(self) -> None:
        """See ``Slot``."""
        if not self._freed:
            self._freed = True
            self._counters.end_extension(self._call_id, self._number)


class Admitting(Protocol):
    """What a ticket needs of who gave it."""

    def of_deployment(self, opening: Opening, deployment: Deployment) -> DemandSet:
        """What a call asks of a deployment."""
        ...

    def ended(self, demands: DemandSet) -> None:
        """A call with these demands is over: there may be room for another."""
        ...

    async def mended(self, demands: DemandSet, verdict: Verdict) -> None:
        """Do what a reservation lacks to be decided. Raises Unavailable."""
        ...

    def refused(self, demand: Demand, ms: int, amounts: Amounts) -> SignalboxError:
        """The error of a call for which a demand has no room."""
        ...


class LimitedTicket:
    """A call that was admitted."""

    def __init__(
        self,
        admission: Admitting,
        counters: Counters,
        opening: Opening,
        demands: DemandSet,
        amounts: Amounts,
        rooms: Sequence[int] = (),
    ) -> None:
        self.headers = rate_headers(demands, rooms)
        self._admission = admission
        self._counters = counters
        self._opening = opening
        self._demands = demands
        self._reserved_nano = amounts.nano
        self._extensions = 0
        self._extended: dict[int, str] = {}
        self._settled = False

    @property
    def holds_to_worst(self) -> bool:
        """See ``Ticket``."""
        return self._demands.has_hard_budget

    async def attempt(self, deployment: Deployment, worst: WorstCase, *, spent_pico: int) -> Slot:
        """See ``Ticket``."""
        own = self._admission.of_deployment(self._opening, deployment)
        needed = nano_of(worst.cost_pico or 0) + (nano_of(spent_pico) if spent_pico else 0)
        more = max(0, needed - self._reserved_nano)
        budgets = [each for each in self._demands.demands if each.kind in {"hard", "soft"}] if more else []
        if not own.demands and not budgets:
            return NO_SLOT
        demands = own if not budgets else DemandSet.of([*own.demands, *budgets])
        amounts = Amounts(worst.estimate.input + worst.estimate.output, more)
        self._extensions += 1
        number = self._extensions
        try:
            await self._extend(number, demands, amounts)
        except Unavailable as error:
            if not demands.fails_open:
                raise uncounted() from error
            return NO_SLOT
        self._extended[number] = deployment.name
        self._reserved_nano += more
        if not any(demand.kind == "parallel" for demand in own.demands):
            return NO_SLOT
        return _AttemptSlot(self._counters, self._opening.call_id, number)

    async def _extend(self, number: int, demands: DemandSet, amounts: Amounts) -> None:
        for _ in range(_ROUNDS):
            verdict = await self._counters.extend(self._opening.call_id, number, demands, amounts)
            if verdict.answer is Answer.GRANTED:
                return
            if verdict.answer is Answer.REFUSED:
                raise self._admission.refused(demands.demands[verdict.index], verdict.ms, amounts)
            await self._admission.mended(demands, verdict)
        raise uncounted()

    def settle(self, row: LedgerCall) -> None:
        """See ``Ticket``."""
        if self._settled:
            return
        tokens = row.tokens.input + row.tokens.output
        amounts = Amounts(tokens, _cost_nano(row, self._opening.worst.currency))
        used = Used(amounts, self._used_of_extensions(row) if self._extensions else ())
        self._counters.settle(self._opening.call_id, used, encode(row))
        # Only now: a row that cannot be settled, whatever is wrong with it, does not keep another from it.
        self._settled = True
        self._admission.ended(self._demands)

    def _used_of_extensions(self, row: LedgerCall) -> tuple[int, ...]:
        """Tokens of each extension: all that a deployment used is counted where it was reserved first."""
        by_deployment: dict[str, int] = {}
        for each in row.attempts:
            used = by_deployment.get(each.deployment, 0)
            by_deployment[each.deployment] = used + each.tokens.input + each.tokens.output
        numbers = range(1, self._extensions + 1)
        return tuple(by_deployment.pop(self._extended.get(number, ""), 0) for number in numbers)


def nano_of(pico: int) -> int:
    """An amount of 10^-12 units in those of 10^-9, rounded up."""
    return -(-pico // _PICO_IN_NANO)


def _cost_nano(row: LedgerCall, currency: str | None) -> int:
    """What budgets count of a call, in their currency."""
    if row.held_pico is not None:
        return nano_of(row.held_pico)
    paid = [each.cost_pico for each in row.attempts if currency is None or each.currency == currency]
    return nano_of(sum(filter(None, paid)))
