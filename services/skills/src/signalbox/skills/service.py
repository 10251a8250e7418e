"""One skill call: a stored run answered again, or a new one carried out, with its subtasks."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.common.record import record
from signalbox.common.web import Emit, Work
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.config import Budget
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.pauses import Pause, PendingCall
from signalbox.contracts.work import (
    Frame,
    SkillResult,
    SkillResultFrame,
    SkillRunRequest,
    ToolCallReply,
    ToolError,
)
from signalbox.skills import messages
from signalbox.skills.agent import AgentRun
from signalbox.skills.approval import question
from signalbox.skills.book import CompiledAgent, CompiledFunction, CompiledSkill, SkillBook
from signalbox.skills.budget import Meter, joined
from signalbox.skills.errors import ModelUnavailable, UnknownRun
from signalbox.skills.function import run_function, told
from signalbox.skills.journal import Journal
from signalbox.skills.memory import Memory, remembered
from signalbox.skills.metrics import SkillMetrics
from signalbox.skills.model import Conversation, chosen_model
from signalbox.skills.ports import HttpCalls, Model, Runs, SkillBooks, ToolCaller
from signalbox.skills.records import RunRecord, StepRecord
from signalbox.skills.subtasks import Parent, Subtasks
from signalbox.skills.tool_use import ToolUse

_LOG = logging.getLogger(__name__)


@record
class Callees:
    """Whom runs call, for a principal."""

    tools_for: Callable[[Principal], ToolCaller]
    model_for: Callable[[Principal], Model]
    http: HttpCalls
    gate: WriteGate


class SkillRuns:
    """Runs the skills of snapshots."""

    def __init__(
        self,
        books: SkillBooks,
        runs: Runs,
        callees: Callees,
        tracer: trace.Tracer,
        metrics: SkillMetrics,
        *,
        result_chars: int,
        context_tokens: int,
        transcript_chars: int,
    ) -> None:
        self._books = books
        self._runs = runs
        self._callees = callees
        self._tracer = tracer
        self._result_chars = result_chars
        self._metrics = metrics
        self._context_tokens = context_tokens
        self._transcript_chars = transcript_chars

    async def prepare(self, request: SkillRunRequest, principal: Principal) -> Work:
        """The work of a call, once it is certain that it can begin.

        Raises:
            UnknownSnapshot: the tenant has no snapshot of this hash.
            UnknownSkill: the snapshot has no such skill.
        """
        book = await self._books.get(request.context.tenant, request.context.config_hash)
        book.skill(request.skill)

        async def work(emit: Emit) -> Frame:
            return SkillResultFrame(result=await self._run(book, request, principal, emit, None))

        return work

    def _writing(
        self, function: CompiledFunction, request: SkillRunRequest
    ) -> AbstractAsyncContextManager[None]:
        """Holds the turn's gate while a function runs that must not be stopped in the middle."""
        if function.skill.idempotent:
            return nullcontext()
        return self._callees.gate.write(request.context.tenant, request.context.turn_id)

    async def _journal(
        self, request: SkillRunRequest, stored: RunRecord | None, parent: Parent | None
    ) -> Journal:
        """The journal of a new run, or of the next attempt at one that was interrupted.

        Raises:
            PreconditionFailed: another process has taken the run.
            TurnStopped: the turn is being stopped.
        """
        parent_id = parent.run_id if parent is not None else None
        if stored is None:
            return Journal(self._runs, request, parent_id)
        tenant = request.context.tenant
        taken = await self._runs.take(stored, now_ms())
        # A write that the killed process began may be on its way still: Tools holds the gate until it has ended.
        async with self._callees.gate.write(tenant, request.context.turn_id):
            steps = await self._runs.steps(tenant, request.run_id)
        return Journal(self._runs, request, parent_id, taken=taken, steps=steps)

    async def _run_function(
        self, book: SkillBook, function: CompiledFunction, request: SkillRunRequest, journal: Journal
    ) -> SkillResult:
        """Call a function. One that may write is noted before and after, and never called again in doubt."""
        if not function.writes:
            async with self._writing(function, request):
                return await run_function(book, function, request, self._callees.http)
        key = f"{request.run_id}/1"
        note = journal.earlier("1")
        if note is not None:
            verdict = request.verdicts.get(key)
            if note.status != "unknown" or verdict is None or verdict.decision not in ("happened", "repeat"):
                return await _in_doubt(book, request, journal, note)
            if verdict.decision == "happened":
                await journal.after_write(note, ToolCallReply(ok=True, output=verdict.output, took_ms=0.0))
                return told(book, function, request, verdict.output)
        async with self._writing(function, request):
            if note is None:
                note = await journal.before_write("1", request.skill, request.arguments, key)
            else:
                note = await journal.again(note)
            result = await run_function(book, function, request, self._callees.http)
        if result.reason == "unknown_outcome":
            return await _in_doubt(book, request, journal, note)
        error = None
        if result.status == "failed":
            error = ToolError(code="upstream_error", detail=f"The function failed: {result.reason}.")
        reply = ToolCallReply(ok=error is None, output=result.output, error=error, took_ms=0.0)
        await journal.after_write(note, reply)
        return result

    async def _read(
        self, skill: CompiledSkill, request: SkillRunRequest, parent: Parent | None
    ) -> tuple[RunRecord | None, Memory]:
        """What is stored of the run, and what it remembers of earlier turns; read at the same time."""
        found = self._runs.find(request.context.tenant, request.run_id)
        if parent is not None or not isinstance(skill, CompiledAgent) or not request.history:
            return await found, Memory.of_nothing()
        return await asyncio.gather(found, remembered(self._runs, skill, request))

    async def _abandon(self, book: SkillBook, request: SkillRunRequest, stored: RunRecord) -> SkillResult:
        """End a run that waits, and what waits below it."""
        message = book.text(messages.ABANDONED, request.context, {})
        result = SkillResult(status="failed", message=message, reason="abandoned", steps=stored.steps)
        now = now_ms()
        taken = await self._runs.take(stored, now)
        await self._runs.end_waiting(stored, now)
        ended = replace(
            taken,
            status="failed",
            reason=result.reason,
            request="{}",
            state=None,
            result=result.model_dump_json(),
            finished_at=now,
        )
        await self._runs.finish(ended, begun=True)
        return result

    async def _run(
        self,
        book: SkillBook,
        request: SkillRunRequest,
        principal: Principal,
        emit: Emit,
        parent: Parent | None,
    ) -> SkillResult:
        skill = book.skill(request.skill)
        stored, memory = await self._read(skill, request, parent)
        goes_on = stored is not None and stored.status == "waiting" and bool(request.verdicts)
        if stored is None and request.verdicts and parent is None:
            raise UnknownRun(request.run_id)
        if stored is not None and stored.result is not None and stored.status != "cancelled" and not goes_on:
            again = SkillResult.model_validate_json(stored.result)
            emit(TextEvent(data=TextData(delta=again.message)))
            return again
        if stored is not None and request.verdicts:
            if goes_on and any(one.decision == "abandon" for one in request.verdicts.values()):
                return await self._abandon(book, request, stored)
            request = _as_begun(request, stored)
        journal = await self._journal(request, stored, parent)
        own = skill.skill.budget if isinstance(skill, CompiledAgent) else Budget()
        meter = Meter(
            joined(own, parent.budget) if parent is not None else own,
            limits=book.config.llm.limits,
            parent=parent.meter if parent is not None else None,
        )
        meter.charge_time(request.elapsed_ms / 1000)
        with self._tracer.start_as_current_span(f"skill {request.skill}") as span:
            try:
                if isinstance(skill, CompiledAgent):
                    result = await self._run_agent(
                        book, skill, request, principal, emit, meter, journal, memory, parent
                    )
                else:
                    result = await self._run_function(book, skill, request, journal)
                    emit(TextEvent(data=TextData(delta=result.message)))
            except asyncio.CancelledError:
                await _note_end(journal, SkillResult(status="cancelled", message=""), meter)
                raise
            span.set_attribute("signalbox.skill.run_id", request.run_id)
            span.set_attribute("signalbox.skill.status", result.status)
            span.set_attribute("signalbox.skill.steps", result.steps)
            if result.status == "failed":
                span.set_status(Status(StatusCode.ERROR, result.reason))
        await _note_end(journal, result, meter)
        return result

    async def _run_agent(
        self,
        book: SkillBook,
        agent: CompiledAgent,
        request: SkillRunRequest,
        principal: Principal,
        emit: Emit,
        meter: Meter,
        journal: Journal,
        memory: Memory,
        parent: Parent | None,
    ) -> SkillResult:
        model = self._callees.model_for(principal)
        count = partial(self._metrics.used, request.context.workflow_id, request.skill)
        conversation = Conversation(model, self._tracer, meter, emit, count)
        role = agent.skill.model_role
        try:
            chosen = await chosen_model(model, role, book.config.llm.role(role), request.model)
        except ModelUnavailable as error:
            _LOG.warning("a skill cannot run: %s", error.detail, extra={"skill": request.skill})
            policy = book.config.policies.degradation
            message = book.text(policy.reply or messages.NO_MODEL, request.context, {})
            conversation.say(message)
            return SkillResult(
                status="failed",
                message=message,
                action=policy.action,
                reason=error.code,
                degraded=error.reason,
            )
        depth = parent.depth + 1 if parent is not None else 1

        async def start(below: SkillRunRequest, emit: Emit, under: Parent) -> SkillResult:
            return await self._run(book, below, principal, emit, under)

        subtasks = Subtasks(book, agent.skill, request, meter, depth, emit, start)
        tool_use = ToolUse(
            book,
            agent,
            request,
            tools=self._callees.tools_for(principal),
            journal=journal,
            emit=emit,
            run_subtask=subtasks.run,
            result_chars=self._result_chars,
        )
        run = AgentRun(
            book,
            agent,
            request,
            model=chosen,
            conversation=conversation,
            tool_use=tool_use,
            meter=meter,
            context_tokens=self._context_tokens,
            transcript_chars=self._transcript_chars,
            memory=memory,
            journal=journal,
        )
        return await run.run()


def _as_begun(request: SkillRunRequest, stored: RunRecord) -> SkillRunRequest:
    """What a run was begun with, in the turn that it goes on in.

    Its model calls are told from those of every earlier attempt: another verdict may have been given to that.
    """
    begun = SkillRunRequest.model_validate_json(stored.request)
    attempt = max(request.attempt, stored.attempt + 1)
    return begun.model_copy(
        update={
            "context": request.context,
            "verdicts": request.verdicts,
            "attempt": attempt,
            "elapsed_ms": request.elapsed_ms,
        }
    )


async def _in_doubt(
    book: SkillBook, request: SkillRunRequest, journal: Journal, note: StepRecord
) -> SkillResult:
    """The result of a function of which nobody can say whether it did its work: the run waits."""
    lost = ToolError(code="unknown_outcome", detail="It is not known whether the function did its work.")
    await journal.after_write(note, ToolCallReply(ok=False, error=lost, took_ms=0.0))
    skill = book.skill(request.skill).skill
    what = skill.description.strip().rstrip(".") or skill.id
    call = PendingCall(
        call_id=f"{request.run_id}/1", tool=skill.id, arguments=request.arguments, summary=what
    )
    pause = Pause(by="operator", reason="unknown_outcome", calls=[call])
    message, _ = question(book, request, pause)
    return SkillResult(status="waiting", message=message, reason=pause.reason, pause=pause, steps=1)


async def _note_end(journal: Journal, result: SkillResult, meter: Meter) -> None:
    """Store how the run ended. An answer is not lost because its record could not be written; a question would be.

    Raises:
        SignalboxError: the run waits, and where it stands could not be stored.
    """
    if result.status == "waiting":
        await journal.finish(result, meter.spent)
        return
    try:
        await journal.finish(result, meter.spent)
    except SignalboxError as error:
        _LOG.warning("a run's end could not be stored: %s", error.detail)
