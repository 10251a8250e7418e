"""What a run may use, and what it has used: model calls, tokens, cost, time, tool calls."""

import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from signalbox.common.context import current_deadline
from signalbox.contracts.config import Budget, LlmLimits
from signalbox.contracts.events import UsageData
from signalbox.skills.errors import OutOfTime

_RESERVE_S = 0.5
_RESERVE_SHARE = 0.1


@dataclass(slots=True)
class Spent:
    """What was used so far."""

    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    priced: bool = False


class Meter:
    """The limits of one run. A subtask has its own, and what it uses counts against its parent's too.

    A little of the caller's time is kept back, so that a run that is late can still say what it has.
    """

    def __init__(
        self, budget: Budget, *, limits: LlmLimits | None = None, parent: "Meter | None" = None
    ) -> None:
        now = self._began = time.monotonic()
        self._before = 0.0
        self.spent = Spent()
        self._budget = budget
        self._limits = limits or LlmLimits(calls_per_turn=1000)
        self._parent = parent
        # A subtask keeps a little of its parent's time back, so that the parent can say what it has too.
        deadline, ends = (
            (now + current_deadline().remaining(), None) if parent is None else parent.given_until()
        )
        self._deadline = _less_reserve(now, deadline)
        own = [] if budget.seconds is None else [now + budget.seconds]
        parents = [] if ends is None else [_less_reserve(now, ends)]
        self._end: float | None = min(own + parents, default=None)

    def given_until(self) -> tuple[float, float | None]:
        """When the caller's time ends and when the budget's does, on the monotonic clock."""
        return self._deadline, self._end

    @property
    def seconds(self) -> float:
        """How long the run has worked so far, earlier attempts included; not how long it waited in between."""
        return time.monotonic() - self._began + self._before

    def charge_time(self, seconds: float) -> None:
        """Count what earlier attempts took, all together; of two counts the longer one holds."""
        longer = seconds - self._before
        if longer > 0:
            self._before = seconds
            if self._budget.seconds is not None:
                own = self._began + self._budget.seconds - seconds
                self._end = own if self._end is None else min(self._end, own)

    def charge(self, usage: UsageData) -> None:
        """Count one model call."""
        spent = self.spent
        spent.model_calls += 1
        spent.input_tokens += usage.input_tokens
        spent.output_tokens += usage.output_tokens
        if usage.cost is not None:
            try:
                spent.cost += Decimal(usage.cost)
                spent.priced = True
            except InvalidOperation:
                pass
        if self._parent is not None:
            self._parent.charge(usage)

    def charge_tools(self, calls: int) -> None:
        """Count tool calls."""
        self.spent.tool_calls += calls
        if self._parent is not None:
            self._parent.charge_tools(calls)

    def exceeded(self, tool_calls: int = 0) -> Literal["budget", "deadline"] | None:
        """Why nothing more may be begun, were ``tool_calls`` more made; None when something may."""
        budget, spent = self._budget, self.spent
        tokens = spent.input_tokens + spent.output_tokens
        over = (
            spent.model_calls >= self._limits.calls_per_turn
            or (budget.tokens is not None and tokens >= budget.tokens)
            or (self._limits.tokens_per_turn is not None and tokens >= self._limits.tokens_per_turn)
            or (budget.cost is not None and spent.cost >= budget.cost)
            or (budget.tool_calls is not None and spent.tool_calls + tool_calls > budget.tool_calls)
        )
        if over:
            return "budget"
        try:
            self.time_left()
        except OutOfTime as error:
            return "deadline" if error.reason == "deadline" else "budget"
        return self._parent.exceeded(tool_calls) if self._parent is not None else None

    def time_left(self) -> float:
        """Seconds until the budget or the deadline ends the run.

        Raises:
            OutOfTime: there are none.
        """
        now = time.monotonic()
        if self._end is not None and self._end < self._deadline:
            if self._end <= now:
                raise OutOfTime("budget")
            return self._end - now
        if self._deadline <= now:
            raise OutOfTime("deadline")
        return self._deadline - now

    def out_of_time(self) -> OutOfTime:
        """The error for work that was cut off by ``time_left``."""
        by_budget = self._end is not None and self._end < self._deadline
        return OutOfTime("budget" if by_budget else "deadline")


def _less_reserve(now: float, end: float) -> float:
    left = end - now
    return end - min(_RESERVE_S, left * _RESERVE_SHARE) if left > 0 else end


def joined(own: Budget, given: Budget) -> Budget:
    """A skill's own budget with what a subtask's replaces of it."""
    return own.model_copy(update=given.model_dump(exclude_none=True))
