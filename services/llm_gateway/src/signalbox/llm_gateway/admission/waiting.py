"""Calls that wait for a limit to have room, instead of being refused."""

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from signalbox.llm_gateway.admission.counters import UNKNOWN_MS
from signalbox.llm_gateway.admission.demands import DemandSet

AT_MOST = 1000
"""Calls of one process that wait at a time; more are refused at once."""

PARALLEL_LOOK_S = 0.25
"""How often the first in line looks whether another process has freed a slot; this one's own wake it at once."""


class Place:
    """A place in a line. The first in line tries; the others wait for it."""

    def __init__(self, line: "_Line", priority: int, number: int) -> None:
        self.rank = (-priority, number)
        self.may_try = asyncio.Event()
        self._line = line

    def __lt__(self, other: "Place") -> bool:
        return self.rank < other.rank

    async def turn(self, until: float) -> bool:
        """Wait until this call may try; false when the loop's time ``until`` came first."""
        try:
            async with asyncio.timeout_at(until):
                await self.may_try.wait()
        except TimeoutError:
            return False
        self.may_try.clear()
        return True

    def enter(self, ms: int | None) -> None:
        """The call has come, refused before with ``ms``, or else not tried yet because of those ahead of it."""
        if self._line.places[0] is not self:
            return
        if ms is None:
            self.may_try.set()
        else:
            self.refused(ms)

    def refused(self, ms: int) -> None:
        """There was no room: try again when there may be."""
        self._line.wake_in(PARALLEL_LOOK_S if ms == UNKNOWN_MS else ms / 1000)


class _Line:
    """The calls that wait for one limit: those of a higher priority first, then in the order in which they came."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Let the first one try."""
        if self.places:
            self.places[0].may_try.set()

    def wake_in(self, seconds: float) -> None:
        """Let the first one try after a time."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.wake)

    def stop(self) -> None:
        """Wake nobody."""
        if self._timer is not None:
            self._timer.cancel()


class WaitingRoom:
    """The lines of one process. ``on_change`` is told how many calls wait."""

    def __init__(self, on_change: Callable[[int], None] = lambda _: None, *, at_most: int = AT_MOST) -> None:
        self._lines: dict[str, _Line] = {}
        self._numbers = itertools.count()
        self._count = 0
        self._at_most = at_most
        self._on_change = on_change

    @property
    def is_empty(self) -> bool:
        """Whether no call waits."""
        return not self._count

    @property
    def is_full(self) -> bool:
        """Whether no further call may wait."""
        return self._count >= self._at_most

    def ahead(self, demands: DemandSet) -> str | None:
        """The limit that others wait for already, of those that a call would wait for too."""
        if not self._lines:
            return None
        return next(
            (demand.key for demand in demands.demands if demand.wait_s and demand.key in self._lines), None
        )

    def freed(self, demands: DemandSet) -> None:
        """A call with these demands has ended."""
        if self._lines:
            for demand in demands.demands:
                line = self._lines.get(demand.key)
                if line is not None:
                    line.wake()

    @contextmanager
    def place(self, key: str, priority: int) -> Iterator[Place]:
        """A place in the line for a limit, left with the block; who comes next tries then."""
        line = self._lines.setdefault(key, _Line())
        place = Place(line, priority, next(self._numbers))
        insort(line.places, place)
        self._changed(1)
        try:
            yield place
        finally:
            was_first = line.places[0] is place
            line.places.remove(place)
            self._changed(-1)
            if not line.places:
                line.stop()
                del self._lines[key]
            elif was_first:
                line.wake()

    def _changed(self, by: int) -> None:
        self._count += by
        self._on_change(self._count)
