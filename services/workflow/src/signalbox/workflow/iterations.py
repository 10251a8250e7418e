"""Turns of several acts: after each, the ``decide`` model says by the workflow's procedure what is done next.

The acts are offered to the model as functions; what they gave is shown to it as their results, as data. A text of the
model is the last thing that is said.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
from pydantic import ConfigDict

from signalbox.common.clients import CallLabels, GatewayClient
from signalbox.common.context import current_deadline
from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.contracts.events import (
    IntentData,
    IntentEvent,
    RouteTarget,
    TextData,
    TextEvent,
    ToolResultEvent,
    TurnEvent,
    UsageEvent,
)
from signalbox.contracts.llm import ChatRequest, FunctionCall, Message, ToolCall
from signalbox.workflow.acts import DONE, Act, acts_of
from signalbox.workflow.decisions import Plan
from signalbox.workflow.execution import Executor
from signalbox.workflow.iteration_prompt import decide_prompt, situation
from signalbox.workflow.work import Emit, Outcome, Work

_LOG = logging.getLogger(__name__)
_LEAST_S = 1.0
"""With less time left, no further act is begun."""
_SHOWN = 4000
"""Characters of an act's results that the model sees."""
_OVER = frozenset({"waiting", "handoff", "closed", "clarify", "degraded"})


class DecideChat(ChatRequest):
    """A chat request with whatever further fields the workflow wants passed through."""

    model_config = ConfigDict(extra="allow")


@dataclass
class _Voice:
    """What a turn says and sees: texts of later acts are set apart, results of tools are kept for the model."""

    emit: Emit
    spoken: bool = False
    apart: bool = False
    seen: list[Any] = field(default_factory=list)

    async def __call__(self, event: TurnEvent) -> None:
        if isinstance(event, ToolResultEvent):
            self.seen.append(
                {"tool": event.data.tool, "output": event.data.output, "error": event.data.error}
            )
        if isinstance(event, TextEvent) and event.data.delta:
            if self.apart and self.spoken:
                event = TextEvent(data=TextData(delta=f"\n\n{event.data.delta}"))
            self.spoken, self.apart = True, False
        await self.emit(event)

    def begin(self) -> None:
        """Another act begins."""
        self.apart, self.seen = True, []


@record
class _Next:
    """What the model wants done: an act with its arguments, or the end, with what it says."""

    act: Act | None
    call: ToolCall | None
    arguments: dict[str, Any]
    text: str = ""


class Iterations:
    """Carries a turn on after, or instead of, its first act."""

    def __init__(self, executor: Executor, gateway: GatewayClient) -> None:
        self._executor = executor
        self._gateway = gateway

    async def carry_out(self, plan: Plan, work: Work, first: Callable[[Work], Awaitable[Outcome]]) -> Outcome:
        """The outcome of all acts; ``first`` does what the plan says.

        Where nothing fitted, the model is asked before that, and the plan is carried out only if it has no act.
        """
        voice = _Voice(work.emit)
        work = replace(work, emit=voice)
        messages: list[Message] = []
        if plan.fell_back:
            chosen = await self._decide(work, messages, 1, plan)
            if chosen is None or (chosen.act is None and not chosen.text):
                return await first(work)
            outcome = await self._do(chosen, work, messages, voice, 1)
        else:
            outcome = await first(work)
            self._show_first(plan, work, outcome, voice, messages)
        return await self._go_on(plan, outcome, work, messages, voice)

    async def _go_on(
        self, plan: Plan, outcome: Outcome, work: Work, messages: list[Message], voice: _Voice
    ) -> Outcome:
        done = {_mark(message) for message in messages if message.tool_calls}
        for number in range(2, work.snapshot.config.policies.max_iterations + 1):
            if not _may_go_on(outcome) or not messages:
                break
            if outcome.profile is not None:
                context = work.context.model_copy(update={"profile": outcome.profile})
                work = replace(work, context=context)
            chosen = await self._decide(work, messages, number, plan)
            if chosen is None or (chosen.call is not None and _mark_of(chosen.call) in done):
                break
            if chosen.call is not None:
                done.add(_mark_of(chosen.call))
            voice.begin()
            later = await self._do(chosen, work, messages, voice, number)
            outcome = _joined(outcome, later)
            if chosen.act is None:
                break
        return replace(outcome, usage=work.usage)

    async def _exhausted(self, work: Work, plan: Plan) -> bool:
        """Whether the turn's limits, or the budgets of its session and user, leave nothing for a further decision."""
        limits = work.snapshot.config.llm.limits
        used = [*plan.decided.usage, *work.usage]
        tokens = sum(entry.input_tokens + entry.output_tokens for entry in used)
        return (
            len(used) >= limits.calls_per_turn
            or (limits.tokens_per_turn is not None and tokens >= limits.tokens_per_turn)
            or current_deadline().remaining() < _LEAST_S
            or await work.allowance.refusal() is not None
        )

    async def _decide(self, work: Work, messages: list[Message], number: int, plan: Plan) -> _Next | None:
        """The model's next decision, told as an event; None when it cannot be asked."""
        config = work.snapshot.config
        role = config.llm.decide
        if role is None or await self._exhausted(work, plan):
            return None
        acts = acts_of(work.snapshot)
        request = DecideChat(
            **{
                **role.extra,
                "model": role.model,
                "messages": [
                    Message(role="system", content=decide_prompt(config)),
                    *situation(work.context, await work.history(), work.message),
                    *messages,
                ],
                "tools": [act.definition for act in acts.values()] + [DONE],
                "parallel_tool_calls": False,
                "temperature": role.temperature if role.temperature is not None else 0.0,
                "max_tokens": role.max_output_tokens,
            }
        )
        context = work.context
        labels = CallLabels(
            idempotency_key=f"{context.turn_id}/decide/{number}",
            session_id=context.session_id,
            workflow_id=context.workflow_id,
            user_id=context.user_id or "",
        )
        try:
            answer = await self._gateway.chat(request, work.principal, labels)
        except SignalboxError as error:
            _LOG.warning("the next act cannot be decided: %s", error.detail)
            return None
        work.usage.append(answer.usage)
        await work.emit(UsageEvent(data=answer.usage))
        chosen = _read(answer.reply.choices[0].message if answer.reply.choices else None, acts)
        await work.emit(IntentEvent(data=_told(chosen, number)))
        return chosen

    async def _do(
        self, chosen: _Next, work: Work, messages: list[Message], voice: _Voice, number: int
    ) -> Outcome:
        """Carry one decision out, and show the model what came of it."""
        if chosen.act is None or chosen.call is None:
            if chosen.text:
                await work.emit(TextEvent(data=TextData(delta=chosen.text)))
            return Outcome(chosen.text, usage=work.usage)
        work = replace(
            work, parameters=chosen.arguments, place=f"act{number}", fell_back=False, reason="decided"
        )
        if chosen.act.kind == "tool":
            outcome = await self._observe(chosen.act.id, work)
        else:
            outcome = await self._executor.follow(chosen.act.route, work)
        _show(messages, chosen.call, outcome, voice)
        return outcome

    async def _observe(self, tool: str, work: Work) -> Outcome:
        """A tool whose result is for the model; it says nothing."""
        try:
            reply = await self._executor.observe(work, tool, work.parameters, "tool")
        except SignalboxError as error:
            return Outcome("", reason=error.problem().code, usage=work.usage)
        code = reply.error.code if reply.error is not None else None
        return Outcome("", reason=code, usage=work.usage)

    def _show_first(
        self, plan: Plan, work: Work, outcome: Outcome, voice: _Voice, messages: list[Message]
    ) -> None:
        """The act that rules, examples or a match decided, as if the model had."""
        acts = acts_of(work.snapshot)
        kind, target = plan.target.kind, plan.target.id
        name = next((name for name, act in acts.items() if (act.kind, act.id) == (kind, target)), None)
        if name is not None:
            arguments = orjson.dumps(work.parameters, default=str).decode()
            call = ToolCall(id="first", function=FunctionCall(name=name, arguments=arguments))
            _show(messages, call, outcome, voice)


def _read(message: Message | None, acts: dict[str, Act]) -> _Next:
    """The decision in a model's answer. A function that was not offered, or arguments that are none, are the end."""
    text = message.content.strip() if message is not None and isinstance(message.content, str) else ""
    if message is None or not message.tool_calls:
        return _Next(None, None, {}, text)
    call = message.tool_calls[0]
    act = acts.get(call.function.name)
    try:
        arguments = orjson.loads(call.function.arguments or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if act is None or not isinstance(arguments, dict):
        return _Next(None, None, {}, text)
    return _Next(act, call, {name: value for name, value in arguments.items() if value is not None})


def _told(chosen: _Next, number: int) -> IntentData:
    act = chosen.act
    kind: Literal["flow", "skill", "tool", "action", "reply", "none"] = "reply" if chosen.text else "none"
    target = RouteTarget(kind=kind) if act is None else RouteTarget(kind=act.kind, id=act.id)
    return IntentData(stage="llm", took_us=0, target=target, parameters=chosen.arguments, iteration=number)


def _show(messages: list[Message], call: ToolCall, outcome: Outcome, voice: _Voice) -> None:
    result = {
        "status": outcome.status if outcome.reason is None else f"{outcome.status}: {outcome.reason}",
        "said_to_the_user": outcome.message,
        "results": voice.seen,
    }
    content = orjson.dumps(result, default=str).decode()
    if len(content) > _SHOWN:
        content = orjson.dumps({"incomplete": content[:_SHOWN]}).decode()
    messages.append(Message(role="assistant", tool_calls=[call]))
    messages.append(Message(role="tool", tool_call_id=call.id, content=content))


def _mark(message: Message) -> str:
    return _mark_of(message.tool_calls[0]) if message.tool_calls else ""


def _mark_of(call: ToolCall) -> str:
    return f"{call.function.name} {call.function.arguments}"


def _may_go_on(outcome: Outcome) -> bool:
    return outcome.flow is None and outcome.session_status == "active" and outcome.status not in _OVER


def _joined(before: Outcome, later: Outcome) -> Outcome:
    """Two acts as one: all that was said and sent, the state as the later leaves it."""
    quiet = not later.message and later.status == "success"
    return replace(
        later,
        message="\n\n".join(part for part in (before.message, later.message) if part),
        status=before.status if quiet else later.status,
        reason=before.reason if quiet else later.reason,
        parts=[*before.parts, *later.parts],
        profile=before.profile if later.profile is None else later.profile,
        outbox=[*before.outbox, *later.outbox],
    )
