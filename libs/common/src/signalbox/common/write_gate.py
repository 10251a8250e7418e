"""The gate that the writes of one turn go through, so that a turn is never stopped in the middle of one.

Who makes a write (Tools, Skills) holds the turn's gate meanwhile; who stops the turn (Workflow) closes the gate first:
it waits for the write that is in flight, and no other begins. The gate is a lease, so that it works between processes
and costs a write one round trip before it. While the cache is down writes are made without it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from signalbox.common.cache import Leases, Place, key
from signalbox.common.context import current_deadline
from signalbox.common.errors import Conflict, Unavailable
from signalbox.common.ids import new_id

_CLOSER = "stop"
_CLOSED_MS = 600_000
"""How long a gate stays closed: longer than anything of the turn may still be on its way."""
_HELD_MS = 6_000
"""How long a gate stays taken when the process of a write dies."""
_RENEW_S = 2.0
_LOOK_AGAIN_MS = 1_000


class TurnStopped(Conflict):
    """The turn is being stopped: the write was not begun."""

    code = "turn_stopped"
    title = "Turn stopped"

    def __init__(self) -> None:
        super().__init__("The turn was stopped before this write began; nothing was written.")


class WriteGate:
    """Gates of turns, over the leases of a cache."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    @asynccontextmanager
    async def write(self, tenant: str, turn_id: str) -> AsyncIterator[None]:
        """Hold the turn's gate during a write; the writes of one turn go one after the other.

        Raises:
            TurnStopped: the turn is being stopped.
        """
        lease, holder = _lease(tenant, turn_id), f"write/{new_id('w')}"
        renewing: asyncio.Task[None] | None = None
        with suppress(Unavailable):
            await self._enter(lease, holder)
            renewing = asyncio.create_task(self._renew(lease, holder))
        try:
            yield
        finally:
            if renewing is not None:
                renewing.cancel()
                with suppress(Unavailable):
                    await asyncio.shield(self._leases.release(lease, holder))

    async def close(self, tenant: str, turn_id: str, within_s: float) -> bool:
        """Wait for the write that is in flight and let no other begin; false when it took longer than it may."""
        lease, loop = _lease(tenant, turn_id), asyncio.get_running_loop()
        until = loop.time() + within_s
        # It stands in line, so that it comes before the turn's next write.
        place = Place(_CLOSER, stands=True)
        with suppress(Unavailable):
            while not (await self._leases.acquire(lease, _CLOSER, _CLOSED_MS, None, place)).acquired:
                left_ms = int((until - loop.time()) * 1000)
                if left_ms <= 0:
                    await self._leases.release(lease, _CLOSER, None, _CLOSER)
                    return False
                await self._leases.wait(lease, min(left_ms, _LOOK_AGAIN_MS), _CLOSER)
        return True

    async def reopen(self, tenant: str, turn_id: str) -> None:
        """Undo ``close``, whether it has closed the gate or stands in line: the turn goes on elsewhere."""
        with suppress(Unavailable):
            await self._leases.release(_lease(tenant, turn_id), _CLOSER, None, _CLOSER)

    async def _enter(self, lease: str, holder: str) -> None:
        deadline = current_deadline()
        while True:
            grant = await self._leases.acquire(lease, holder, _HELD_MS)
            if grant.acquired:
                return
            if grant.holder == _CLOSER:
                raise TurnStopped
            left = deadline.check("this write")
            await self._leases.wait(lease, min(int(left * 1000), _LOOK_AGAIN_MS))

    async def _renew(self, lease: str, holder: str) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            with suppress(Unavailable):
                await self._leases.renew(lease, holder, _HELD_MS)


def _lease(tenant: str, turn_id: str) -> str:
    return key("writes", tenant, turn_id)
