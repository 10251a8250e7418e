"""Event logs in this process."""

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from signalbox.common.cache.logs import check_first_id
from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.wakeups import Wakeups

OVERHEAD_BYTES = 120
"""What one event takes beside its bytes."""


@dataclass(slots=True)
class _Log:
    numbers: list[int] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, event: bytes) -> int:
        self.numbers.append(number)
        self.events.append(event)
        self.size += len(event) + OVERHEAD_BYTES
        return len(event) + OVERHEAD_BYTES

    def drop_oldest(self, excess: int) -> int:
        """Drop whole events until `excess` bytes are free; returns what was freed."""
        freed = count = 0
        while freed < excess and count < len(self.events):
            freed += len(self.events[count]) + OVERHEAD_BYTES
            count += 1
        del self.events[:count], self.numbers[:count]
        self.size -= freed
        return freed


class MemoryEventLogs:
    """`EventLogs` in at most `max_bytes`.

    When they take more, whole logs go, those first that were not appended to for the longest time; a single
    log that takes more loses its oldest events.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._expiries = Expiries()
        self._wakeups = Wakeups()
        self.size = 0
        """Bytes taken now."""

    async def append(self, log: str, first_id: int, events: Sequence[bytes], ttl_ms: int) -> None:
        """See `EventLogs.append`."""
        check_first_id(first_id)
        if not events:
            return
        self._expire()
        entries = self._logs.setdefault(log, _Log())
        self._logs.move_to_end(log)
        last = entries.numbers[-1] if entries.numbers else 0
        for number, event in enumerate(events, first_id):
            if number > last:
                self.size += entries.add(number, event)
        self._expiries.set(log, self._clock() + ttl_ms / 1000)
        self._shrink(log)
        self._wakeups.wake(log)

    async def read(self, log: str, after: int, wait_ms: int = 0) -> list[tuple[int, bytes]]:
        """See `EventLogs.read`."""
        found = self._above(log, after)
        if found or wait_ms <= 0:
            return found
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms / 1000
        while not found and (left := deadline - loop.time()) > 0:
            event, _ = self._wakeups.join(log)
            try:
                async with asyncio.timeout(left):
                    await event.wait()
            except TimeoutError:
                pass
            finally:
                self._wakeups.leave(log, event)
            found = self._above(log, after)
        return found

    async def bounds(self, log: str) -> tuple[int, int] | None:
        """See `EventLogs.bounds`."""
        self._expire()
        entries = self._logs.get(log)
        return (entries.numbers[0], entries.numbers[-1]) if entries and entries.numbers else None

    async def delete(self, *logs: str) -> None:
        """See `EventLogs.delete`."""
        for log in logs:
            entries = self._logs.pop(log, None)
            if entries is not None:
                self._expiries.forget(log)
                self.size -= entries.size

    def _above(self, log: str, after: int) -> list[tuple[int, bytes]]:
        self._expire()
        entries = self._logs.get(log)
        if entries is None:
            return []
        start = bisect_right(entries.numbers, after)
        return list(zip(entries.numbers[start:], entries.events[start:], strict=True))

    def _expire(self) -> None:
        for log in self._expiries.due(self._clock()):
            self.size -= self._logs.pop(log).size

    def _shrink(self, appended: str) -> None:
        while self.size > self._max_bytes:
            log = next(iter(self._logs))
            if log == appended:
                self.size -= self._logs[log].drop_oldest(self.size - self._max_bytes)
                return
            self._expiries.forget(log)
            self.size -= self._logs.pop(log).size
