"""Runs and their writes in SQL."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace

from signalbox.common.storage import (
    Database,
    Statement,
    Write,
    any_of,
    assigned,
    columns_of,
    insert_into,
    listed,
)
from signalbox.skills.records import RunRecord, StepRecord

_RUN = columns_of(RunRecord)
_ENDING = (
    "status",
    "reason",
    "request",
    "state",
    "result",
    "transcript",
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
    " AND attempt = :in_attempt"
)
_STAND = ("state", "updated_at")
_NOTE_STAND = Statement(
    f"UPDATE skills_runs SET {assigned(_STAND)} WHERE {_THIS_RUN} AND status = 'running'"
    " AND attempt = :in_attempt"
)
_TAKE_RUN = Statement(
    "UPDATE skills_runs SET attempt = attempt + 1, status = 'running', reason = NULL, result = NULL,"
    f" finished_at = NULL, updated_at = :now WHERE {_THIS_RUN} AND attempt = :in_attempt"
    " AND status IN ('running', 'cancelled', 'waiting')"
)
_STEPS = Statement(
    f"SELECT {listed(columns_of(StepRecord))} FROM skills_run_steps WHERE {_THIS_RUN} ORDER BY step"
)
_INSERT_STEP = Statement(insert_into("skills_run_steps", columns_of(StepRecord)))
_END_STEP = Statement(
    f"UPDATE skills_run_steps SET {assigned(_STEP_ENDING)}"
    f" WHERE {_THIS_RUN} AND step = :in_step AND status IN ('begun', 'unknown')"
)
# Not sorted there: SQLite would read all runs of the session, in the order of another index, rather than sort a few.
_TRANSCRIPTS = Statement(
    "SELECT turn_id, transcript, created_at, run_id FROM skills_runs"
    f" WHERE tenant = :in_tenant AND session_id = :in_session AND {any_of('turn_id', 'turns')}"
    " AND skill = :in_skill AND transcript IS NOT NULL"
)
_BEGIN_AGAIN = Statement(
    "UPDATE skills_run_steps SET status = 'begun', error = NULL, ended_at = NULL"
    f" WHERE {_THIS_RUN} AND step = :in_step AND status = 'unknown'"
)
_END_WAITING = Statement(
    "UPDATE skills_runs SET status = 'cancelled', reason = 'abandoned', request = '{}', state = NULL,"
    " updated_at = :now, finished_at = :now WHERE tenant = :in_tenant AND status = 'waiting'"
    " AND session_id = :in_session AND substr(run_id, 1, length(:below)) = :below"
)
_OF_SESSIONS = f"tenant = :in_tenant AND {any_of('session_id', 'sessions')}"
_FORGET_STEPS = Statement(
    "DELETE FROM skills_run_steps WHERE tenant = :in_tenant"
    f" AND run_id IN (SELECT run_id FROM skills_runs WHERE {_OF_SESSIONS})"
)
_FORGET_RUNS = Statement(f"DELETE FROM skills_runs WHERE {_OF_SESSIONS} RETURNING run_id")
_KEPT_RUNS = Statement(
    f"SELECT {listed(_RUN)} FROM skills_runs WHERE {_OF_SESSIONS} AND run_id > :behind"
    " ORDER BY run_id LIMIT :at_most"
)
_KEPT_STEPS = Statement(
    f"SELECT {listed(columns_of(StepRecord))} FROM skills_run_steps"
    f" WHERE tenant = :in_tenant AND {any_of('run_id', 'runs')} ORDER BY run_id, step"
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

    async def take(self, run: RunRecord, now: int) -> RunRecord:
        """See ``Runs.take``."""
        place = {"in_tenant": run.tenant, "in_run": run.run_id, "in_attempt": run.attempt, "now": now}
        await self._database.write(Write(_TAKE_RUN, place, expect=1))
        return replace(
            run,
            attempt=run.attempt + 1,
            status="running",
            reason=None,
            result=None,
            finished_at=None,
            updated_at=now,
        )

    async def steps(self, tenant: str, run_id: str) -> list[StepRecord]:
        """See ``Runs.steps``."""
        rows = await self._database.fetch_all(_STEPS, {"in_tenant": tenant, "in_run": run_id})
        return [StepRecord(**row) for row in rows]

    async def begin_step(self, run: RunRecord, step: StepRecord) -> None:
        """See ``Runs.begin_step``."""
        await self._database.write(_stand(run), Write(_INSERT_STEP, asdict(step)))

    async def begin_again(self, run: RunRecord, step: StepRecord) -> None:
        """See ``Runs.begin_again``."""
        place = {"in_tenant": step.tenant, "in_run": step.run_id, "in_step": step.step}
        await self._database.write(_stand(run), Write(_BEGIN_AGAIN, place, expect=1))

    async def end_waiting(self, run: RunRecord, now: int) -> None:
        """See ``Runs.end_waiting``. The ids of subtasks begin with that of the run that started them."""
        below = {"in_tenant": run.tenant, "in_session": run.session_id, "below": f"{run.run_id}/", "now": now}
        await self._database.write(Write(_END_WAITING, below))

    async def checkpoint(self, run: RunRecord) -> None:
        """See ``Runs.checkpoint``."""
        await self._database.write(_stand(run))

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
        place = {"in_tenant": run.tenant, "in_run": run.run_id, "in_attempt": run.attempt}
        await self._database.write(Write(_FINISH_RUN, {**values, **place}, expect=1))

    async def transcripts(
        self, tenant: str, session_id: str, skill: str, turn_ids: Sequence[str]
    ) -> list[tuple[str, str]]:
        """See ``Runs.transcripts``."""
        of = {"in_tenant": tenant, "in_session": session_id, "in_skill": skill, "turns": list(turn_ids)}
        rows = await self._database.fetch_all(_TRANSCRIPTS, of)
        ordered = sorted(rows, key=lambda row: (row["created_at"], row["run_id"]))
        return [(row["turn_id"], row["transcript"]) for row in ordered]

    async def forget(self, tenant: str, session_ids: Sequence[str]) -> int:
        """See ``Runs.forget``."""
        of = {"in_tenant": tenant, "sessions": list(session_ids)}
        [_, runs] = await self._database.write(Write(_FORGET_STEPS, of), Write(_FORGET_RUNS, of))
        return len(runs)

    async def kept(
        self, tenant: str, session_ids: Sequence[str], after: str, limit: int
    ) -> list[tuple[RunRecord, list[StepRecord]]]:
        """See ``Runs.kept``."""
        of = {"in_tenant": tenant, "sessions": list(session_ids), "behind": after, "at_most": limit}
        runs = [RunRecord(**row) for row in await self._database.fetch_all(_KEPT_RUNS, of)]
        named = {"in_tenant": tenant, "runs": [run.run_id for run in runs]}
        steps: dict[str, list[StepRecord]] = defaultdict(list)
        for row in await self._database.fetch_all(_KEPT_STEPS, named):
            steps[row["run_id"]].append(StepRecord(**row))
        return [(run, steps[run.run_id]) for run in runs]


def _stand(run: RunRecord) -> Write:
    """Where a run stands, noted only by the attempt that has it."""
    values = {f"new_{name}": getattr(run, name) for name in _STAND}
    place = {"in_tenant": run.tenant, "in_run": run.run_id, "in_attempt": run.attempt}
    return Write(_NOTE_STAND, {**values, **place}, expect=1)
