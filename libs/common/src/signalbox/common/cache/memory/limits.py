"""Limits in this process; the same arithmetic as ``redis/lua/limits.lua``."""

from collections.abc import Callable, Sequence

from signalbox.common.cache.limits import bucket_width_us, check_actuals, check_requests, new_token
from signalbox.common.cache.memory.counters import Counter, ParallelUnits, WindowUnits
from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.ports import NEVER_MS, LimitRequest, Reservation
from signalbox.common.record import record


@record
class _Taken:
    counter: Counter
    place: int | str
    amount: int


class MemoryLimits:
    """`Limits` whose counters are forgotten when nothing is counted in them anymore.

    Memory is bounded by what was reserved within the longest window or time to live.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counters: dict[str, Counter] = {}
        self._counters_expire = Expiries()
        self._records: dict[str, list[_Taken]] = {}
        self._records_expire = Expiries()

    def __len__(self) -> int:
        """Counters and open reservations kept now."""
        return len(self._counters) + len(self._records)

    async def reserve(self, requests: Sequence[LimitRequest]) -> Reservation:
        """See `Limits.reserve`."""
        check_requests(requests)
        now = self._now()
        token = new_token()
        counters = [self._counter(request, now) for request in requests]
        taken: dict[Counter, int] = {}
        for index, (request, counter) in enumerate(zip(requests, counters, strict=True)):
            needed = taken.get(counter, 0) + request.amount
            missing = counter.used(now) + needed - request.limit
            if missing > 0:
                wait_ms = NEVER_MS
                if request.amount <= request.limit:
                    wait_ms = max(1, -(-counter.wait_us(missing, now) // 1000))
                return Reservation(granted=False, token=token, refused=index, retry_after_ms=wait_ms)
            taken[counter] = needed
        record = []
        for index, (request, counter) in enumerate(zip(requests, counters, strict=True)):
            place = counter.take(f"{token}:{index}", request.amount, now, request.ttl_ms)
            record.append(_Taken(counter, place, request.amount))
            self._counters_expire.set(_key(request), counter.empty_at_us)
        if record:
            self._records[token] = record
            self._records_expire.set(token, max(counter.empty_at_us for counter in counters))
        return Reservation(granted=True, token=token)

    async def settle(self, token: str, actuals: Sequence[int | None]) -> None:
        """See `Limits.settle`."""
        check_actuals(actuals)
        now = self._now()
        for index, taken in enumerate(self._close(token)):
            actual = actuals[index] if index < len(actuals) else None
            taken.counter.settle(taken.place, taken.amount, actual, now)

    async def release(self, token: str) -> None:
        """See `Limits.release`."""
        now = self._now()
        for taken in self._close(token):
            taken.counter.settle(taken.place, taken.amount, 0, now)

    async def used(self, requests: Sequence[LimitRequest]) -> list[int]:
        """See `Limits.used`."""
        now = self._now()
        counters = (self._counters.get(_key(request)) for request in requests)
        return [counter.used(now) if counter is not None else 0 for counter in counters]

    def _now(self) -> int:
        now = int(self._clock() * 1_000_000)
        for key in self._counters_expire.due(now):
            del self._counters[key]
        for token in self._records_expire.due(now):
            del self._records[token]
        return now

    def _counter(self, request: LimitRequest, now: int) -> Counter:
        key = _key(request)
        counter = self._counters.get(key)
        if counter is None:
            window = request.kind == "window"
            counter = WindowUnits(bucket_width_us(request.window_s)) if window else ParallelUnits()
            self._counters[key] = counter
            # Forgotten at the next call unless something is taken from it in this one.
            self._counters_expire.set(key, now)
        return counter

    def _close(self, token: str) -> list[_Taken]:
        self._records_expire.forget(token)
        return self._records.pop(token, [])


def _key(request: LimitRequest) -> str:
    return f"w:{request.window_s}:{request.key}" if request.kind == "window" else f"p:{request.key}"
