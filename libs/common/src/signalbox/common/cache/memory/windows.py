"""Sliding windows in this process."""

from collections.abc import Callable, Sequence

from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.ports import Window


class MemoryWindows:
    """`Windows` with a count for each second; a window is forgotten when nothing is left in it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[str, dict[int, int]] = {}
        self._expiries = Expiries()

    def __len__(self) -> int:
        return len(self._counts)

    async def count(self, windows: Sequence[Window], seconds: int) -> Window | None:
        """See `Windows.count`."""
        now = int(self._clock())
        for key in self._expiries.due(now):
            del self._counts[key]
        for window in windows:
            counts = self._counts.get(window.key, {})
            for second in [second for second in counts if second < now - seconds]:
                del counts[second]
            if sum(counts.values()) >= window.limit:
                return window
        for window in windows:
            counts = self._counts.setdefault(window.key, {})
            counts[now] = counts.get(now, 0) + 1
            self._expiries.set(window.key, now + seconds + 1)
        return None
