"""Lets budgets that are being counted know of what the costs of calls are corrected by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from signalbox.llm_gateway.admission.counters import Amounts, Counters, Used
from signalbox.llm_gateway.admission.demands import Demands, Spender
from signalbox.llm_gateway.admission.ticket import nano_of

_NO_ROW = b""


class CountedCorrections:
    """Counts a correction as a call that has ended and whose row is on its way to the ledger.

    So it is in a budget exactly once, whether that is told of what was spent before it or after it, and a Redis that
    is away or was emptied hears of it later.
    """

    def __init__(self, demands: Demands, counters: Counters, clock: Callable[[], int]) -> None:
        self._demands = demands
        self._counters = counters
        self._clock = clock

    @contextmanager
    def counted(self, correction_id: str, call: Spender, cost_pico: int, currency: str) -> Iterator[None]:
        """Around the writing of a correction; one that is not written is taken back."""
        demands = self._demands.budgets_of(call, currency, self._clock())
        if not demands.demands:
            yield
            return
        amounts = Amounts(0, nano_of(cost_pico))
        self._counters.assume(correction_id, demands, amounts, _NO_ROW)
        try:
            yield
        except BaseException:
            self._counters.give_back(correction_id)
            raise
        self._counters.settle(correction_id, Used(amounts), _NO_ROW)
        self._counters.forget([correction_id])
