"""Batches: many async queries at once, so many of them at a time as their batch allows."""

import logging

from signalbox.common.ids import now_ms
from signalbox.contracts.background import BatchProgress, BatchView
from signalbox.workflow.background.ports import BatchStore, TaskQueue
from signalbox.workflow.background.records import BatchRecord
from signalbox.workflow.background.results import webhooks_of_batch
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)

_LOOK_AGAIN_MS = 10_000
_AT_ONCE = 50


class BatchKeeper:
    """Lets held items of batches go as those before them end, and writes when the last one has."""

    def __init__(self, batches: BatchStore, queue: TaskQueue, settings: WorkflowSettings) -> None:
        self._batches = batches
        self._queue = queue
        self._settings = settings

    async def advance(self, tenant: str, batch_id: str) -> None:
        """An item has ended, or somebody only looks; it does no harm to do this twice."""
        now = now_ms()
        released, left = await self._batches.advance(
            tenant, batch_id, now, now + self._settings.task_requeue_ms
        )
        self._queue.put(released)
        if left == 0:
            await self._finish(tenant, batch_id)

    async def sweep(self) -> bool:
        """Advance what a process left behind when it ended between an item and the next."""
        stale = await self._batches.unfinished(now_ms() - _LOOK_AGAIN_MS, _AT_ONCE)
        for batch in stale:
            await self.advance(batch.tenant, batch.batch_id)
        return len(stale) == _AT_ONCE

    async def _finish(self, tenant: str, batch_id: str) -> None:
        batch = await self._batches.batch(tenant, batch_id)
        if batch is None or batch.finished_at is not None:
            return
        now = now_ms()
        view = batch_view(batch, await self._batches.progress(tenant, batch_id), now)
        if await self._batches.finish(batch, now, webhooks_of_batch(tenant, batch.webhook, view, now)):
            _LOG.info("a batch has ended", extra={"batch_id": batch_id})


def batch_view(batch: BatchRecord, progress: BatchProgress, finished_at: int | None = None) -> BatchView:
    """A batch as clients see it."""
    over = batch.finished_at or finished_at
    return BatchView(
        batch_id=batch.batch_id,
        status="running" if over is None else "finished",
        total=batch.total,
        progress=progress,
        created_at=batch.created_at,
        finished_at=over,
    )
