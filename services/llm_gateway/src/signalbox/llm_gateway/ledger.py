"""Writes the ledger off the hot path: rows are taken at once and inserted in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.llm_gateway.errors import LedgerFull
from signalbox.llm_gateway.records import LedgerCall

_LOG = logging.getLogger(__name__)

GATHER_S = 0.05
"""How long the first row of a batch waits for others."""

BATCH = 256
ADMIT_S = 1.0
CLOSE_S = 10.0
_RETRY_S = (0.1, 0.5, 1.0, 2.0)


class LedgerStore(Protocol):
    """Where rows go."""

    async def insert(self, calls: list[LedgerCall]) -> None:
        """Write them as one transaction; rows that are there already stay as they are."""
        ...


def _nobody(call_ids: list[str]) -> None:
    del call_ids


class BatchedLedger:
    """The ledger of one process.

    A row waits at most about 50 ms before it is written. While the database is away, rows wait in memory and
    are tried again; when ``max_waiting`` of them wait, ``admit`` refuses new calls instead of losing rows.
    ``on_written`` is told the call ids of each batch that was committed; it must return at once and not raise.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        max_waiting: int,
        on_written: Callable[[list[str]], None] = _nobody,
    ) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._on_written = on_written
        self._waiting: deque[LedgerCall] = deque()
        self._came = asyncio.Event()
        self._written = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._why = "the database is away"
        """What kept rows from being written last."""

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="ledger-writer")

    async def close(self) -> None:
        """Write what waits; where that cannot be done in 10 s, say how many rows are lost, and why."""
        self._closing.set()
        self._came.set()
        if self._task is not None:
            try:
                await asyncio.wait_for(self._task, CLOSE_S)
            except TimeoutError:
                _LOG.error("%d ledger row(s) are lost: %s", len(self._waiting), self._why)

    def record(self, call: LedgerCall) -> None:
        """See ``ports.Ledger.record``."""
        self._waiting.append(call)
        if len(self._waiting) == 1:
            self._came.set()

    def waiting(self) -> int:
        """How many rows wait for the database."""
        return len(self._waiting)

    async def admit(self) -> None:
        """See ``ports.Ledger.admit``."""
        if len(self._waiting) < self._max_waiting:
            return
        self._written.clear()
        try:
            async with asyncio.timeout(ADMIT_S):
                await self._written.wait()
        except TimeoutError:
            raise LedgerFull(
                "Calls cannot be accounted for now, so none is started; try again shortly.",
                headers={"Retry-After": "2"},
            ) from None

    async def _run(self) -> None:
        failures = 0
        while self._waiting or not self._closing.is_set():
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
                if not self._closing.is_set():
                    await self._pause(GATHER_S)
                continue
            batch = list(islice(self._waiting, BATCH))
            try:
                self._on_written(await insert_each(self._store, batch))
            except Unavailable as error:
                self._why = error.detail
                if failures == 0:
                    _LOG.warning("ledger rows wait: %s", error.detail)
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
                continue
            if failures:
                _LOG.warning("the ledger is written again after %d failure(s)", failures)
                failures = 0
            for _ in batch:
                self._waiting.popleft()
            self._written.set()

    async def _pause(self, seconds: float) -> None:
        """Let a batch gather, unless the process is ending."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return


async def insert_each(store: LedgerStore, calls: list[LedgerCall]) -> list[str]:
    """Write calls; one that the database refuses does not keep the others from it. The ids of those written.

    Raises:
        Unavailable: the database is away; all can be written again.
    """
    try:
        await store.insert(calls)
    except Unavailable:
        raise
    except SignalboxError:
        if len(calls) == 1:
            _LOG.exception("the database refuses a ledger row", extra={"call_id": calls[0].call_id})
            return []
        return [call_id for call in calls for call_id in await insert_each(store, [call])]
    return [call.call_id for call in calls]
