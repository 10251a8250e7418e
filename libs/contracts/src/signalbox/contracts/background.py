"""The public API of work that no client waits for: async queries, batches, schedules, webhooks."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from signalbox.contracts.base import (
    EpochMs,
    ExternalId,
    Identifier,
    LanguageTag,
    PublicRequest,
    SessionId,
    WireModel,
)
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryReply, QueryRequest

TaskStatus = Literal["pending", "running", "success", "failed", "cancelled"]
"""``pending`` waits for a worker; ``running`` has one; the others are over: ``success`` has a result, ``failed`` an
error, ``cancelled`` neither."""

BatchStatus = Literal["running", "finished"]
ScheduleStatus = Literal["active", "paused"]
WebhookStatus = Literal["pending", "sending", "delivered", "dead"]
"""``sending`` is being tried now; ``dead`` was given up, and can be replayed."""

WebhookSecretRef = Annotated[
    str, StringConstraints(pattern=r"^secret:webhook([._/-][A-Za-z0-9._/-]+)?$", max_length=200)
]
"""A reference to one of the tenant's secrets that are kept for signing webhooks: ``secret:webhook`` and those whose
names go on after it, such as ``secret:webhook-billing``. Never the value."""

DEFAULT_WEBHOOK_SECRET = "secret:webhook"  # noqa: S105 - a reference


class WebhookTarget(PublicRequest):
    """Where a result is delivered, signed per Standard Webhooks."""

    url: str = Field(max_length=2000, pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$")
    """Absolute, http or https, without a user name."""
    secret: WebhookSecretRef = DEFAULT_WEBHOOK_SECRET
    """A reference to the tenant's secret that signs; the operator puts it where secrets are kept."""


class AsyncQueryRequest(QueryRequest):
    """A message whose answer is fetched, or delivered, later."""

    webhook: WebhookTarget | None = None


class TaskAccepted(WireModel):
    """An async query was stored and will be answered."""

    task_id: str
    status: Literal["pending"] = "pending"
    session_id: str


class TaskView(WireModel):
    """An async query as it stands."""

    task_id: str
    session_id: str
    status: TaskStatus
    result: QueryReply | None = None
    """The reply, as ``POST /api/v1/query`` gives it; null until ``success``."""
    error: Problem | None = None
    """Why it ``failed``: what ``POST /api/v1/query`` would have been refused with."""
    batch_id: str | None = None
    item: int | None = None
    """Its place in the batch, from 0."""
    schedule_id: str | None = None
    attempt: int = 0
    """How often a worker has taken it."""
    created_at: EpochMs
    finished_at: EpochMs | None = None


class TaskList(WireModel):
    """A page of tasks, newest first."""

    items: list[TaskView]
    next_before: str | None = None
    """Pass as ``?before=`` for the next page; null on the last one."""


class BatchRequest(PublicRequest):
    """Up to 1,000 messages to answer, each in the session that it names."""

    items: list[QueryRequest] = Field(min_length=1, max_length=1000)
    parallel: int = Field(default=8, ge=1, le=64)
    """Items that are worked on at the same time."""
    webhook: WebhookTarget | None = None
    """Is told once, when the last item has ended."""


class BatchProgress(WireModel):
    """Items of a batch by status."""

    pending: int = 0
    running: int = 0
    success: int = 0
    failed: int = 0
    cancelled: int = 0


class BatchView(WireModel):
    """A batch as it stands."""

    batch_id: str
    status: BatchStatus
    total: int
    progress: BatchProgress
    created_at: EpochMs
    finished_at: EpochMs | None = None


class BatchItems(WireModel):
    """A page of a batch's items, in their order: one task each."""

    items: list[TaskView]
    next_after: int | None = None
    """Pass as ``?after=`` for the next page; null on the last one."""


class ScheduleRequest(PublicRequest):
    """A message that is sent again and again."""

    name: str = Field(min_length=1, max_length=200)
    cron: str = Field(min_length=9, max_length=100)
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: str = Field(default="UTC", max_length=64)
    """IANA name; the fields are read on this zone's clocks."""
    message: str = Field(min_length=1, max_length=100_000)
    session_id: SessionId | None = None
    """None gives each run a session of its own."""
    user_id: ExternalId | None = None
    workflow_id: Identifier | None = None
    language: LanguageTag | None = None
    metadata: dict[str, Any] = Field(default={}, max_length=50)
    webhook: WebhookTarget | None = None
    """Is told the result of every run."""
    status: ScheduleStatus = "active"


class ScheduleView(WireModel):
    """A schedule as it stands."""

    schedule_id: str
    name: str
    cron: str
    timezone: str
    message: str
    session_id: str | None = None
    user_id: str | None = None
    workflow_id: str | None = None
    language: str | None = None
    metadata: dict[str, Any] = {}
    webhook: WebhookTarget | None = None
    status: ScheduleStatus
    next_run_at: EpochMs | None = None
    """Null while it is paused."""
    last_run_at: EpochMs | None = None
    last_task_id: str | None = None
    created_at: EpochMs
    updated_at: EpochMs


class ScheduleList(WireModel):
    """All schedules of who asks, by name."""

    items: list[ScheduleView]


class WebhookView(WireModel):
    """A message to a receiver, as its delivery stands; what it says is not shown."""

    webhook_id: str
    """The ``webhook-id`` header of every delivery, so that receivers know repetitions."""
    kind: str
    url: str
    status: WebhookStatus
    attempt: int
    last_error: str | None = None
    due_at: EpochMs
    created_at: EpochMs
    finished_at: EpochMs | None = None


class WebhookList(WireModel):
    """A page of webhooks, newest first."""

    items: list[WebhookView]
    next_before: str | None = None
    """Pass as ``?before=`` for the next page; null on the last one."""
