"""What must happen to idempotency keys from time to time: heartbeats and expiry."""

import asyncio
from collections.abc import Callable

from signalbox.llm_gateway.caching.idempotency.calls import IdempotentCalls
from signalbox.llm_gateway.caching.idempotency.repository import IdempotencyRepository
from signalbox.llm_gateway.periodic import every

_HEARTBEATS = 5
"""Heartbeats in the time after which a silent process is taken for dead."""

_EXPIRE_S = 60.0
_BATCH = 500


class IdempotencyKeeper:
    """Keeps the rows of keys true, on every replica.

    ``silent_s`` is that of ``IdempotentCalls``. ``alone``: no other process has this database, so what is owned at the
    start is owned by a dead one. ``clock`` gives epoch milliseconds.
    """

    def __init__(
        self,
        repository: IdempotencyRepository,
        calls: IdempotentCalls,
        clock: Callable[[], int],
        *,
        silent_s: float,
        alone: bool,
    ) -> None:
        self._repository = repository
        self._calls = calls
        self._clock = clock
        self._heartbeat_s = silent_s / _HEARTBEATS
        self._alone = alone
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            asyncio.create_task(every(seconds, work, "idempotency keys"), name=work.__name__)
            for seconds, work in ((self._heartbeat_s, self.heartbeat), (_EXPIRE_S, self.expire))
        ]

    async def stop(self) -> None:
        """Stop, when the ends of calls are written."""
        await self._calls.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def heartbeat(self) -> None:
        """Say that this process makes its calls."""
        if self._alone:
            await self._repository.free_others()
            self._alone = False
        claims = self._calls.claims()
        if claims:
            await self._repository.heartbeat(claims, self._clock())

    async def expire(self) -> None:
        """Delete what has expired, in batches."""
        while await self._repository.expire(self._clock(), _BATCH) == _BATCH:
            pass
