"""What one run writes down: a row before each write call and its result after it, and how the run ended.

A run that only reads is written once, at its end.
"""

from dataclasses import replace
from decimal import Decimal

import orjson

from signalbox.common.ids import now_ms
from signalbox.contracts.work import SkillResult, SkillRunRequest, ToolCallReply
from signalbox.skills.budget import Spent
from signalbox.skills.ports import Runs
from signalbox.skills.records import RunRecord, RunStatus, StepRecord, StepStatus

_PICO = Decimal(10) ** 12
_STATUS: dict[str, RunStatus] = {"waiting": "waiting", "cancelled": "cancelled", "failed": "failed"}


class Journal:
    """The journal of one run."""

    def __init__(self, runs: Runs, request: SkillRunRequest, parent_run_id: str | None = None) -> None:
        context = request.context
        now = now_ms()
        self._runs = runs
        self._begun = False
        self._record = RunRecord(
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

    async def before_write(
        self, step: str, tool: str, arguments: dict[str, object], idempotency_key: str
    ) -> StepRecord:
        """Write down that a write is about to be made; it must not be made unless this returns."""
        record = StepRecord(
            tenant=self._record.tenant,
            run_id=self._record.run_id,
            step=step,
            tool=tool,
            arguments=orjson.dumps(arguments).decode(),
            idempotency_key=idempotency_key,
            begun_at=now_ms(),
        )
        if self._begun:
            await self._runs.begin_step(record)
        else:
            await self._runs.begin(self._record, record)
            self._begun = True
        return record

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

    async def finish(self, result: SkillResult, spent: Spent) -> None:
        """Write down how the run ended. The request is forgotten: only a run that goes on needs it."""
        now = now_ms()
        waits = result.status == "waiting"
        ended = replace(
            self._record,
            status=_STATUS.get(result.status, "completed"),
            reason=result.reason,
            request=self._record.request if waits else "{}",
            result=result.model_dump_json(),
            steps=result.steps,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost_pico=int(spent.cost * _PICO) if spent.priced else None,
            updated_at=now,
            finished_at=None if waits else now,
        )
        await self._runs.finish(ended, begun=self._begun)
