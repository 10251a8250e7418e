"""Tasks as clients see them, and what their webhooks say when they have ended."""

from dataclasses import replace
from typing import Any

import orjson

from signalbox.common.ids import new_id
from signalbox.contracts.background import BatchView, TaskStatus, TaskView, WebhookTarget
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryReply
from signalbox.workflow.background.records import OutboxMessage, TaskRecord


def task_view(task: TaskRecord) -> TaskView:
    """A task as its row has it."""
    result, error = None, None
    if task.result is not None and task.status == "success":
        result = QueryReply.model_validate_json(task.result)
    elif task.result is not None:
        error = Problem.model_validate_json(task.result)
    return TaskView(
        task_id=task.task_id,
        session_id=task.session_id,
        status=task.status,
        result=result,
        error=error,
        batch_id=task.batch_id,
        item=task.item,
        schedule_id=task.schedule_id,
        attempt=task.attempt,
        created_at=task.created_at,
        finished_at=task.finished_at,
    )


def webhooks_of(task: TaskRecord, status: TaskStatus, result: str | None, now: int) -> list[OutboxMessage]:
    """What the receiver of a task's result is told: ``task.success``, ``task.failed`` or ``task.cancelled``."""
    if task.webhook is None:
        return []
    data: dict[str, Any] = {
        "task_id": task.task_id,
        "session_id": task.session_id,
        "status": status,
        "result": orjson.Fragment(result) if result is not None and status == "success" else None,
        "error": orjson.Fragment(result) if result is not None and status == "failed" else None,
        "schedule_id": task.schedule_id,
        "created_at": task.created_at,
        "finished_at": now,
    }
    return [
        replace(
            _message(task.tenant, "task", task.webhook, f"task.{status}", data, now),
            session_id=task.session_id,
        )
    ]


def webhooks_of_batch(tenant: str, webhook: str | None, view: BatchView, now: int) -> list[OutboxMessage]:
    """What the receiver of a batch is told when its last item has ended: ``batch.finished`` and the counts."""
    if webhook is None:
        return []
    return [_message(tenant, "batch", webhook, "batch.finished", view.model_dump(mode="json"), now)]


def target_json(target: WebhookTarget | None) -> str | None:
    """A receiver as rows keep it."""
    return None if target is None else target.model_dump_json()


def _message(
    tenant: str, kind: str, target: str, event: str, data: dict[str, Any], now: int
) -> OutboxMessage:
    payload = {"type": event, "timestamp": now, "data": data}
    return OutboxMessage(
        tenant=tenant,
        message_id=new_id("msg"),
        kind=kind,
        target=target,
        payload=orjson.dumps(payload).decode(),
        due_at=now,
        created_at=now,
    )
