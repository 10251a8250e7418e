"""The cache of one process."""

import time
from collections.abc import Callable

from signalbox.common.cache.memory.leases import MemoryLeases
from signalbox.common.cache.memory.logs import MemoryEventLogs
from signalbox.common.cache.memory.values import MemoryValues
from signalbox.common.cache.memory.windows import MemoryWindows

MAX_BYTES = 64 * 1024 * 1024


class MemoryCache:
    """A `Cache` for a single process and event loop.

    Values and event logs take at most `max_bytes` each; leases live as long as their own times
    say. `clock` returns seconds and never goes back.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._values = MemoryValues(clock, max_bytes)
        self._leases = MemoryLeases(clock, self._values)
        self._logs = MemoryEventLogs(clock, max_bytes)
        self._windows = MemoryWindows(clock)

    @property
    def values(self) -> MemoryValues:
        """Values with a TTL."""
        return self._values

    @property
    def leases(self) -> MemoryLeases:
        """Leases."""
        return self._leases

    @property
    def logs(self) -> MemoryEventLogs:
        """Event logs."""
        return self._logs

    @property
    def windows(self) -> MemoryWindows:
        """Counts of what happened lately."""
        return self._windows

    async def ping(self) -> None:
        """Nothing can be wrong with it."""

    async def close(self) -> None:
        """Nothing has to be freed."""
