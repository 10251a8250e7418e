"""Schedules: messages that are sent again and again, each run a task."""

import logging
from dataclasses import replace

import orjson

from signalbox.common.errors import Forbidden, SignalboxError
from signalbox.common.ids import new_id, now_ms
from signalbox.contracts.background import ScheduleList, ScheduleRequest, ScheduleView, WebhookTarget
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryRequest
from signalbox.workflow.background.cron import next_run
from signalbox.workflow.background.ports import ScheduleStore, TaskQueue
from signalbox.workflow.background.records import ScheduleRecord, TaskRecord
from signalbox.workflow.background.results import target_json
from signalbox.workflow.background.submitting import Submitting, stored_principal, user_meant
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.errors import ScheduleNotFound, TooManySchedules
from signalbox.workflow.settings import WorkflowSettings

_LOG = logging.getLogger(__name__)

_AT_ONCE = 50


class ScheduleService:
    """Schedules, each for the principal that made it; to all others there are none."""

    def __init__(self, schedules: ScheduleStore, submitting: Submitting, settings: WorkflowSettings) -> None:
        self._schedules = schedules
        self._submitting = submitting
        self._settings = settings

    async def create(self, principal: Principal, request: ScheduleRequest) -> ScheduleView:
        """Store a new schedule.

        Raises:
            TooManySchedules: the principal has as many as it may have.
            SignalboxError: nothing was stored.
        """
        own = await self._schedules.of_subject(principal.tenant, principal.subject)
        if len(own) >= self._settings.schedules_per_key:
            raise TooManySchedules(self._settings.schedules_per_key)
        now = now_ms()
        schedule = await self._from(principal, request, new_id("sched"), now, now)
        await self._schedules.add(schedule)
        return schedule_view(schedule)

    async def schedule(self, principal: Principal, schedule_id: str) -> ScheduleView:
        """A schedule as it stands.

        Raises:
            ScheduleNotFound: there is none, for this principal.
        """
        return schedule_view(await self._own(principal, schedule_id))

    async def schedules(self, principal: Principal) -> ScheduleList:
        """All schedules of the principal."""
        own = await self._schedules.of_subject(principal.tenant, principal.subject)
        return ScheduleList(items=[schedule_view(schedule) for schedule in own])

    async def replace(self, principal: Principal, schedule_id: str, request: ScheduleRequest) -> ScheduleView:
        """Change a schedule; its next run is the first one from now on.

        Raises:
            ScheduleNotFound: there is none, for this principal.
            SignalboxError: nothing was changed.
        """
        before = await self._own(principal, schedule_id)
        # Later than before in any case: a replica that has read the old one cannot run it any more.
        now = max(now_ms(), before.updated_at + 1)
        changed = await self._from(principal, request, schedule_id, before.created_at, now)
        changed = replace(changed, last_run_at=before.last_run_at, last_task_id=before.last_task_id)
        if not await self._schedules.replace(changed):
            raise ScheduleNotFound(schedule_id)
        return schedule_view(changed)

    async def delete(self, principal: Principal, schedule_id: str) -> None:
        """Remove a schedule; tasks that it made stay.

        Raises:
            ScheduleNotFound: there is none, for this principal.
        """
        await self._own(principal, schedule_id)
        if not await self._schedules.delete(principal.tenant, schedule_id):
            raise ScheduleNotFound(schedule_id)

    async def _own(self, principal: Principal, schedule_id: str) -> ScheduleRecord:
        schedule = await self._schedules.schedule(principal.tenant, schedule_id)
        if schedule is None or schedule.subject != principal.subject:
            raise ScheduleNotFound(schedule_id)
        return schedule

    async def _from(
        self, principal: Principal, request: ScheduleRequest, schedule_id: str, created_at: int, now: int
    ) -> ScheduleRecord:
        if request.workflow_id is not None and not principal.may_use(request.workflow_id):
            raise Forbidden(f"This key may not use the workflow '{request.workflow_id}'.")
        await self._submitting.check_webhook(principal.tenant, request.webhook)
        due_at = next_run(request.cron, request.timezone, now)
        query = QueryRequest(
            message=request.message,
            session_id=request.session_id or schedule_id,
            user_id=user_meant(principal, request.user_id),
            workflow_id=request.workflow_id,
            language=request.language,
            timezone=request.timezone,
            metadata=request.metadata,
        )
        asked = query.model_dump(mode="json", exclude_defaults=True)
        if request.session_id is None:
            del asked["session_id"]
        return ScheduleRecord(
            tenant=principal.tenant,
            schedule_id=schedule_id,
            subject=principal.subject,
            name=request.name,
            cron=request.cron,
            timezone=request.timezone,
            request=orjson.dumps(asked).decode(),
            status=request.status,
            created_at=created_at,
            updated_at=now,
            due_at=due_at if request.status == "active" else None,
            webhook=target_json(request.webhook),
            principal=stored_principal(principal),
        )


class Scheduler:
    """Makes the tasks of schedules that are due. Every replica has one; a run is made by one of them.

    Runs that were missed while nothing was running are made up for by one.
    """

    def __init__(self, schedules: ScheduleStore, queue: TaskQueue, settings: WorkflowSettings) -> None:
        self._schedules = schedules
        self._queue = queue
        self._settings = settings
        self._ticker = Ticker("schedules", self.fire_due)

    def start(self) -> None:
        """Look for due ones from now on."""
        self._ticker.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._ticker.stop()

    async def fire_due(self) -> bool:
        """Make the tasks of what is due; true when there may be more."""
        now = now_ms()
        due = await self._schedules.due(now, _AT_ONCE)
        for schedule in due:
            await self._fire(schedule, now)
        return len(due) == _AT_ONCE

    async def _fire(self, schedule: ScheduleRecord, now: int) -> None:
        try:
            next_at = next_run(schedule.cron, schedule.timezone, now)
        except SignalboxError as error:
            # A time zone that this replica's database no longer has.
            _LOG.warning(
                "a schedule cannot run: %s", error.detail, extra={"schedule_id": schedule.schedule_id}
            )
            return
        task = self._task(schedule, now)
        if await self._schedules.fire(schedule, next_at, now, task):
            self._queue.put([task.name])

    def _task(self, schedule: ScheduleRecord, now: int) -> TaskRecord:
        task_id = new_id("task")
        asked = orjson.loads(schedule.request)
        session_id = asked.setdefault("session_id", f"{schedule.schedule_id}-{task_id.removeprefix('task_')}")
        return TaskRecord(
            tenant=schedule.tenant,
            task_id=task_id,
            subject=schedule.subject,
            session_id=session_id,
            status="pending",
            request=orjson.dumps(asked).decode(),
            due_at=now + self._settings.task_requeue_ms,
            created_at=now,
            webhook=schedule.webhook,
            principal=schedule.principal,
            schedule_id=schedule.schedule_id,
        )


def schedule_view(schedule: ScheduleRecord) -> ScheduleView:
    """A schedule as clients see it."""
    asked = orjson.loads(schedule.request)
    return ScheduleView(
        schedule_id=schedule.schedule_id,
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        message=asked["message"],
        session_id=asked.get("session_id"),
        user_id=asked.get("user_id"),
        workflow_id=asked.get("workflow_id"),
        language=asked.get("language"),
        metadata=asked.get("metadata", {}),
        webhook=WebhookTarget.model_validate_json(schedule.webhook) if schedule.webhook else None,
        status=schedule.status,
        next_run_at=schedule.due_at,
        last_run_at=schedule.last_run_at,
        last_task_id=schedule.last_task_id,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )
