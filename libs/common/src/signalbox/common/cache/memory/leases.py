"""Leases in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.memory.values import MemoryValues
from signalbox.common.cache.ports import Grant, LeaseState, Place, StoredValue
from signalbox.common.cache.wakeups import Wakeups

SHORTEST_WAIT_S = 0.001
HANDED_S = 1.0
"""How long a lease stays handed to somebody who does not come for it."""


@dataclass(slots=True)
class _Lease:
    holder: str
    cancel_requested: bool = False


@dataclass(slots=True)
class _Standing:
    """A process in a line: nobody else dies in this process, so that a place is never lost."""

    waiting: int = 0
    holder: str | None = None


class MemoryLeases:
    """`Leases` that read and write the values of the same cache."""

    def __init__(self, clock: Callable[[], float], values: MemoryValues) -> None:
        self._clock = clock
        self._values = values
        self._leases: dict[str, _Lease] = {}
        self._expiries = Expiries()
        self._wakeups = Wakeups()
        self._lines: dict[str, dict[str, _Standing]] = {}
        self._asked: set[str] = set()

    def __len__(self) -> int:
        return len(self._leases)

    async def acquire(
        self, lease: str, holder: str, ttl_ms: int, read: str | None = None, place: Place | None = None
    ) -> Grant:
        """See `Leases.acquire`."""
        current = self._current(lease) or self._hand_over(lease)
        if current is None:
            current = self._leases[lease] = _Lease(holder)
        acquired = current.holder == holder
        if acquired:
            self._expiries.set(lease, self._clock() + ttl_ms / 1000)
        full = False
        if place is not None and acquired:
            self._note(lease, place.process, place.behind, None)
        elif place is not None and place.stands:
            full = 0 < place.limit < self._others(lease, place.process) + place.behind + 1
            if not full:
                self._note(lease, place.process, place.behind + 1, holder)
        value = self._values.read(read) if read is not None else None
        return Grant(acquired=acquired, holder=current.holder, value=value, full=full)

    async def stand(self, lease: str, process: str, waiting: int, limit: int) -> bool:
        """See `Leases.stand`."""
        if self._others(lease, process) + waiting > limit:
            return False
        standing = self._lines.get(lease, {}).get(process)
        self._note(lease, process, waiting, standing.holder if standing else None)
        return True

    async def renew(
        self, lease: str, holder: str, ttl_ms: int, process: str = "", waiting: int = 0
    ) -> LeaseState:
        """See `Leases.renew`."""
        current = self._current(lease)
        if current is None or current.holder != holder:
            return LeaseState(held=False, cancel_requested=False)
        if process and waiting:
            self._note(lease, process, waiting, None)
        self._expiries.set(lease, self._clock() + ttl_ms / 1000)
        return LeaseState(held=True, cancel_requested=current.cancel_requested)

    async def release(
        self, lease: str, holder: str, put: StoredValue | None = None, process: str = ""
    ) -> bool:
        """See `Leases.release`."""
        standing = self._lines.get(lease, {}).get(process)
        if standing is not None and standing.holder == holder:
            self._note(lease, process, standing.waiting - 1, None)
        current = self._current(lease)
        if current is None or current.holder != holder:
            return False
        del self._leases[lease]
        self._expiries.forget(lease)
        if put is not None:
            self._values.write(put)
        if self._hand_over(lease) is None:
            self._wakeups.wake(lease)
        return True

    async def request_cancel(self, lease: str, what: str = "") -> bool:
        """See `Leases.request_cancel`."""
        current = self._current(lease)
        if current is None:
            return False
        process, _, named = current.holder.partition("/")
        if what not in ("", named):
            return False
        current.cancel_requested = True
        self._asked.add(process)
        self._wakeups.wake(_mailbox(process))
        return True

    async def cancels(self, process: str, timeout_ms: int) -> bool:
        """See `Leases.cancels`."""
        if process not in self._asked:
            await self._woken(_mailbox(process), timeout_ms / 1000)
        if process not in self._asked:
            return False
        self._asked.remove(process)
        return True

    async def wait(self, lease: str, timeout_ms: int, holder: str = "") -> bool:
        """See `Leases.wait`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while (current := self._current(lease)) is not None and current.holder != holder:
            left = deadline - loop.time()
            if left <= 0:
                return False
            expires = self._expiries.get(lease) or 0
            await self._woken(lease, min(left, max(expires - self._clock(), SHORTEST_WAIT_S)))
        return True

    async def _woken(self, channel: str, timeout_s: float) -> None:
        event, _ = self._wakeups.join(channel)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._wakeups.leave(channel, event)

    def _note(self, lease: str, process: str, waiting: int, holder: str | None) -> None:
        """How many wait in a process, and who takes the lease next for it; a process keeps its place in the line."""
        line = self._lines.setdefault(lease, {})
        if waiting <= 0 and holder is None:
            line.pop(process, None)
        else:
            if holder is not None and (process not in line or line[process].holder != holder):
                line.pop(process, None)
            line[process] = _Standing(waiting, holder)
        if not line:
            del self._lines[lease]

    def _others(self, lease: str, process: str) -> int:
        line = self._lines.get(lease, {})
        return sum(standing.waiting for name, standing in line.items() if name != process)

    def _hand_over(self, lease: str) -> _Lease | None:
        """Give a free lease to who has waited longest."""
        line = self._lines.get(lease, {})
        holder = next((standing.holder for standing in line.values() if standing.holder is not None), None)
        if holder is None:
            return None
        handed = self._leases[lease] = _Lease(holder)
        self._expiries.set(lease, self._clock() + HANDED_S)
        self._wakeups.wake(lease)
        return handed

    def _current(self, lease: str) -> _Lease | None:
        for expired in self._expiries.due(self._clock()):
            del self._leases[expired]
        return self._leases.get(lease)


def _mailbox(process: str) -> str:
    return f"stop:{process}"
