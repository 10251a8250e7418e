"""The counters behind one limit: units in a sliding window, and units held in parallel."""

from collections import deque
from typing import Protocol

from signalbox.common.cache.limits import COUNTED_BUCKETS
from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.ports import PARALLEL_RETRY_MS


class Counter(Protocol):
    """Units of one limit; all moments are microseconds of one clock."""

    @property
    def empty_at_us(self) -> int:
        """When everything taken so far is counted no longer."""
        ...

    def used(self, now: int) -> int:
        """Units counted now."""
        ...

    def wait_us(self, missing: int, now: int) -> int:
        """Microseconds until `missing` units are free."""
        ...

    def take(self, name: str, amount: int, now: int, ttl_ms: int) -> int | str:
        """Count `amount` units from now on; returns the place that `settle` wants back."""
        ...

    def settle(self, place: int | str, amount: int, actual: int | None, now: int) -> None:
        """Correct what was taken to the actual amount (None leaves it)."""
        ...


class WindowUnits:
    """At most 61 buckets of `width_us` each, oldest first, empty ones left out."""

    def __init__(self, width_us: int) -> None:
        self._width_us = width_us
        self._buckets: deque[list[int]] = deque()
        self._used = 0
        self.empty_at_us = 0

    def used(self, now: int) -> int:
        """See `Counter.used`."""
        gone = now // self._width_us - COUNTED_BUCKETS
        while self._buckets and self._buckets[0][0] <= gone:
            self._used -= self._buckets.popleft()[1]
        return self._used

    def wait_us(self, missing: int, now: int) -> int:
        """See `Counter.wait_us`."""
        for bucket, count in self._buckets:
            missing -= count
            if missing <= 0:
                return (bucket + COUNTED_BUCKETS) * self._width_us - now
        return self._width_us

    def take(self, name: str, amount: int, now: int, ttl_ms: int) -> int:  # noqa: ARG002 - the port's signature
        """See `Counter.take`; the place is the bucket's number."""
        bucket = now // self._width_us
        if not self._buckets or self._buckets[-1][0] != bucket:
            self._buckets.append([bucket, 0])
        self._buckets[-1][1] += amount
        self._used += amount
        self.empty_at_us = (bucket + COUNTED_BUCKETS) * self._width_us
        return bucket

    def settle(self, place: int | str, amount: int, actual: int | None, now: int) -> None:
        """See `Counter.settle`; nothing happens once the bucket has left the window."""
        if actual is None:
            return
        self.used(now)
        for entry in self._buckets:
            if entry[0] == place:
                entry[1] += actual - amount
                self._used += actual - amount


class ParallelUnits:
    """Units by name, each with the moment at which it expires."""

    def __init__(self) -> None:
        self._amounts: dict[str, int] = {}
        self._expiries = Expiries()
        self._used = 0
        self.empty_at_us = 0

    def used(self, now: int) -> int:
        """See `Counter.used`."""
        for name in self._expiries.due(now):
            self._used -= self._amounts.pop(name)
        return self._used

    def wait_us(self, missing: int, now: int) -> int:
        """See `Counter.wait_us`; a longer wait than `PARALLEL_RETRY_MS` is never named."""
        moments = sorted((self._expiries.get(name) or 0, amount) for name, amount in self._amounts.items())
        for moment, amount in moments:
            missing -= amount
            if missing <= 0:
                return min(int(moment) - now, PARALLEL_RETRY_MS * 1000)
        return 0

    def take(self, name: str, amount: int, now: int, ttl_ms: int) -> str:
        """See `Counter.take`; the place is the name."""
        expires = now + ttl_ms * 1000
        self._amounts[name] = amount
        self._expiries.set(name, expires)
        self._used += amount
        self.empty_at_us = max(self.empty_at_us, expires)
        return name

    def settle(self, place: int | str, amount: int, actual: int | None, now: int) -> None:  # noqa: ARG002
        """See `Counter.settle`; the units are freed, whatever was used."""
        self.used(now)
        freed = self._amounts.pop(str(place), 0)
        self._expiries.forget(str(place))
        self._used -= freed
