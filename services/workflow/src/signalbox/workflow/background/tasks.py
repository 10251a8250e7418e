"""Async queries and batches for those who post them: submit, look, list, cancel."""

from dataclasses import replace

from signalbox.common.errors import Forbidden
from signalbox.common.ids import new_id, now_ms
from signalbox.contracts.background import (
    AsyncQueryRequest,
    BatchItems,
    BatchProgress,
    BatchRequest,
    BatchView,
    TaskAccepted,
    TaskList,
    TaskStatus,
    TaskView,
)
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryRequest
from signalbox.workflow.background.batches import BatchKeeper, batch_view
from signalbox.workflow.background.ports import BatchStore, TaskQueue, TaskStore
from signalbox.workflow.background.records import HELD, BatchRecord, TaskRecord
from signalbox.workflow.background.results import target_json, task_view, webhooks_of
from signalbox.workflow.background.runner import TaskRunner
from signalbox.workflow.background.submitting import Submitting, check_timezone, stored_principal, user_meant
from signalbox.workflow.errors import BatchNotFound, TaskNotFound, TooManyTasks
from signalbox.workflow.records import IdempotencyRecord
from signalbox.workflow.settings import WorkflowSettings

_TASK_ROUTE = "query/async"
_BATCH_ROUTE = "query/batch"


class TaskService:
    """Tasks and batches, each for the principal that posted it; to all others there are none."""

    def __init__(
        self,
        tasks: TaskStore,
        batches: BatchStore,
        keeper: BatchKeeper,
        runner: TaskRunner,
        queue: TaskQueue,
        submitting: Submitting,
        settings: WorkflowSettings,
    ) -> None:
        self._tasks = tasks
        self._batches = batches
        self._keeper = keeper
        self._runner = runner
        self._queue = queue
        self._submitting = submitting
        self._settings = settings

    async def submit(
        self, principal: Principal, request: AsyncQueryRequest, idempotency_key: str | None
    ) -> TaskAccepted:
        """Store a message to be answered; for a repeated key with the same body, what the first request was told.

        Raises:
            SignalboxError: nothing was stored.
        """
        _check(principal, request)
        await self._submitting.check_webhook(principal.tenant, request.webhook)
        query = QueryRequest.model_validate(request.model_dump(exclude={"webhook"}))
        task = replace(self._task(principal, query, now_ms()), webhook=target_json(request.webhook))
        accepted = TaskAccepted(task_id=task.task_id, session_id=task.session_id)

        async def store(record: IdempotencyRecord | None) -> None:
            await self._check_room(principal, 1)
            await self._tasks.add(task, record)

        told = await self._submitting.once(
            principal,
            _TASK_ROUTE,
            idempotency_key,
            request,
            task.task_id,
            accepted,
            task.created_at,
            store,
        )
        self._queue.put([task.name])
        return TaskAccepted.model_validate_json(told)

    async def task(self, principal: Principal, task_id: str) -> TaskView:
        """A task as it stands.

        Raises:
            TaskNotFound: there is none, for this principal.
        """
        return task_view(await self._own(principal, task_id))

    async def tasks(
        self,
        principal: Principal,
        status: TaskStatus | None,
        schedule_id: str | None,
        before: str | None,
        limit: int,
    ) -> TaskList:
        """A page of the principal's tasks, newest first."""
        found = await self._tasks.of_subject(
            principal.tenant,
            principal.subject,
            status=status,
            schedule_id=schedule_id,
            before=before,
            limit=limit + 1,
        )
        page = found[:limit]
        return TaskList(
            items=[task_view(task) for task in page],
            next_before=page[-1].task_id if len(found) > limit else None,
        )

    async def cancel(self, principal: Principal, task_id: str) -> TaskView:
        """Stop a task, down to its running turn wherever that is; one that is over stays as it is.

        Raises:
            TaskNotFound: there is none, for this principal.
            Forbidden: it carries out an operator's decision.
        """
        task = await self._own(principal, task_id)
        if task.pause_id is not None:
            raise Forbidden("This task carries out an operator's decision on a run; it cannot be cancelled.")
        now = now_ms()
        ended = await self._tasks.cancel(
            principal.tenant, task_id, now, webhooks_of(task, "cancelled", None, now)
        )
        if ended is not None:
            await self._runner.go_on_after(ended)
            return task_view(ended)
        if await self._tasks.request_cancel(principal.tenant, task_id, now):
            self._runner.cancel_here(task.name)
        return task_view(await self._own(principal, task_id))

    async def submit_batch(
        self, principal: Principal, request: BatchRequest, idempotency_key: str | None
    ) -> BatchView:
        """Store up to 1,000 messages to be answered.

        Raises:
            SignalboxError: nothing was stored.
        """
        for query in request.items:
            _check(principal, query)
        await self._submitting.check_webhook(principal.tenant, request.webhook)
        now = now_ms()
        batch = BatchRecord(
            tenant=principal.tenant,
            batch_id=new_id("batch"),
            subject=principal.subject,
            total=len(request.items),
            parallel=request.parallel,
            created_at=now,
            checked_at=now,
            webhook=target_json(request.webhook),
        )
        items = [
            replace(
                self._task(principal, query, now),
                batch_id=batch.batch_id,
                item=number,
                due_at=now + self._settings.task_requeue_ms if number < batch.parallel else HELD + number,
            )
            for number, query in enumerate(request.items)
        ]
        view = batch_view(batch, BatchProgress(pending=batch.total))

        async def store(record: IdempotencyRecord | None) -> None:
            await self._check_room(principal, batch.total)
            await self._batches.add(batch, items, record)

        told = await self._submitting.once(
            principal,
            _BATCH_ROUTE,
            idempotency_key,
            request,
            batch.batch_id,
            view,
            now,
            store,
        )
        accepted = BatchView.model_validate_json(told)
        if accepted.batch_id == batch.batch_id:
            self._queue.put(task.name for task in items[: batch.parallel])
        return accepted

    async def batch(self, principal: Principal, batch_id: str) -> BatchView:
        """A batch as it stands.

        Raises:
            BatchNotFound: there is none, for this principal.
        """
        batch = await self._own_batch(principal, batch_id)
        return batch_view(batch, await self._batches.progress(principal.tenant, batch_id))

    async def batch_items(self, principal: Principal, batch_id: str, after: int, limit: int) -> BatchItems:
        """A page of a batch's items, in their order.

        Raises:
            BatchNotFound: there is none, for this principal.
        """
        await self._own_batch(principal, batch_id)
        found = await self._batches.items(principal.tenant, batch_id, after, limit + 1)
        page = found[:limit]
        return BatchItems(
            items=[task_view(task) for task in page],
            next_after=found[limit].item if len(found) > limit else None,
        )

    async def cancel_batch(self, principal: Principal, batch_id: str) -> BatchView:
        """Stop what is left of a batch: pending items end now, running ones when their turns have stopped.

        Raises:
            BatchNotFound: there is none, for this principal.
        """
        await self._own_batch(principal, batch_id)
        await self._batches.cancel(principal.tenant, batch_id, now_ms())
        await self._keeper.advance(principal.tenant, batch_id)
        return await self.batch(principal, batch_id)

    async def _check_room(self, principal: Principal, more: int) -> None:
        """Refuse what one key would let wait for the workers of all.

        Requests at the same moment may each find room; it is a bound on a queue, not on money.

        Raises:
            TooManyTasks: so many are waiting that there is no room for ``more``.
        """
        most = self._settings.tasks_per_key
        if await self._tasks.waiting(principal.tenant, principal.subject, most) + more > most:
            raise TooManyTasks(most)

    def _task(self, principal: Principal, query: QueryRequest, now: int) -> TaskRecord:
        query = query.model_copy(update={"user_id": user_meant(principal, query.user_id)})
        return TaskRecord(
            tenant=principal.tenant,
            task_id=new_id("task"),
            subject=principal.subject,
            session_id=query.session_id,
            status="pending",
            request=query.model_dump_json(exclude_defaults=True),
            due_at=now + self._settings.task_requeue_ms,
            created_at=now,
            principal=stored_principal(principal),
        )

    async def _own(self, principal: Principal, task_id: str) -> TaskRecord:
        task = await self._tasks.task(principal.tenant, task_id)
        if task is None or task.subject != principal.subject:
            raise TaskNotFound(task_id)
        return task

    async def _own_batch(self, principal: Principal, batch_id: str) -> BatchRecord:
        batch = await self._batches.batch(principal.tenant, batch_id)
        if batch is None or batch.subject != principal.subject:
            raise BatchNotFound(batch_id)
        return batch


def _check(principal: Principal, query: QueryRequest) -> None:
    """Say now what needs no turn to be known."""
    check_timezone(query.timezone)
    if query.workflow_id is not None and not principal.may_use(query.workflow_id):
        raise Forbidden(f"This key may not use the workflow '{query.workflow_id}'.")
