"""The queue of one process: the tasks that it is told of are worked on here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from signalbox.workflow.background.records import TaskName

_LOG = logging.getLogger(__name__)

_MOST_WAITING = 10_000
"""More are not remembered: their rows are, and the sweeper finds them."""


class InProcessQueue:
    """``TaskQueue`` whose workers are coroutines of this process."""

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._waiting: asyncio.Queue[TaskName] = asyncio.Queue()
        self._known: set[TaskName] = set()
        self._workers: list[asyncio.Task[None]] = []

    def put(self, names: Iterable[TaskName]) -> None:
        """See ``TaskQueue.put``."""
        for name in names:
            if name not in self._known and len(self._known) < _MOST_WAITING:
                self._known.add(name)
                self._waiting.put_nowait(name)

    def start(self, look: Callable[[TaskName], Awaitable[None]]) -> None:
        """Work on what is put, by calling ``look`` for it."""
        self._workers = [
            asyncio.create_task(self._work(look), name=f"task-worker-{number}")
            for number in range(self._count)
        ]

    async def stop(self) -> None:
        """Work no more; what waits is found by the sweeper of another process, or of the next."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, look: Callable[[TaskName], Awaitable[None]]) -> None:
        while True:
            name = await self._waiting.get()
            # From here on the row says who has it: what is put again meanwhile is looked at again.
            self._known.discard(name)
            try:
                # In a task of its own: what the work leaves in its context does not reach the next one.
                await asyncio.create_task(_awaited(look(name)), name=name.task_id)
            except Exception:  # noqa: BLE001 - logged with its traceback
                _LOG.exception("working on a task failed; it is looked at again")


async def _awaited(work: Awaitable[None]) -> None:
    await work
