"""Runs and their writes in SQL."""

from dataclasses import asdict

from signalbox.common.storage import Database, Statement, Write, assigned, columns_of, insert_into, listed
from signalbox.skills.records import RunRecord, StepRecord

_RUN = columns_of(RunRecord)
_ENDING = (
    "status",
    "reason",
    "request",
    "state",
    "result",
    "steps",
    "input_tokens",
    "output_tokens",
    "cost_pico",
    "updated_at",
    "finished_at",
)
_STEP_ENDING = ("status", "output", "error", "ended_at")
_THIS_RUN = "tenant = :in_tenant AND run_id = :in_run"

_FIND = Statement(f"SELECT {listed(_RUN)} FROM skills_runs WHERE {_THIS_RUN}")
_INSERT_RUN = Statement(insert_into("skills_runs", _RUN))
_FINISH_RUN = Statement(
    f"UPDATE skills_runs SET {assigned(_ENDING)} WHERE {_THIS_RUN} AND status = 'running'"
)
_INSERT_STEP = Statement(insert_into("skills_run_steps", columns_of(StepRecord)))
_END_STEP = Statement(
    f"UPDATE skills_run_steps SET {assigned(_STEP_ENDING)}"
    f" WHERE {_THIS_RUN} AND step = :in_step AND status = 'begun'"
)


class SqlRuns:
    """See ``ports.Runs``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, tenant: str, run_id: str) -> RunRecord | None:
        """A run by its id."""
        row = await self._database.fetch_one(_FIND, {"in_tenant": tenant, "in_run": run_id})
        return None if row is None else RunRecord(**row)

    async def begin(self, run: RunRecord, step: StepRecord) -> None:
        """Store a run with its first write in one transaction. Raises DuplicateKey."""
        await self._database.write(Write(_INSERT_RUN, asdict(run)), Write(_INSERT_STEP, asdict(step)))

    async def begin_step(self, step: StepRecord) -> None:
        """Store that a write is about to be made. Raises DuplicateKey."""
        await self._database.write(Write(_INSERT_STEP, asdict(step)))

    async def end_step(self, step: StepRecord) -> None:
        """Store what came of a write. Raises PreconditionFailed when that is stored already."""
        values = {f"new_{name}": getattr(step, name) for name in _STEP_ENDING}
        place = {"in_tenant": step.tenant, "in_run": step.run_id, "in_step": step.step}
        await self._database.write(Write(_END_STEP, {**values, **place}, expect=1))

    async def finish(self, run: RunRecord, *, begun: bool) -> None:
        """Store how a run ended. Raises DuplicateKey or PreconditionFailed when another attempt did so."""
        if not begun:
            await self._database.write(Write(_INSERT_RUN, asdict(run)))
            return
        values = {f"new_{name}": getattr(run, name) for name in _ENDING}
        place = {"in_tenant": run.tenant, "in_run": run.run_id}
        await self._database.write(Write(_FINISH_RUN, {**values, **place}, expect=1))
