"""What operators see of tasks: how many end how, how long they wait and take."""

from prometheus_client import Counter, Histogram

from signalbox.common.telemetry.metrics import Metrics
from signalbox.contracts.background import TaskStatus
from signalbox.workflow.background.records import TaskRecord

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class TaskMetrics:
    """Counted where a task is worked on."""

    def __init__(self, metrics: Metrics) -> None:
        self._ended = Counter(
            "signalbox_tasks_ended",
            "Tasks that are over, by status: success, failed or cancelled (while they ran).",
            ["status"],
            registry=metrics.registry,
        )
        self._taken_over = Counter(
            "signalbox_tasks_taken_over",
            "Tasks that were taken again: their worker died or ended, or what they needed was away.",
            registry=metrics.registry,
        )
        self._waited = Histogram(
            "signalbox_task_wait_seconds",
            "Time from posting a task to the first worker that takes it, in seconds.",
            registry=metrics.registry,
            buckets=_SECONDS,
        )
        self._took = Histogram(
            "signalbox_task_seconds",
            "Time from posting a task to its end, in seconds.",
            registry=metrics.registry,
            buckets=_SECONDS,
        )

    def taken(self, task: TaskRecord, now: int) -> None:
        """A worker has taken a task."""
        if task.attempt == 1:
            self._waited.observe((now - task.created_at) / 1000)
        else:
            self._taken_over.inc()

    def ended(self, task: TaskRecord, status: TaskStatus, now: int) -> None:
        """A task that was worked on is over."""
        self._ended.labels(status).inc()
        self._took.observe((now - task.created_at) / 1000)
