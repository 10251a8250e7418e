"""Keeps a gateway process known to the others, and closes the calls of those that are gone."""

import asyncio
import contextlib
import logging

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.llm_gateway.admission.open_calls import abandoned_by, decode
from signalbox.llm_gateway.admission.processes import ProcessRegistry
from signalbox.llm_gateway.admission.redis.counters import Abandoned, RedisCounters
from signalbox.llm_gateway.ledger import LedgerStore, insert_each
from signalbox.llm_gateway.records import LedgerCall

_LOG = logging.getLogger(__name__)

BEAT_S = 1.0
REGISTER_S = 5.0
OPENING_S = 0.1
"""How often it is looked whether budgets may be counted again."""

KEEPS_ALL = "noeviction"
"""The one ``maxmemory-policy`` under which Redis refuses to write rather than drop what it has."""

OPENED_WITHIN_S = 3.0
"""How long a call waits for that."""


class Keeper:
    """What one process does for all: signs of life, budgets after Redis was emptied, calls that nobody ends.

    A process that is silent for ``silent_s`` is taken for gone. Its settled calls get their rows; those that it had
    open get estimated ones and give their slots back. Several keepers may do so at once: the ledger keeps one row.

    Redis, when it was emptied, does not know what was spent. Budgets stay closed until every process that the
    database knows to live has told Redis of the calls that it has not in the ledger.
    """

    def __init__(
        self, counters: RedisCounters, processes: ProcessRegistry, rows: LedgerStore, *, silent_s: float
    ) -> None:
        self._counters = counters
        self._processes = processes
        self._rows = rows
        self._silent_ms = int(silent_s * 1000)
        self._beat_s = min(BEAT_S, silent_s / 4)
        self._open = asyncio.Event()
        self._hurry = asyncio.Event()
        self._registered = False
        self._looked = False
        self._reaping: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        # A database that does not answer must not keep Redis from hearing of this process.
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._register())]

    async def stop(self) -> None:
        """End; the others need not look for this process when it has left nothing open."""
        tasks = [*self._tasks, *self._reaping.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._counters.close()
        with contextlib.suppress(SignalboxError):
            await self._processes.leave(self._counters.owner)

    async def ready(self) -> None:
        """Return when Redis answers. That budgets are being counted anew keeps nobody from other calls.

        Raises:
            CacheUnavailable: it does not; the sentence says why.
        """
        await self._counters.ping()

    async def opened(self) -> None:
        """Return when budgets are counted again.

        Raises:
            Unavailable: they are not soon.
        """
        self._open.clear()
        self._hurry.set()
        try:
            async with asyncio.timeout(OPENED_WITHIN_S):
                await self._open.wait()
        except TimeoutError:
            raise Unavailable("budgets are being counted anew, as Redis was emptied") from None

    async def _run(self) -> None:
        while True:
            pause = self._beat_s
            try:
                pause = await self._beat()
                await self._look_at_memory()
            except SignalboxError as error:
                _LOG.debug("no sign of life could be given: %s", error.detail)
            except Exception:  # noqa: BLE001 - a bug: whatever it is, this process must go on to say that it lives
                _LOG.exception("the keeper of open calls failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            self._hurry.clear()

    async def _look_at_memory(self) -> None:
        """Warn, once, of a Redis that may drop what it was told."""
        if self._looked:
            return
        policy = await self._counters.eviction_policy()
        self._looked = True
        if policy not in {None, KEEPS_ALL}:
            _LOG.warning(
                "redis has the maxmemory-policy '%s': when its memory is full it drops counters and records of open "
                "calls without a word; set it to '%s'",
                policy,
                KEEPS_ALL,
            )

    async def _register(self) -> None:
        while True:
            with contextlib.suppress(SignalboxError):
                await self._processes.live(self._counters.owner)
                self._registered = True
            await asyncio.sleep(REGISTER_S)

    async def _beat(self) -> float:
        """Give a sign of life; returns the seconds until the next one."""
        pulse = await self._counters.beat(self._silent_ms)
        for owner in pulse.silent:
            if owner not in self._reaping:
                self._reaping[owner] = asyncio.create_task(self._reap(owner))
        if pulse.open:
            self._open.set()
            return self._beat_s
        self._open.clear()
        if await self._all_have_told():
            await self._counters.open_budgets()
            return 0
        return OPENING_S

    async def _all_have_told(self) -> bool:
        if not self._registered:
            return False
        living = await self._processes.living()
        return living <= await self._counters.processes()

    async def _reap(self, owner: str) -> None:
        try:
            count, cursor = 0, "0"
            while True:
                cursor, calls = await self._counters.abandoned(owner, cursor)
                rows = [row for row in map(_row_of, calls) if row is not None]
                if rows:
                    await insert_each(self._rows, rows)
                count += len(rows)
                if not await self._counters.reap(owner, self._silent_ms, calls, last=cursor == "0"):
                    return
                if cursor == "0":
                    break
        except SignalboxError as error:
            _LOG.debug("calls of a process that is gone are looked at again later: %s", error.detail)
            return
        finally:
            self._reaping.pop(owner, None)
        _LOG.warning("a gateway process is gone; %d call(s) of it were closed", count)


def _row_of(call: Abandoned) -> LedgerCall | None:
    if call.state not in {"o", "s"} or not call.row:
        # Corrections of costs are counted as calls without a row.
        return None
    try:
        return decode(call.row) if call.state == "s" else abandoned_by(call.call_id, call.row)
    except ValueError:
        _LOG.exception("the record of a call cannot be read", extra={"call_id": call.call_id})
        return None
