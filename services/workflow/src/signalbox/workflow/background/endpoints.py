"""The public API of work in the background (docs/http-api.md): HTTP in and out, nothing else."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from signalbox.common.auth import Requires
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.background import (
    AsyncQueryRequest,
    BatchItems,
    BatchRequest,
    BatchView,
    ScheduleList,
    ScheduleRequest,
    ScheduleView,
    TaskAccepted,
    TaskList,
    TaskStatus,
    TaskView,
    WebhookList,
    WebhookStatus,
    WebhookView,
)
from signalbox.contracts.base import ExternalId
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.query import Deleted
from signalbox.workflow.background.dead_letters import WebhookViews
from signalbox.workflow.background.schedules import ScheduleService
from signalbox.workflow.background.tasks import TaskService
from signalbox.workflow.endpoints import Asking, IdempotencyKeyHeader

Reading = Annotated[Principal, Depends(Requires(Scope.SESSIONS_READ))]
Operating = Annotated[Principal, Depends(Requires(Scope.CONFIG_WRITE))]
Id = Annotated[ExternalId, Path()]
Before = Annotated[ExternalId | None, Query(description="The id that ended the page before.")]
Limit = Annotated[int, Query(ge=1, le=500)]


async def _tasks(request: Request) -> TaskService:
    service: TaskService = request.app.state.tasks
    return service


async def _schedules(request: Request) -> ScheduleService:
    service: ScheduleService = request.app.state.schedules
    return service


async def _webhooks(request: Request) -> WebhookViews:
    views: WebhookViews = request.app.state.webhooks
    return views


Tasks = Annotated[TaskService, Depends(_tasks)]
Schedules = Annotated[ScheduleService, Depends(_schedules)]
Webhooks = Annotated[WebhookViews, Depends(_webhooks)]

public = APIRouter(prefix="/api/v1", tags=["background"], route_class=LateRoute)


@public.post("/query/async", status_code=202)
async def query_async(
    body: AsyncQueryRequest, principal: Asking, tasks: Tasks, idempotency_key: IdempotencyKeyHeader = None
) -> TaskAccepted:
    """Store a message that is answered in the background. It is durable before this is sent."""
    return await tasks.submit(principal, body, idempotency_key)


@public.get("/task/{task_id}")
async def get_task(task_id: Id, principal: Asking, tasks: Tasks) -> TaskView:
    """An async query as it stands, with its result once there is one."""
    return await tasks.task(principal, task_id)


@public.post("/task/{task_id}/cancel")
async def cancel_task(task_id: Id, principal: Asking, tasks: Tasks) -> TaskView:
    """Stop an async query, down to the model call of its running turn; one that is over stays as it is."""
    return await tasks.cancel(principal, task_id)


@public.get("/tasks")
async def list_tasks(
    principal: Asking,
    tasks: Tasks,
    status: Annotated[TaskStatus | None, Query()] = None,
    schedule_id: Annotated[ExternalId | None, Query()] = None,
    before: Before = None,
    limit: Limit = 50,
) -> TaskList:
    """The async queries of who asks, newest first."""
    return await tasks.tasks(principal, status, schedule_id, before, limit)


@public.post("/query/batch", status_code=202)
async def query_batch(
    body: BatchRequest, principal: Asking, tasks: Tasks, idempotency_key: IdempotencyKeyHeader = None
) -> BatchView:
    """Store up to 1,000 messages that are answered in the background, some of them at a time."""
    return await tasks.submit_batch(principal, body, idempotency_key)


@public.get("/batch/{batch_id}")
async def get_batch(batch_id: Id, principal: Asking, tasks: Tasks) -> BatchView:
    """A batch as it stands: its items by status."""
    return await tasks.batch(principal, batch_id)


@public.get("/batch/{batch_id}/items")
async def get_batch_items(
    batch_id: Id,
    principal: Asking,
    tasks: Tasks,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Limit = 100,
) -> BatchItems:
    """The items of a batch in their order, each with its result once there is one."""
    return await tasks.batch_items(principal, batch_id, after, limit)


@public.post("/batch/{batch_id}/cancel")
async def cancel_batch(batch_id: Id, principal: Asking, tasks: Tasks) -> BatchView:
    """Stop what is left of a batch; items that are over stay as they are."""
    return await tasks.cancel_batch(principal, batch_id)


@public.post("/schedules", status_code=201)
async def create_schedule(body: ScheduleRequest, principal: Asking, schedules: Schedules) -> ScheduleView:
    """Send a message again and again, at the times of a cron expression."""
    return await schedules.create(principal, body)


@public.get("/schedules")
async def list_schedules(principal: Asking, schedules: Schedules) -> ScheduleList:
    """The schedules of who asks, by name."""
    return await schedules.schedules(principal)


@public.get("/schedules/{schedule_id}")
async def get_schedule(schedule_id: Id, principal: Asking, schedules: Schedules) -> ScheduleView:
    """A schedule as it stands, with its next and its last run."""
    return await schedules.schedule(principal, schedule_id)


@public.put("/schedules/{schedule_id}")
async def replace_schedule(
    schedule_id: Id, body: ScheduleRequest, principal: Asking, schedules: Schedules
) -> ScheduleView:
    """Change a schedule; its next run is the first one from now on."""
    return await schedules.replace(principal, schedule_id, body)


@public.delete("/schedules/{schedule_id}")
async def delete_schedule(schedule_id: Id, principal: Asking, schedules: Schedules) -> Deleted:
    """Remove a schedule; tasks that it has made stay."""
    await schedules.delete(principal, schedule_id)
    return Deleted()


@public.get("/webhooks")
async def list_webhooks(
    principal: Reading,
    webhooks: Webhooks,
    status: Annotated[WebhookStatus | None, Query()] = None,
    before: Before = None,
    limit: Limit = 50,
) -> WebhookList:
    """The tenant's webhooks, newest first; `?status=dead` lists those that were given up."""
    return await webhooks.webhooks(principal, status, before, limit)


@public.post("/webhooks/{webhook_id}/replay")
async def replay_webhook(webhook_id: Id, principal: Operating, webhooks: Webhooks) -> WebhookView:
    """Deliver a webhook that was given up, from the first attempt on."""
    return await webhooks.replay(principal, webhook_id)
