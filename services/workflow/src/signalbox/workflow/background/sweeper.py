"""Finding tasks that nobody works on: the queue lost them, or their worker ended."""

from signalbox.common.ids import now_ms
from signalbox.workflow.background.batches import BatchKeeper
from signalbox.workflow.background.ports import TaskQueue, TaskStore
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.settings import WorkflowSettings

_AT_ONCE = 200


class TaskSweeper:
    """Puts them in the queue again. Every replica has one; a task is taken by one of them at a time."""

    def __init__(
        self, tasks: TaskStore, batches: BatchKeeper, queue: TaskQueue, settings: WorkflowSettings
    ) -> None:
        self._tasks = tasks
        self._batches = batches
        self._queue = queue
        self._settings = settings
        self._ticker = Ticker("sweep of tasks", self.sweep)
        self._batch_ticker = Ticker("sweep of batches", batches.sweep, every_s=5.0)

    def start(self) -> None:
        """Sweep from now on."""
        self._ticker.start()
        self._batch_ticker.start()

    async def stop(self) -> None:
        """Sweep no more."""
        await self._ticker.stop()
        await self._batch_ticker.stop()

    async def sweep(self) -> bool:
        """Put what is due in the queue; true when there may be more."""
        now, settings = now_ms(), self._settings
        found = await self._tasks.take_due(
            now, now - settings.task_stale_ms, settings.task_requeue_ms, _AT_ONCE
        )
        self._queue.put(found)
        return len(found) == _AT_ONCE
