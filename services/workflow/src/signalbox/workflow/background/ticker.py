"""Doing what is due: a loop in every replica that takes rows with a time, the same in every shape."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from signalbox.common.errors import SignalboxError

_LOG = logging.getLogger(__name__)

Work = Callable[[], Awaitable[bool]]
"""Takes what is due, a batch of it at most, and does it; true when there may be more that is due already.

What it takes it must take from the other replicas (``UPDATE ... FOR UPDATE SKIP LOCKED``, or a compare-and-set): the
same work runs in each of them.
"""

_LOOK_EVERY_S = 1.0


class Ticker:
    """Does ``work`` now and then, and at once again while there is more.

    Nothing that goes wrong ends it: errors of ours (a database that is away) are said in a line, others with their
    traceback. ``every_s`` is the wait in seconds after a look that found nothing, give or take a fifth.
    """

    def __init__(self, name: str, work: Work, *, every_s: float = _LOOK_EVERY_S) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Look at once: something has become due here. Other replicas see it at their next look."""
        self._woken.set()

    async def stop(self) -> None:
        """Stop, in the middle of the work too: what it has taken comes back when its time is up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            if not await self._look():
                await self._rest()

    async def _look(self) -> bool:
        try:
            return await self._work()
        except SignalboxError as error:
            _LOG.warning("%s: %s", self._name, error.detail)
        except Exception:  # noqa: BLE001 - logged with its traceback
            # A bug must not end what is due in this replica for good.
            _LOG.exception("%s failed; it goes on", self._name)
        return False

    async def _rest(self) -> None:
        seconds = self._every_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads replicas
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
