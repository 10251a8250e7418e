"""Doing what a turn was routed to: a flow, a skill, a tool, an action or a reply."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

import orjson

from signalbox.common.clients import FlowsClient, ServiceCallFailed, SkillsClient, ToolsClient
from signalbox.common.errors import SignalboxError, Unavailable
from signalbox.common.ids import new_id
from signalbox.common.passages import citation, cited, quoted, read_passages
from signalbox.contracts.config import AgentSkill, Route
from signalbox.contracts.context import ChatMessage
from signalbox.contracts.events import (
    TextData,
    TextEvent,
    ToolCallData,
    ToolCallEvent,
    ToolResultData,
    ToolResultEvent,
    TurnEvent,
    UsageEvent,
)
from signalbox.contracts.pauses import Pause, Verdict
from signalbox.contracts.query import QueryStatus
from signalbox.contracts.work import (
    ErrorFrame,
    EventFrame,
    FlowResult,
    FlowResultFrame,
    FlowRunRequest,
    FlowState,
    Frame,
    Passage,
    SkillResult,
    SkillResultFrame,
    SkillRunRequest,
    ToolCallReply,
    ToolCallRequest,
    WorkStatus,
)
from signalbox.workflow.actions import Actions, Situation
from signalbox.workflow.agreeing import verdicts_on
from signalbox.workflow.knowledge import Knowledge, Moment
from signalbox.workflow.records import PausedRun, WaitingRun
from signalbox.workflow.resuming import BrokenOff, to_its_end
from signalbox.workflow.texts import builtin
from signalbox.workflow.told_once import ToldOnce
from signalbox.workflow.work import Outcome, Work, render

_LOG = logging.getLogger(__name__)

_UNFIT = frozenset({"flow_state_invalid", "unknown_flow"})
"""Codes of Flows for a state that this snapshot cannot go on with."""
_STATUS: dict[WorkStatus, QueryStatus] = {
    "completed": "success",
    "waiting": "waiting",
    "cancelled": "success",
    "failed": "error",
    "handed_off": "handoff",
}


class WorkFailed(SignalboxError):
    """A callee ended its stream without a result."""

    code = "work_failed"
    status = 502


class Executor:
    """Follows routes."""

    def __init__(
        self, flows: FlowsClient, skills: SkillsClient, tools: ToolsClient, actions: Actions
    ) -> None:
        self._flows = flows
        self._skills = skills
        self._tools = tools
        self._actions = actions
        self._knowledge = Knowledge(self.observe)

    async def follow(self, route: Route, work: Work) -> Outcome:
        """Do what ``route`` says. A part that fails is an outcome that says so; only defects raise."""
        try:
            if route.flow is not None:
                request = FlowRunRequest(
                    context=work.context,
                    flow=route.flow,
                    arguments=_arguments(route, work),
                    message=work.message,
                    place=work.place,
                )
                return await self._run_flow(work, request)
            if route.skill is not None:
                return await self._run_skill(work, route.skill, _arguments(route, work))
            if route.tool is not None:
                return await self._call_tool(work, route, route.tool)
            if route.action is not None:
                return await self._act(work, route.action)
            return await self._known(work) or await self._say(work, route)
        except SignalboxError as error:
            return await _failed(work, error)

    async def resume(
        self,
        state: FlowState,
        work: Work,
        *,
        corrections: dict[str, Any] | None = None,
        asking: bool = False,
        not_understood: str | None = None,
    ) -> Outcome:
        """Go on with an open flow."""
        request = FlowRunRequest(
            context=work.context,
            flow=state.flow,
            state=state,
            message=work.message,
            corrections=corrections or {},
            asking=asking,
            not_understood=not_understood,
        )
        try:
            return await self._run_flow(work, request)
        except SignalboxError as error:
            outcome = await _failed(work, error)
            if error.problem().code in _UNFIT:
                # A newer release, where that is followed: it would fail for ever.
                return outcome
            # The flow stays open: the user may say it again once what failed works.
            return replace(outcome, flow=state)

    async def question(self, state: FlowState, work: Work) -> FlowResult | None:
        """The open question of a flow, as it is asked again; None when Flows cannot be asked."""
        request = FlowRunRequest(
            context=work.context, flow=state.flow, state=state, message=work.message, asking=True
        )
        try:
            async with aclosing(self._flows.run(request, work.principal)) as frames:
                result = await _drain("flows", frames, work)
        except SignalboxError as error:
            _LOG.warning("an open question cannot be asked again: %s", error.detail)
            return None
        return result if isinstance(result, FlowResult) else None

    async def _say(self, work: Work, route: Route) -> Outcome:
        text = render(work, route.reply) if route.reply is not None else ""
        await work.emit(TextEvent(data=TextData(delta=text)))
        return Outcome(text)

    async def _known(self, work: Work) -> Outcome | None:
        """What knowledge sources have for a message that nothing fits; None where that is nothing."""
        passages = await self._knowledge.passages(work, {"on_fallback"}) if work.fell_back else []
        if not passages:
            return None
        await work.emit(TextEvent(data=TextData(delta=passages[0].text)))
        return Outcome(passages[0].text, parts=[citation(passages[0])])

    async def _act(
        self, work: Work, action_id: str, said: str = "", ended: FlowResult | None = None
    ) -> Outcome:
        action = work.snapshot.actions.get(action_id)
        transcript: list[ChatMessage] = []
        if action is not None and action.type == "handoff" and action.webhook is not None:
            transcript = [*await work.transcript(), ChatMessage(role="user", text=work.message)]
            if said:
                transcript.append(ChatMessage(role="assistant", text=said))
        situation = Situation(
            parameters=work.parameters,
            slots=ended.slots if ended is not None else work.slots,
            reason=ended.reason if ended is not None and ended.reason is not None else work.reason,
            message=work.message,
            transcript=transcript,
        )
        outcome = self._actions.take(
            work.snapshot, action_id, work.context, situation, said, work.untranslated
        )
        text = outcome.message.removeprefix(said).lstrip("\n") if said else outcome.message
        if text:
            await work.emit(TextEvent(data=TextData(delta=f"\n\n{text}" if said else text)))
        return Outcome(
            outcome.message,
            outcome.status,
            profile=outcome.profile,
            session_status=outcome.session_status,
            usage=work.usage,
            outbox=outcome.outbox,
        )

    async def _run_flow(self, work: Work, request: FlowRunRequest) -> Outcome:
        async with aclosing(self._flows.run(request, work.principal)) as frames:
            result = await _drain("flows", frames, work)
        if not isinstance(result, FlowResult):
            raise WorkFailed("The Flows service ended its answer without a result.")
        # Flows says everything in its result; only then is it known to be final.
        if result.message:
            await work.emit(TextEvent(data=TextData(delta=result.message)))
        outcome = Outcome(
            result.message,
            _STATUS[result.status],
            list(result.parts),
            result.reason,
            flow=result.state if result.status == "waiting" else None,
            usage=work.usage,
        )
        return await self._with_action(work, outcome, result.action, result)

    async def _run_skill(self, work: Work, skill: str, arguments: dict[str, Any]) -> Outcome:
        if work.snapshot.asks_models(skill) and (refusal := await work.allowance.refusal()) is not None:
            return await self._exhausted(work, refusal)
        passages: list[Passage] = []
        if isinstance(work.snapshot.skills.get(skill), AgentSkill):
            moments: set[Moment] = {"before_answer", "on_fallback"} if work.fell_back else {"before_answer"}
            passages = await self._knowledge.passages(work, moments)
        request = SkillRunRequest(
            context=work.context,
            skill=skill,
            run_id=work.key(skill),
            arguments=arguments,
            message=work.message,
            history=await work.history(),
            passages=passages,
        )
        return await self._run(work, request)

    async def go_on(self, paused: PausedRun, verdicts: dict[str, Verdict], work: Work) -> Outcome:
        """Go on with a run that waits, now that somebody has said something to what it asked."""
        request = SkillRunRequest(
            context=work.context,
            skill=paused.skill,
            run_id=paused.run_id,
            message=work.message,
            verdicts=verdicts,
        )
        try:
            return await self._run(work, request)
        except SignalboxError as error:
            outcome = await _failed(work, error)
            if error.problem().code == "unknown_run":
                return outcome
            # It waits on: the user may say it again once what failed works.
            return replace(outcome, paused=paused)

    async def settle(self, run: PausedRun, verdicts: dict[str, Verdict], work: Work) -> Outcome:
        """Go on with a run that an operator has decided on.

        Raises:
            Unavailable: it cannot go on now; the decision stands, and is given to it again.
        """
        request = SkillRunRequest(
            context=work.context, skill=run.skill, run_id=run.run_id, message=work.message, verdicts=verdicts
        )
        try:
            return await self._run(work, request)
        except SignalboxError as error:
            if error.problem().code == "unknown_run":
                raise
            raise Unavailable(f"The run cannot go on now: {error.detail}") from error

    async def drop(self, paused: PausedRun, work: Work) -> str:
        """End a run whose question was answered with something else; what is then to be said of it."""
        quiet = replace(work, emit=_unheard)
        outcome = await self.go_on(paused, verdicts_on(paused, "abandon"), quiet)
        if outcome.reason != "abandoned" and outcome.paused is None and outcome.status == "success":
            # It had got its yes from a turn that was lost: what it has done since is what there is to say.
            return outcome.message
        what = ", ".join(call.summary for call in paused.calls)
        return render(work, builtin("not_done"), what=what)

    async def _run(self, work: Work, request: SkillRunRequest) -> Outcome:
        """A run to its end, or to where it waits."""
        once = ToldOnce(work.emit)
        told = replace(work, emit=once)
        begun = time.monotonic()

        async def attempt(number: int) -> SkillResult:
            elapsed = int((time.monotonic() - begun) * 1000)
            repeated = {"attempt": number, "elapsed_ms": elapsed}
            again = request if number == 1 else request.model_copy(update=repeated)
            once.again()
            async with aclosing(self._skills.run(again, work.principal)) as frames:
                result = await _drain("skills", frames, told)
            await once.ended()
            if not isinstance(result, SkillResult):
                raise BrokenOff("The Skills service ended its answer without a result.")
            return result

        result = await to_its_end(attempt)
        parts = [*cited(result.message, request.passages), *result.parts]
        outcome = Outcome(result.message, _STATUS[result.status], parts, result.reason, usage=work.usage)
        if result.pause is not None:
            outcome = _waiting(outcome, request, result.pause)
        if result.degraded is not None and result.status in {"completed", "failed"}:
            outcome = replace(outcome, status="degraded", reason=result.degraded)
        return await self._with_action(work, outcome, result.action)

    async def _exhausted(self, work: Work, reason: str) -> Outcome:
        """What is left to say, and to do, where a skill needs a model and none may be asked."""
        policy = work.snapshot.config.policies.degradation
        text = render(work, policy.reply or builtin("model_unavailable"))
        await work.emit(TextEvent(data=TextData(delta=text)))
        return await self._with_action(work, Outcome(text, "degraded", reason=reason), policy.action)

    async def _with_action(
        self, work: Work, outcome: Outcome, action: str | None, ended: FlowResult | None = None
    ) -> Outcome:
        if action is None:
            return outcome
        taken = await self._act(work, action, said=outcome.message, ended=ended)
        status = outcome.status if taken.status == "success" else taken.status
        return replace(taken, status=status, parts=outcome.parts, reason=outcome.reason, usage=outcome.usage)

    async def _call_tool(self, work: Work, route: Route, tool: str) -> Outcome:
        reply = await self.observe(work, tool, _arguments(route, work), "tool")
        if not reply.ok:
            code = reply.error.code if reply.error else "tool_failed"
            text = render(work, builtin("failed"))
            await work.emit(TextEvent(data=TextData(delta=text)))
            return Outcome(text, "error", reason=code, usage=work.usage)
        passages = read_passages(reply.output, work.snapshot.sources.get(tool, 0))
        if route.reply is not None:
            text = render(work, route.reply, result=reply.output)
        else:
            text = passages[0].text if passages else _shown(reply.output)
        await work.emit(TextEvent(data=TextData(delta=text)))
        return Outcome(text, parts=[*quoted(text, passages)], usage=work.usage)

    async def observe(self, work: Work, tool: str, arguments: dict[str, Any], name: str) -> ToolCallReply:
        """One tool call, told by two events; nothing is said to the user. ``name`` tells its key from others.

        Raises:
            SignalboxError: the tool could not be called.
        """
        call_id = work.key(name)
        await work.emit(ToolCallEvent(data=ToolCallData(call_id=call_id, tool=tool, arguments=arguments)))
        request = ToolCallRequest(
            context=work.context, tool=tool, arguments=arguments, idempotency_key=call_id
        )
        try:
            reply = await self._tools.call(request, work.principal)
        except SignalboxError as error:
            failed = ToolResultData(
                call_id=call_id, tool=tool, ok=False, error=error.problem().code, took_ms=0
            )
            await work.emit(ToolResultEvent(data=failed))
            raise
        await work.emit(_tool_result(call_id, tool, reply))
        return reply


async def _failed(work: Work, error: SignalboxError) -> Outcome:
    """The outcome of work that could not be done: a sentence for the user, a code for the operator."""
    policy = work.snapshot.config.policies.degradation
    text = render(work, policy.reply or builtin("failed"))
    await work.emit(TextEvent(data=TextData(delta=text)))
    return Outcome(text, "error", reason=error.problem().code, usage=work.usage)


async def _unheard(_: TurnEvent) -> None:
    """Tells nobody."""


def _waiting(outcome: Outcome, request: SkillRunRequest, pause: Pause) -> Outcome:
    """The outcome with the run that waits for the user, or for an operator."""
    if pause.by == "operator":
        waits = WaitingRun(new_id("pause"), request.run_id, request.skill, pause.reason, pause.calls)
        return replace(outcome, waits=waits)
    # The session keeps no arguments; the run has them.
    calls = [call.model_copy(update={"arguments": {}}) for call in pause.calls]
    paused = PausedRun(run_id=request.run_id, skill=request.skill, calls=calls, asked=outcome.message)
    return replace(outcome, paused=paused)


def _tool_result(call_id: str, tool: str, reply: ToolCallReply) -> ToolResultEvent:
    return ToolResultEvent(
        data=ToolResultData(
            call_id=call_id,
            tool=tool,
            ok=reply.ok,
            output=reply.output,
            error=reply.error.code if reply.error else None,
            took_ms=reply.took_ms,
        )
    )


def _shown(output: Any) -> str:
    return output if isinstance(output, str) else orjson.dumps(output).decode()


def _arguments(route: Route, work: Work) -> dict[str, Any]:
    if not route.arguments:
        return work.parameters
    values = work.snapshot.values(work.context, parameters=work.parameters)
    rendered: dict[str, Any] = work.snapshot.templates.render_value(route.arguments, values)
    return rendered


async def _drain(
    service: Literal["flows", "skills"], frames: AsyncIterator[Frame], work: Work
) -> FlowResult | SkillResult | None:
    """Pass events on; return the result.

    Raises:
        ServiceCallFailed: the callee ended with an error.
    """
    async for frame in frames:
        match frame:
            case EventFrame(event=event):
                if isinstance(event, UsageEvent):
                    work.usage.append(event.data)
                await work.emit(event)
            case FlowResultFrame(result=flow_result):
                work.untranslated.update(flow_result.untranslated)
                return flow_result
            case SkillResultFrame(result=skill_result):
                return skill_result
            case ErrorFrame(problem=problem):
                raise ServiceCallFailed(service, problem, {})
    return None
