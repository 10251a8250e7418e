"""Tells budgets what was spent before they were first counted."""

import asyncio
from collections.abc import Awaitable, Callable

from signalbox.common.errors import Unavailable
from signalbox.llm_gateway.admission.counters import Counters
from signalbox.llm_gateway.admission.demands import Demand
from signalbox.llm_gateway.admission.spending import Spending

WAIT_S = 2.0
"""How long a call waits for what was spent to be read."""

_ROUNDS = 5
_PICO_IN_NANO = 1000


class Seeding:
    """Reads the ledger once for all calls that wait for a budget.

    ``opened`` returns when budgets are counted again after Redis was emptied.
    """

    def __init__(
        self, counters: Counters, spending: Spending, opened: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._counters = counters
        self._spending = spending
        self._opened = opened
        self._running: dict[str, asyncio.Task[None]] = {}

    async def seed(self, budget: Demand) -> None:
        """Return when the budget knows what was spent.

        Raises:
            Unavailable: it cannot be told now.
        """
        task = self._running.get(budget.key)
        if task is None:
            task = self._running[budget.key] = asyncio.create_task(self._seed(budget))
            task.add_done_callback(lambda ended: self._ended(budget.key, ended))
        try:
            async with asyncio.timeout(WAIT_S):
                await asyncio.shield(task)
        except TimeoutError:
            raise Unavailable("what was spent cannot be read in time") from None

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        del self._running[key]
        # Those who waited have been told; when nobody waits any more, nobody asks.
        if not task.cancelled():
            task.exception()

    async def opened(self) -> None:
        """Return when budgets may be counted again.

        Raises:
            Unavailable: they are not soon.
        """
        if self._opened is not None:
            await self._opened()

    async def _seed(self, budget: Demand) -> None:
        scope = budget.scope
        if scope is None:
            return
        for _ in range(_ROUNDS):
            counted = await self._counters.counted(budget)
            spent = await self._spending.spent_pico(scope, budget.start_ms, budget.end_ms, counted)
            if await self._counters.seed(budget, len(counted), -(-spent // _PICO_IN_NANO)):
                return
        raise Unavailable("what was spent changes faster than it can be read")
