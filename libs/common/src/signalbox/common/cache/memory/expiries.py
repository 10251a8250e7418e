"""When things expire, found without a scan."""

import heapq
from collections.abc import Iterator

STALE_ALLOWED = 64


class Expiries:
    """A moment for each key, in whatever unit the caller's clock has.

    A heap with the entries of changed keys left in it; rebuilt when they outnumber the others, so memory
    stays proportional to the number of keys and each operation costs O(log n) on average.
    """

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._moments)

    def set(self, key: str, moment: float) -> None:
        """Let the key expire at `moment`, whatever was set before."""
        if self._moments.get(key) == moment:
            return
        self._moments[key] = moment
        if len(self._heap) > 2 * len(self._moments) + STALE_ALLOWED:
            self._heap = [(at, name) for name, at in self._moments.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (moment, key))

    def get(self, key: str) -> float | None:
        """When the key expires, or None for one that is not here."""
        return self._moments.get(key)

    def forget(self, key: str) -> None:
        """The key does not expire anymore."""
        self._moments.pop(key, None)

    def due(self, now: float) -> Iterator[str]:
        """Take out, earliest first, the keys whose moment has come."""
        heap, moments = self._heap, self._moments
        while heap and heap[0][0] <= now:
            moment, key = heapq.heappop(heap)
            if moments.get(key) == moment:
                del moments[key]
                yield key
