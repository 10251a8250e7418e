"""What one run writes down: where it stands, a row before each write call and its result after it, and how it ended.

A run that only reads is written once, at its end. From its first write on, where it stands is stored with each step, so
that another process can go on when this one is killed. Each attempt at a run has a number, and only the last one may
write: a process that was taken for dead cannot begin another write.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from signalbox.common.ids import now_ms
from signalbox.contracts.work import SkillResult, SkillRunRequest, ToolCallReply, ToolError
from signalbox.skills.budget import Spent
from signalbox.skills.checkpoint import Checkpoint
from signalbox.skills.ports import Runs
from signalbox.skills.records import RunRecord, RunStatus, StepRecord, StepStatus
from signalbox.skills.transcript import Transcript

_PICO = Decimal(10) ** 12
_STATUS: dict[str, RunStatus] = {"waiting": "waiting", "cancelled": "cancelled", "failed": "failed"}


class Journal:
    """The journal of one attempt at a run."""

    def __init__(
        self,
        runs: Runs,
        request: SkillRunRequest,
        parent_run_id: str | None = None,
        *,
        taken: RunRecord | None = None,
        steps: Sequence[StepRecord] = (),
    ) -> None:
        """``taken`` is the row of a run that an earlier attempt began, ``steps`` the writes that it noted."""
        context = request.context
        now = now_ms()
        self._runs = runs
        self._begun = taken is not None
        self._steps = {step.step: step for step in steps}
        self._stand: Callable[[], Checkpoint] | None = None
        self._left: Callable[[SkillResult], Transcript | None] | None = None
        self._record = taken or RunRecord(
            tenant=context.tenant,
            run_id=request.run_id,
            parent_run_id=parent_run_id,
            skill=request.skill,
            workflow_id=context.workflow_id,
            config_hash=context.config_hash,
            session_id=context.session_id,
            user_id=context.user_id,
            subject=context.subject,
            turn_id=context.turn_id,
            epoch=context.epoch,
            request=request.model_dump_json(),
            created_at=now,
            updated_at=now,
        )

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where the earlier attempt stood; None where there was none, or it had made no write."""
        state = self._record.state
        return None if state is None else Checkpoint.model_validate_json(state)

    def earlier(self, step: str) -> StepRecord | None:
        """What an earlier attempt noted of a write."""
        return self._steps.get(step)

    def stands(self, stand: Callable[[], Checkpoint]) -> None:
        """Say how to learn where the run stands; that is asked only when something is written."""
        self._stand = stand

    def leaves(self, left: Callable[[SkillResult], Transcript | None]) -> None:
        """Say how to learn what the run leaves for later turns; that is asked when it ends."""
        self._left = left

    async def before_write(
        self, step: str, tool: str, arguments: dict[str, Any], idempotency_key: str
    ) -> StepRecord:
        """Write down that a write is about to be made; it must not be made unless this returns.

        Raises:
            PreconditionFailed: another process has taken the run over.
        """
        record = StepRecord(
            tenant=self._record.tenant,
            run_id=self._record.run_id,
            step=step,
            tool=tool,
            arguments=orjson.dumps(arguments).decode(),
            idempotency_key=idempotency_key,
            begun_at=now_ms(),
        )
        self._note_stand()
        if self._begun:
            await self._runs.begin_step(self._record, record)
        else:
            await self._runs.begin(self._record, record)
            self._begun = True
        return record

    async def again(self, step: StepRecord) -> StepRecord:
        """Write down that a write whose outcome is unknown is made once more, because a person said so.

        Raises:
            PreconditionFailed: it is being made again already, or another process has taken the run over.
        """
        self._note_stand()
        reopened = replace(step, status="begun", error=None, ended_at=None)
        await self._runs.begin_again(self._record, reopened)
        return reopened

    async def after_write(self, step: StepRecord, reply: ToolCallReply) -> None:
        """Write down what came of a write."""
        status: StepStatus = "done"
        if reply.error is not None:
            status = "unknown" if reply.error.code == "unknown_outcome" else "failed"
        ended = replace(
            step,
            status=status,
            output=orjson.dumps(reply.output).decode() if reply.ok else None,
            error=reply.error.model_dump_json() if reply.error is not None else None,
            ended_at=now_ms(),
        )
        await self._runs.end_step(ended)

    async def step_ended(self) -> None:
        """Store where the run stands, if it has written anything; what only reads begins again.

        Raises:
            PreconditionFailed: another process has taken the run over.
        """
        if self._begun:
            self._note_stand()
            await self._runs.checkpoint(self._record)

    async def finish(self, result: SkillResult, spent: Spent) -> None:
        """Write down how the run ended. The request is forgotten: only a run that goes on needs it."""
        now = now_ms()
        if result.status == "waiting":
            self._note_stand()
        left = self._left(result) if self._left is not None else None
        goes_on = result.status in {"waiting", "cancelled"}
        ended = replace(
            self._record,
            status=_STATUS.get(result.status, "completed"),
            reason=result.reason,
            request=self._record.request if goes_on else "{}",
            state=self._record.state if goes_on else None,
            result=result.model_dump_json(),
            transcript=None if left is None else left.model_dump_json(exclude_none=True),
            steps=result.steps,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_pico=int(spent.cost * _PICO) if spent.priced else None,
            updated_at=now,
            finished_at=None if result.status == "waiting" else now,
        )
        await self._runs.finish(ended, begun=self._begun)

    def _note_stand(self) -> None:
        state = self._stand().model_dump_json(exclude_none=True) if self._stand is not None else None
        self._record = replace(self._record, state=state, updated_at=now_ms())


def noted_reply(step: StepRecord) -> ToolCallReply:
    """What a write gave, from its row. One of which no result was noted is of unknown outcome."""
    if step.status == "done":
        return ToolCallReply(ok=True, output=orjson.loads(step.output or "null"), took_ms=0.0, attempts=0)
    if step.status == "failed" and step.error is not None:
        error = ToolError.model_validate_json(step.error)
    else:
        error = ToolError(code="unknown_outcome", detail="The run was interrupted while this write was made.")
    return ToolCallReply(ok=False, error=error, took_ms=0.0, attempts=0)
