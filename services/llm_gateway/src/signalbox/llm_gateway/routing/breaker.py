"""A circuit breaker: a deployment that fails is left alone, and tried by one attempt at a time until it answers."""

from collections import deque
from typing import Literal

from signalbox.llm_gateway.routing.rules import BreakerRule

BreakerState = Literal["closed", "half_open", "open"]

_BUCKETS = 10


class Breaker:
    """Counts how attempts end. All times are seconds on one monotonic clock that the caller reads."""

    def __init__(self, rule: BreakerRule) -> None:
        self._rule = rule
        self._bucket_s = rule.window_s / _BUCKETS
        self._buckets: deque[list[int]] = deque()
        """Number of the time slice, answers, failures."""
        self._in_a_row = 0
        self._opened_at: float | None = None
        self.is_closed = True
        self._probing = False

    def state(self, now: float) -> BreakerState:
        """Whether attempts go through (closed), one does (half open), or none."""
        if self._opened_at is None:
            return "closed"
        return "open" if self.probe_in_s(now) > 0 else "half_open"

    def admits(self, now: float) -> bool:
        """Whether an attempt may begin."""
        return self._opened_at is None or (self.probe_in_s(now) <= 0 and not self._probing)

    def probe_in_s(self, now: float) -> float:
        """Seconds until an attempt may try whether the deployment answers; 0 where one may now."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + self._rule.open_s - now)

    def begin(self) -> bool:
        """An attempt begins, whether or not it was admitted. True: it is the one that tries an open circuit."""
        if self._opened_at is None or self._probing:
            return False
        self._probing = True
        return True

    def release(self) -> None:
        """The attempt that tried the circuit ended without an answer and without a failure."""
        self._probing = False

    def answered(self, now: float, began_at: float) -> bool:
        """An attempt was answered. True: that closed the circuit."""
        if self._opened_at is None:
            self._in_a_row = 0
            self._bucket(now)[1] += 1
            return False
        if began_at < self._opened_at:
            return False
        self._opened_at = None
        self.is_closed = True
        self._in_a_row = 0
        self._buckets.clear()
        return True

    def failed(self, now: float, began_at: float) -> bool:
        """An attempt failed by the deployment's fault. True: that opened the circuit, or opened it anew."""
        if self._opened_at is not None:
            if began_at < self._opened_at:
                return False
            self._opened_at = now
            return True
        self._in_a_row += 1
        self._bucket(now)[2] += 1
        if self._in_a_row < self._rule.consecutive and not self._fails_too_often(now):
            return False
        self._opened_at = now
        self.is_closed = False
        return True

    def _fails_too_often(self, now: float) -> bool:
        oldest = int(now / self._bucket_s) - _BUCKETS
        recent = [bucket for bucket in self._buckets if bucket[0] > oldest]
        failures = sum(bucket[2] for bucket in recent)
        calls = failures + sum(bucket[1] for bucket in recent)
        return calls >= self._rule.min_calls and failures / calls >= self._rule.failure_rate

    def _bucket(self, now: float) -> list[int]:
        slice_number = int(now / self._bucket_s)
        if not self._buckets or self._buckets[-1][0] != slice_number:
            self._buckets.append([slice_number, 0, 0])
            if len(self._buckets) > _BUCKETS:
                self._buckets.popleft()
        return self._buckets[-1]
