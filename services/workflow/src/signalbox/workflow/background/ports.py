"""What work in the background needs from a store and from a queue."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from signalbox.common.storage import Write
from signalbox.contracts.background import BatchProgress, TaskStatus
from signalbox.workflow.background.records import (
    BatchRecord,
    OutboxMessage,
    ScheduleRecord,
    TaskName,
    TaskRecord,
)
from signalbox.workflow.records import IdempotencyRecord


class TaskQueue(Protocol):
    """Tells some worker to look at tasks. It may lose what it is told, and tell it twice: the rows are the truth."""

    def put(self, names: Iterable[TaskName]) -> None:
        """Have those tasks looked at soon. Returns at once, and never raises."""
        ...


class TaskStore(Protocol):
    """Async queries."""

    async def add(self, task: TaskRecord, idempotency: IdempotencyRecord | None = None) -> None:
        """Store a task, and the reply to its request, in one transaction.

        Raises:
            DuplicateKey: the request's key was used before; nothing was written.
        """
        ...

    async def task(self, tenant: str, task_id: str) -> TaskRecord | None:
        """A task by its id."""
        ...

    async def waiting(self, tenant: str, subject: str, most: int) -> int:
        """How many tasks of a principal are pending or running; of more than ``most``, that many are counted."""
        ...

    async def of_subject(
        self,
        tenant: str,
        subject: str,
        *,
        status: TaskStatus | None,
        schedule_id: str | None,
        before: str | None,
        limit: int,
    ) -> list[TaskRecord]:
        """Tasks of one who asked, newest first, with an id below ``before``."""
        ...

    async def claim(
        self, name: TaskName, owner: str, now: int, stale_before: int, look_at: int
    ) -> TaskRecord | None:
        """Take a task that is pending, or whose worker's last heartbeat is older than ``stale_before``.

        What an earlier attempt left of its turn is removed. None when another has the task, it is over, or a task of
        its session that was posted before it is not.
        """
        ...

    async def first_of_session(self, tenant: str, session_id: str) -> TaskName | None:
        """The task of a session that may be taken next; None when there is none, or it is being worked on."""
        ...

    async def heartbeat(self, task: TaskRecord, now: int) -> TaskRecord | None:
        """Say that a task's attempt is still alive; the task as it is now, or None when it is another's or over."""
        ...

    def finishing(
        self,
        task: TaskRecord,
        status: TaskStatus,
        result: str | None,
        now: int,
        outbox: Sequence[OutboxMessage],
    ) -> list[Write]:
        """The writes that end a task once, if this attempt still has it, for a transaction with other writes."""
        ...

    async def finish(
        self,
        task: TaskRecord,
        status: TaskStatus,
        result: str | None,
        now: int,
        outbox: Sequence[OutboxMessage] = (),
    ) -> bool:
        """Write the result once; false when another attempt has taken the task over, or it is over."""
        ...

    async def give_back(self, task: TaskRecord, due_at: int) -> bool:
        """Let another worker take the task, at ``due_at`` at the latest; false when it is another's or over."""
        ...

    async def cancel(
        self, tenant: str, task_id: str, now: int, outbox: Sequence[OutboxMessage] = ()
    ) -> TaskRecord | None:
        """End a task that is pending; None when it is not."""
        ...

    async def request_cancel(self, tenant: str, task_id: str, now: int) -> bool:
        """Ask the worker of a running task to stop; false when it is not running."""
        ...

    async def take_due(self, now: int, stale_before: int, requeue_ms: int, limit: int) -> list[TaskName]:
        """Tasks to put in the queue again: due and pending, or running with a worker that fell silent.

        Each is due again after ``requeue_ms``, later the longer it has waited (thirty times that at most): a long queue
        is not doubled over and over.
        """
        ...


class BatchStore(Protocol):
    """Batches of async queries."""

    async def add(
        self, batch: BatchRecord, tasks: Sequence[TaskRecord], idempotency: IdempotencyRecord | None = None
    ) -> None:
        """Store a batch with its items, and the reply to its request, in one transaction.

        Raises:
            DuplicateKey: the request's key was used before; nothing was written.
        """
        ...

    async def batch(self, tenant: str, batch_id: str) -> BatchRecord | None:
        """A batch by its id."""
        ...

    async def progress(self, tenant: str, batch_id: str) -> BatchProgress:
        """Its items by status."""
        ...

    async def items(self, tenant: str, batch_id: str, after: int, limit: int) -> list[TaskRecord]:
        """Its items from a place on, in their order."""
        ...

    async def advance(self, tenant: str, batch_id: str, now: int, look_at: int) -> tuple[list[TaskName], int]:
        """Let go as many held items as the batch may work on more; those, and how many items are not over."""
        ...

    async def finish(self, batch: BatchRecord, now: int, outbox: Sequence[OutboxMessage] = ()) -> bool:
        """Write that its last item has ended, once; false when that was written."""
        ...

    async def cancel(self, tenant: str, batch_id: str, now: int) -> None:
        """End its pending items, and ask the workers of running ones to stop."""
        ...

    async def unfinished(self, checked_before: int, limit: int) -> list[BatchRecord]:
        """Batches that are not over and that nobody has looked at since."""
        ...


class ScheduleStore(Protocol):
    """Schedules."""

    async def add(self, schedule: ScheduleRecord) -> None:
        """Store a new one."""
        ...

    async def schedule(self, tenant: str, schedule_id: str) -> ScheduleRecord | None:
        """A schedule by its id."""
        ...

    async def of_subject(self, tenant: str, subject: str) -> list[ScheduleRecord]:
        """All of one who made them, by name."""
        ...

    async def replace(self, schedule: ScheduleRecord) -> bool:
        """Write a changed one; false when it is gone."""
        ...

    async def delete(self, tenant: str, schedule_id: str) -> bool:
        """Remove one; false when it is gone. Tasks that it made stay."""
        ...

    async def due(self, now: int, limit: int) -> list[ScheduleRecord]:
        """Active ones whose next run is due, those that wait longest first."""
        ...

    async def fire(self, schedule: ScheduleRecord, next_at: int, now: int, task: TaskRecord) -> bool:
        """Move a schedule on to its next run and store this run's task, in one transaction.

        False when another replica did, or the schedule was changed meanwhile; nothing was written.
        """
        ...


class OutboxStore(Protocol):
    """Webhooks to deliver."""

    async def take_due(self, now: int, retry_at: int, limit: int) -> list[OutboxMessage]:
        """Take messages that are due; each comes back at ``retry_at`` unless it is settled before."""
        ...

    async def delivered(self, message: OutboxMessage, now: int) -> None:
        """A message was accepted by its receiver."""
        ...

    async def failed(self, message: OutboxMessage, due_at: int | None, error: str, now: int) -> None:
        """A delivery failed: try again at ``due_at``, or give up when it is None."""
        ...

    async def listed(
        self, tenant: str, *, status: str | None, before: str | None, limit: int
    ) -> list[OutboxMessage]:
        """A tenant's messages, newest first, with an id below ``before``."""
        ...

    async def message(self, tenant: str, message_id: str) -> OutboxMessage | None:
        """A message by its id."""
        ...

    async def replay(self, tenant: str, message_id: str, now: int) -> OutboxMessage | None:
        """Try a message that was given up once more from the beginning; None when it was not given up."""
        ...
