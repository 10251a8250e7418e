"""Schedules in SQL."""

from typing import Any

from signalbox.common.storage import (
    Database,
    PreconditionFailed,
    Statement,
    Write,
    assigned,
    columns_of,
    insert_into,
    listed,
    row_of,
)
from signalbox.workflow.background.records import ScheduleRecord, TaskRecord
from signalbox.workflow.background.task_repository import insert_task

_COLUMNS = columns_of(ScheduleRecord)
_CHANGEABLE = (
    "name",
    "cron",
    "timezone",
    "request",
    "status",
    "due_at",
    "webhook",
    "principal",
    "updated_at",
)
_THIS = "tenant = :in_tenant AND schedule_id = :in_schedule"
_SELECT = f"SELECT {listed(_COLUMNS)} FROM workflow_schedules"

_INSERT = Statement(insert_into("workflow_schedules", _COLUMNS))
_SCHEDULE = Statement(f"{_SELECT} WHERE {_THIS}")
_OF_SUBJECT = Statement(
    f"{_SELECT} WHERE tenant = :in_tenant AND subject = :in_subject ORDER BY name, schedule_id"
)
_REPLACE = Statement(f"UPDATE workflow_schedules SET {assigned(_CHANGEABLE)} WHERE {_THIS}")
_DELETE = Statement(f"DELETE FROM workflow_schedules WHERE {_THIS} RETURNING schedule_id")
_DUE = Statement(f"{_SELECT} WHERE status = 'active' AND due_at <= :now ORDER BY due_at LIMIT :at_most")
_FIRE = Statement(
    "UPDATE workflow_schedules SET due_at = :new_due_at, last_run_at = :now, last_task_id = :new_task"
    f" WHERE {_THIS} AND status = 'active' AND due_at = :in_due_at AND updated_at = :in_updated_at"
)


class SqlScheduleStore:
    """``ScheduleStore`` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, schedule: ScheduleRecord) -> None:
        """See ``ScheduleStore.add``."""
        await self._database.write(Write(_INSERT, row_of(schedule)))

    async def schedule(self, tenant: str, schedule_id: str) -> ScheduleRecord | None:
        """See ``ScheduleStore.schedule``."""
        row = await self._database.fetch_one(_SCHEDULE, _name(tenant, schedule_id))
        return None if row is None else ScheduleRecord(**row)

    async def of_subject(self, tenant: str, subject: str) -> list[ScheduleRecord]:
        """See ``ScheduleStore.of_subject``."""
        params = {"in_tenant": tenant, "in_subject": subject}
        return [ScheduleRecord(**row) for row in await self._database.fetch_all(_OF_SUBJECT, params)]

    async def replace(self, schedule: ScheduleRecord) -> bool:
        """See ``ScheduleStore.replace``."""
        changed = {f"new_{name}": value for name, value in row_of(schedule).items()}
        params = {**_name(schedule.tenant, schedule.schedule_id), **changed}
        return await self._written(Write(_REPLACE, params, expect=1))

    async def delete(self, tenant: str, schedule_id: str) -> bool:
        """See ``ScheduleStore.delete``."""
        [rows] = await self._database.write(Write(_DELETE, _name(tenant, schedule_id)))
        return bool(rows)

    async def due(self, now: int, limit: int) -> list[ScheduleRecord]:
        """See ``ScheduleStore.due``."""
        rows = await self._database.fetch_all(_DUE, {"now": now, "at_most": limit})
        return [ScheduleRecord(**row) for row in rows]

    async def fire(self, schedule: ScheduleRecord, next_at: int, now: int, task: TaskRecord) -> bool:
        """See ``ScheduleStore.fire``."""
        params = {
            **_name(schedule.tenant, schedule.schedule_id),
            "in_due_at": schedule.due_at,
            "in_updated_at": schedule.updated_at,
            "new_due_at": next_at,
            "new_task": task.task_id,
            "now": now,
        }
        return await self._written(Write(_FIRE, params, expect=1), insert_task(task))

    async def _written(self, *writes: Write) -> bool:
        try:
            await self._database.write(*writes)
        except PreconditionFailed:
            return False
        return True


def _name(tenant: str, schedule_id: str) -> dict[str, Any]:
    return {"in_tenant": tenant, "in_schedule": schedule_id}
