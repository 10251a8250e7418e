"""Leases in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.memory.values import MemoryValues
from signalbox.common.cache.ports import Grant, LeaseState, StoredValue
from signalbox.common.cache.wakeups import Wakeups

SHORTEST_WAIT_S = 0.001


@dataclass(slots=True)
class _Lease:
    holder: str
    cancel_requested: bool = False


class MemoryLeases:
    """`Leases` that read and write the values of the same cache."""

    def __init__(self, clock: Callable[[], float], values: MemoryValues) -> None:
        self._clock = clock
        self._values = values
        self._leases: dict[str, _Lease] = {}
        self._expiries = Expiries()
        self._wakeups = Wakeups()

    def __len__(self) -> int:
        return len(self._leases)

    async def acquire(self, lease: str, holder: str, ttl_ms: int, read: str | None = None) -> Grant:
        """See `Leases.acquire`."""
        current = self._current(lease)
        if current is None:
            current = self._leases[lease] = _Lease(holder)
        acquired = current.holder == holder
        if acquired:
            self._expiries.set(lease, self._clock() + ttl_ms / 1000)
        value = self._values.read(read) if read is not None else None
        return Grant(acquired=acquired, holder=current.holder, value=value)

    async def renew(self, lease: str, holder: str, ttl_ms: int) -> LeaseState:
        """See `Leases.renew`."""
        current = self._current(lease)
        if current is None or current.holder != holder:
            return LeaseState(held=False, cancel_requested=False)
        self._expiries.set(lease, self._clock() + ttl_ms / 1000)
        return LeaseState(held=True, cancel_requested=current.cancel_requested)

    async def release(self, lease: str, holder: str, put: StoredValue | None = None) -> bool:
        """See `Leases.release`."""
        current = self._current(lease)
        if current is None or current.holder != holder:
            return False
        del self._leases[lease]
        self._expiries.forget(lease)
        if put is not None:
            self._values.write(put)
        self._wakeups.wake(lease)
        return True

    async def request_cancel(self, lease: str) -> bool:
        """See `Leases.request_cancel`."""
        current = self._current(lease)
        if current is None:
            return False
        current.cancel_requested = True
        return True

    async def wait(self, lease: str, timeout_ms: int) -> bool:
        """See `Leases.wait`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while self._current(lease) is not None:
            left = deadline - loop.time()
            if left <= 0:
                return False
            expires = self._expiries.get(lease) or 0
            event, _ = self._wakeups.join(lease)
            try:
                async with asyncio.timeout(min(left, max(expires - self._clock(), SHORTEST_WAIT_S))):
                    await event.wait()
            except TimeoutError:
                continue
            finally:
                self._wakeups.leave(lease, event)
            return True
        return True

    def _current(self, lease: str) -> _Lease | None:
        for expired in self._expiries.due(self._clock()):
            del self._leases[expired]
        return self._leases.get(lease)
