"""A sliding window of one process: the same buckets as ``redis/lua/turn.lua``."""

from collections import deque

BUCKETS_PER_WINDOW = 60

COUNTED_BUCKETS = BUCKETS_PER_WINDOW + 1
"""The current bucket and the 60 before it: they cover a whole window at any moment inside the current one."""


def bucket_width_us(window_s: int) -> int:
    """Microseconds in one bucket, rounded up so that 60 of them are never shorter than the window."""
    return -(-window_s * 1_000_000 // BUCKETS_PER_WINDOW)


class SlidingWindow:
    """At most 61 buckets, oldest first, empty ones left out. All moments are microseconds of one clock."""

    def __init__(self, window_s: int) -> None:
        self._width_us = bucket_width_us(window_s)
        self._buckets: deque[list[int]] = deque()
        self._used = 0

    def used(self, now: int) -> int:
        """Units counted now."""
        gone = now // self._width_us - COUNTED_BUCKETS
        while self._buckets and self._buckets[0][0] <= gone:
            self._used -= self._buckets.popleft()[1]
        return self._used

    def wait_us(self, missing: int, now: int) -> int:
        """Microseconds until so many units are free."""
        for bucket, count in self._buckets:
            missing -= count
            if missing <= 0:
                return (bucket + COUNTED_BUCKETS) * self._width_us - now
        return self._width_us

    def take(self, amount: int, now: int) -> int:
        """Count so many units; returns their place, which ``change`` wants back."""
        bucket = now // self._width_us
        if not self._buckets or self._buckets[-1][0] < bucket:
            self._buckets.append([bucket, 0])
        # A clock that was set back stands still until it catches up.
        self._buckets[-1][1] += amount
        self._used += amount
        return self._buckets[-1][0]

    def change(self, place: int, amount: int, now: int) -> None:
        """Correct what was taken; without effect once it has left the window."""
        self.used(now)
        for entry in self._buckets:
            if entry[0] == place:
                amount = max(amount, -entry[1])
                entry[1] += amount
                self._used += amount
