"""Counters of one process: the same arithmetic as ``redis/lua/turn.lua``."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from signalbox.llm_gateway.admission.counters import (
    JUST_GRANTED,
    NEVER_MS,
    UNKNOWN_MS,
    Amounts,
    Answer,
    Used,
    Verdict,
)
from signalbox.llm_gateway.admission.demands import Demand, DemandSet
from signalbox.llm_gateway.admission.windows import SlidingWindow

_SWEEP_AT = 1024


@dataclass(slots=True)
class _Budget:
    end_ms: int
    sum: int = 0
    open: int = 0
    """What of the sum open calls have reserved."""
    seeded: bool = False
    calls: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Taken:
    demand: Demand
    amount: int
    extension: int
    place: int = 0


class MemoryCounters:
    """``Counters`` for a single process; ``clock`` returns epoch seconds.

    What was spent before the process began is not known to it: it asks to be told.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._windows: dict[str, SlidingWindow] = {}
        self._parallel: dict[str, int] = {}
        self._budgets: dict[str, _Budget] = {}
        self._since: dict[str, int] = {}
        self._calls: dict[str, list[_Taken]] = {}
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        """Counters that are not zero, and open calls."""
        now = self._now_us()
        windows = sum(1 for window in self._windows.values() if window.used(now))
        return windows + len(self._parallel) + len(self._calls)

    async def reserve(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> Verdict:
        """See ``Counters.reserve``; a process that dies takes all records with it."""
        del record
        now = self._now_us()
        verdict = self._obstacle(demands, amounts, now, extends=False)
        if verdict.answer is Answer.GRANTED:
            self._take(call_id, demands, amounts, now, 0)
        if demands.windows and verdict.answer in {Answer.GRANTED, Answer.REFUSED}:
            return replace(verdict, rooms=[self._room(each, now) for each in demands.windows])
        return verdict

    async def extend(self, call_id: str, number: int, demands: DemandSet, amounts: Amounts) -> Verdict:
        """See ``Counters.extend``."""
        now = self._now_us()
        verdict = self._obstacle(demands, amounts, now, extends=True)
        if verdict.answer is Answer.GRANTED:
            self._take(call_id, demands, amounts, now, number)
        return verdict

    def end_extension(self, call_id: str, number: int) -> None:
        """See ``Counters.end_extension``."""
        taken = self._calls.get(call_id, [])
        ended = [each for each in taken if each.extension == number and each.demand.kind == "parallel"]
        for each in ended:
            taken.remove(each)
            self._correct(each, 0)

    def assume(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> None:
        """See ``Counters.assume``."""
        del record
        self._take(call_id, demands, amounts, self._now_us(), 0)

    def settle(self, call_id: str, used: Used, record: bytes) -> None:
        """See ``Counters.settle``."""
        del record
        for taken in self._close(call_id):
            actual = taken.amount
            if taken.demand.kind == "tokens":
                actual = used.extensions[taken.extension - 1] if taken.extension else used.amounts.tokens
            elif taken.demand.kind in {"hard", "soft"}:
                actual = 0 if taken.extension else used.amounts.nano
            self._correct(taken, actual)

    def give_back(self, call_id: str) -> None:
        """See ``Counters.give_back``."""
        for taken in self._close(call_id):
            self._correct(taken, 0)

    def forget(self, call_ids: Sequence[str]) -> None:
        """See ``Counters.forget``; nothing is remembered of a call that has ended."""

    async def counted(self, budget: Demand) -> list[str]:
        """See ``Counters.counted``."""
        return sorted(self._budget(budget).calls)

    async def seed(self, budget: Demand, counted: int, nano: int) -> bool:
        """See ``Counters.seed``."""
        found = self._budget(budget)
        if found.seeded:
            return True
        if len(found.calls) != counted:
            return False
        found.sum += nano
        found.seeded = True
        found.calls.clear()
        return True

    async def close(self) -> None:
        """Nothing has to be freed."""

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)

    def _obstacle(self, demands: DemandSet, amounts: Amounts, now: int, *, extends: bool) -> Verdict:
        over: list[int] = []
        for index, demand in enumerate(demands.demands):
            amount = _amount(demand, amounts)
            if demand.kind in {"hard", "soft"}:
                verdict = self._budget_obstacle(index, demand, amount, now // 1000, extends=extends)
                if verdict.answer is Answer.GRANTED:
                    over += verdict.over
                    continue
                return verdict
            verdict = self._limit_obstacle(index, demand, amount, now)
            if verdict.answer is not Answer.GRANTED:
                return verdict
        return Verdict(Answer.GRANTED, over=tuple(over)) if over else JUST_GRANTED

    def _limit_obstacle(self, index: int, demand: Demand, amount: int, now: int) -> Verdict:
        if demand.kind == "parallel":
            full = self._parallel.get(demand.key, 0) >= demand.limit
            return Verdict(Answer.REFUSED, index, UNKNOWN_MS) if full else JUST_GRANTED
        if amount > demand.limit:
            return Verdict(Answer.REFUSED, index, NEVER_MS)
        window = self._window(demand)
        missing = window.used(now) + amount - demand.limit
        if missing > 0:
            return Verdict(Answer.REFUSED, index, max(1, -(-window.wait_us(missing, now) // 1000)))
        return JUST_GRANTED

    def _budget_obstacle(
        self, index: int, demand: Demand, amount: int, now_ms: int, *, extends: bool
    ) -> Verdict:
        if not extends and not demand.start_ms <= now_ms < demand.end_ms:
            return Verdict(Answer.STALE, index, now_ms)
        budget = self._budget(demand)
        if not budget.seeded:
            return Verdict(Answer.COLD, index)
        if demand.kind == "soft":
            # What open calls have reserved is not spent.
            exceeded = budget.sum - budget.open > demand.limit
            return Verdict(Answer.GRANTED, over=(index,)) if exceeded else JUST_GRANTED
        if budget.sum + amount <= demand.limit:
            return JUST_GRANTED
        return Verdict(Answer.REFUSED, index, NEVER_MS if amount > demand.limit else demand.end_ms - now_ms)

    def _room(self, demand: Demand, now: int) -> int:
        return max(0, demand.limit - self._window(demand).used(now))

    def _take(self, call_id: str, demands: DemandSet, amounts: Amounts, now: int, extension: int) -> None:
        taken = self._calls.setdefault(call_id, [])
        for demand in demands.demands:
            one = _Taken(demand, _amount(demand, amounts), extension)
            if demand.kind == "parallel":
                self._parallel[demand.key] = self._parallel.get(demand.key, 0) + 1
            elif demand.kind in {"hard", "soft"}:
                budget = self._budget(demand)
                budget.sum += one.amount
                budget.open += one.amount
                if not budget.seeded:
                    budget.calls.add(call_id)
            else:
                one.place = self._window(demand).take(one.amount, now)
            taken.append(one)

    def _correct(self, taken: _Taken, actual: int) -> None:
        demand = taken.demand
        if demand.kind == "parallel":
            left = self._parallel.get(demand.key, 1) - 1
            if left > 0:
                self._parallel[demand.key] = left
            else:
                self._parallel.pop(demand.key, None)
        elif demand.kind in {"hard", "soft"}:
            budget = self._budgets.get(demand.key)
            if budget is not None:
                budget.sum += actual - taken.amount
                budget.open -= taken.amount
        elif demand.key in self._windows:
            self._windows[demand.key].change(taken.place, actual - taken.amount, self._now_us())

    def _close(self, call_id: str) -> list[_Taken]:
        return self._calls.pop(call_id, [])

    def _window(self, demand: Demand) -> SlidingWindow:
        window = self._windows.get(demand.key)
        if window is None:
            self._sweep()
            window = self._windows[demand.key] = SlidingWindow(demand.window_s)
        return window

    def _budget(self, demand: Demand) -> _Budget:
        budget = self._budgets.get(demand.key)
        if budget is None:
            self._sweep()
            since = self._since.setdefault(demand.rule, self._now_us() // 1000)
            budget = _Budget(demand.end_ms, seeded=since <= demand.start_ms)
            self._budgets[demand.key] = budget
        return budget

    def _sweep(self) -> None:
        """Forget counters that count nothing any more, each time that there are twice as many as were left."""
        if len(self._windows) + len(self._budgets) < self._sweep_at:
            return
        now = self._now_us()
        self._windows = {name: window for name, window in self._windows.items() if window.used(now)}
        self._budgets = {name: each for name, each in self._budgets.items() if now // 1000 < each.end_ms}
        self._sweep_at = max(_SWEEP_AT, 2 * (len(self._windows) + len(self._budgets)))


def _amount(demand: Demand, amounts: Amounts) -> int:
    if demand.kind == "tokens":
        return amounts.tokens
    return amounts.nano if demand.kind in {"hard", "soft"} else 1
