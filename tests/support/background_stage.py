"""Work in the background on the stage of the Workflow service: its real parts, a queue that keeps what it is told."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from support.workflow_stage import ALICE, BOB, RIVAL, Stage

from signalbox.common.auth import KeyRing
from signalbox.common.secrets import ChainedSecrets, EnvironmentSecrets
from signalbox.common.telemetry.metrics import Metrics
from signalbox.contracts.background import AsyncQueryRequest, BatchRequest, BatchView, TaskAccepted, TaskView
from signalbox.contracts.identity import KeyRecord, Principal, key_id_of
from signalbox.workflow.background.batches import BatchKeeper
from signalbox.workflow.background.metrics import TaskMetrics
from signalbox.workflow.background.records import TaskName
from signalbox.workflow.background.runner import TaskRunner
from signalbox.workflow.background.schedule_repository import SqlScheduleStore
from signalbox.workflow.background.schedules import Scheduler, ScheduleService
from signalbox.workflow.background.submitting import Submitting
from signalbox.workflow.background.sweeper import TaskSweeper
from signalbox.workflow.background.task_repository import SqlBatchStore, SqlTaskStore
from signalbox.workflow.background.tasks import TaskService
from signalbox.workflow.pauses.repository import SqlPauseStore
from signalbox.workflow.pauses.service import PausedRuns
from signalbox.workflow.repository import SqlIdempotencyStore

SECRETS = {"SIGNALBOX_SECRET_ACME__WEBHOOK": "whsec_YWNtZQ=="}


class ToldQueue:
    """A queue that keeps what it is told until a test works on it."""

    def __init__(self) -> None:
        self.told: list[TaskName] = []

    def put(self, names: Iterable[TaskName]) -> None:
        """As ``TaskQueue.put``."""
        self.told += names


class BackgroundStage:
    """What one replica does in the background; ``stage`` is the replica that it belongs to."""

    def __init__(self, stage: Stage, name: str = "worker-a", **settings: Any) -> None:
        self.stage = stage
        self.settings = stage.settings.model_copy(update={"task_stale_ms": 400, **settings})
        database = stage.database
        self.queue = ToldQueue()
        self.tasks = SqlTaskStore(database)
        self.batches = SqlBatchStore(database)
        self.schedules = SqlScheduleStore(database)
        self.keys = KeyRing(_record(principal) for principal in (ALICE, BOB, RIVAL))
        self.metrics = Metrics("workflow")
        self.keeper = BatchKeeper(self.batches, self.queue, self.settings)
        self.runner = TaskRunner(
            self.tasks,
            self.keeper,
            self.queue,
            stage.runner,
            stage.running,
            self.keys,
            self.settings,
            name,
            TaskMetrics(self.metrics),
            SqlPauseStore(database),
        )
        self.paused_runs = PausedRuns(SqlPauseStore(database), self.queue, self.settings)
        submitting = Submitting(SqlIdempotencyStore(database), ChainedSecrets([EnvironmentSecrets(SECRETS)]))
        self.service = TaskService(
            self.tasks, self.batches, self.keeper, self.runner, self.queue, submitting, self.settings
        )
        self.schedule_service = ScheduleService(self.schedules, submitting, self.settings)
        self.scheduler = Scheduler(self.schedules, self.queue, self.settings)
        self.sweeper = TaskSweeper(self.tasks, self.keeper, self.queue, self.settings)

    async def submit(
        self,
        message: str,
        session_id: str = "s1",
        principal: Principal = ALICE,
        key: str | None = None,
        **more: Any,
    ) -> TaskAccepted:
        """Post an async query."""
        request = AsyncQueryRequest(message=message, session_id=session_id, **more)
        return await self.service.submit(principal, request, key)

    async def submit_batch(
        self, items: Iterable[Mapping[str, Any]], key: str | None = None, **more: Any
    ) -> BatchView:
        """Post a batch."""
        request = BatchRequest.model_validate({"items": list(items), **more})
        return await self.service.submit_batch(ALICE, request, key)

    async def work(self) -> int:
        """Look at everything that the queue was told, and at what is put meanwhile; how many looks that were."""
        looks = 0
        while self.queue.told:
            looks += 1
            await asyncio.create_task(self.runner.look(self.queue.told.pop(0)))
        return looks

    async def view(self, task_id: str, principal: Principal = ALICE) -> TaskView:
        """A task as its principal sees it."""
        return await self.service.task(principal, task_id)


def _record(principal: Principal) -> KeyRecord:
    key_id = key_id_of(principal.subject)
    assert key_id is not None
    return KeyRecord(
        key_id=key_id if principal.tenant == "acme" else f"{principal.tenant}-{key_id}",
        tenant=principal.tenant,
        name=key_id,
        secret_sha256="0" * 64,
        scopes=principal.scopes,
        created_at=0,
    )
