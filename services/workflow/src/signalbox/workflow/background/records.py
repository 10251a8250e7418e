"""What the stores keep of work in the background: tasks, batches, schedules and outgoing messages."""

from typing import NamedTuple

from signalbox.common.record import record
from signalbox.contracts.background import ScheduleStatus, TaskStatus, WebhookStatus

HELD = 1 << 52
"""From this ``due_at`` on a pending task is held back: its batch lets it go when one before it has ended."""


class TaskName(NamedTuple):
    """What a queue carries: which row to look at."""

    tenant: str
    task_id: str


@record
class TaskRecord:
    """An async query. The row is the truth; a message in a queue only says to look at it now.

    ``request``, ``webhook`` and ``principal`` are JSON; ``result`` is too: the reply of one that succeeded, the
    problem of one that failed.
    """

    tenant: str
    task_id: str
    subject: str
    session_id: str
    status: TaskStatus
    request: str
    due_at: int
    """When a sweeper looks at it: a pending task that nobody has taken by then is put in the queue again."""
    created_at: int
    attempt: int = 0
    """Fences: what an attempt writes counts only while it is the last one."""
    owner: str | None = None
    heartbeat_at: int | None = None
    result: str | None = None
    webhook: str | None = None
    finished_at: int | None = None
    principal: str | None = None
    """Who asked, for principals that are not looked up by their key."""
    batch_id: str | None = None
    item: int | None = None
    schedule_id: str | None = None
    pause_id: str | None = None
    """The run that goes on in it, of a task that no message began: an operator has decided."""
    cancel_at: int | None = None
    """When somebody asked to stop it; its worker learns it with its next heartbeat."""

    @property
    def name(self) -> TaskName:
        """What a queue carries of it."""
        return TaskName(self.tenant, self.task_id)

    @property
    def turn_id(self) -> str:
        """The turn that answers it: the same for every attempt, and so are the keys of its calls out."""
        return f"turn_{self.task_id.removeprefix('task_')}"


@record
class BatchRecord:
    """Several async queries that were posted together."""

    tenant: str
    batch_id: str
    subject: str
    total: int
    parallel: int
    created_at: int
    checked_at: int
    """When its progress was last looked at; whoever changes it holds the batch's row."""
    webhook: str | None = None
    finished_at: int | None = None


@record
class ScheduleRecord:
    """A message that is sent again and again. ``request`` and ``webhook`` are JSON."""

    tenant: str
    schedule_id: str
    subject: str
    name: str
    cron: str
    timezone: str
    request: str
    status: ScheduleStatus
    created_at: int
    updated_at: int
    due_at: int | None
    """The next run; None while it is paused. Who moves it on from what it was makes that run's task."""
    webhook: str | None = None
    principal: str | None = None
    last_run_at: int | None = None
    last_task_id: str | None = None


@record
class OutboxMessage:
    """A webhook to deliver. ``target`` and ``payload`` are JSON; secrets in them are references."""

    tenant: str
    message_id: str
    kind: str
    target: str
    payload: str
    due_at: int
    created_at: int
    status: WebhookStatus = "pending"
    attempt: int = 0
    last_error: str | None = None
    finished_at: int | None = None
    session_id: str | None = None
    """The session whose words are in it, and with which it goes."""
