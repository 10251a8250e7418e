"""What a turn will do: go on with the open flow, follow an intent, or fall back."""

from dataclasses import field, replace
from typing import Any, Protocol

from signalbox.common.record import record
from signalbox.contracts.config import Degradation, Route
from signalbox.contracts.events import RouteTarget
from signalbox.contracts.pauses import Verdict
from signalbox.contracts.query import QueryStatus
from signalbox.contracts.work import FlowState
from signalbox.workflow.agreeing import answer_to, verdicts_on
from signalbox.workflow.clarifying import picked, question_about
from signalbox.workflow.errors import FlowNotInterruptible, SkillNotDirect
from signalbox.workflow.matching import Decided, Guess, Incoming, Matcher
from signalbox.workflow.records import PausedRun, Question, Session
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.texts import builtin


@record
class Plan:
    """One decision, ready to be carried out. One of ``resume``, ``route`` and ``question``, or none: stay silent."""

    decided: Decided
    target: RouteTarget
    route: Route | None = None
    resume: FlowState | None = None
    go_on: PausedRun | None = None
    """The run that waits for the user's word, which the message gives."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The word, by call."""
    apart: bool = False
    """Whether an operator gives it: what the conversation is about goes on as it was."""
    dropped: PausedRun | None = None
    """A run that waited for the user's word, and got another message; what it wanted to do is not done."""
    question: Question | None = None
    """Which of several intents was meant is asked."""
    message: str | None = None
    """What the work is about, where that is not this turn's message: the one that was unclear, once it is clear."""
    keep_flow: bool = False
    """Whether flows that were open stay so behind this turn."""
    corrections: dict[str, Any] = field(default_factory=dict)
    """Slots of ``resume`` that the message changes."""
    asking: bool = False
    """Whether ``resume`` only asks its open question again."""
    not_understood: str | None = None
    """Said where the message is no answer to ``resume``."""
    fell_back: bool = False
    addressed: bool = False
    """Whether the client said what does the work: nothing else is done then."""
    status: QueryStatus | None = None
    """Overrides ``success``: why the answer is less than it could be."""
    reason: str | None = None

    def may_iterate(self, snapshot: WorkflowSnapshot) -> bool:
        """Whether a model may decide on further acts: after work, and where nothing fitted; a reply is the end."""
        works = self.target.kind in {"flow", "skill", "tool"} or (
            self.fell_back and self.target.kind == "reply"
        )
        alone = self.keep_flow or self.addressed or self.question is not None
        return works and snapshot.iterates and not alone

    def may_write(self, snapshot: WorkflowSnapshot) -> bool:
        """Whether carrying it out may change something outside of Signalbox."""
        if self.may_iterate(snapshot) or self.go_on is not None or self.dropped is not None:
            return True
        if self.resume is not None:
            flows = [self.resume.flow, *(parent.flow for parent in self.resume.parents)]
            return any(snapshot.may_write(Route(flow=flow)) for flow in flows)
        return self.route is not None and snapshot.may_write(self.route)


class Listener(Protocol):
    """Decides what a message is while a flow is open; ``FlowListener`` is the real one."""

    async def decide(
        self, session: Session, message: str, incoming: Incoming, by_rule: Decided | None
    ) -> Plan | None:
        """The plan for the message; None where the session has no open flow."""
        ...


class Decider:
    """Decides, cheapest first."""

    def __init__(self, matcher: Matcher, listener: Listener) -> None:
        self._matcher = matcher
        self._listener = listener

    async def decide(self, session: Session, message: str, incoming: Incoming) -> Plan:
        """The plan for one message, which is ``incoming`` as matching needs it."""
        if session.status == "transferred":
            return Plan(
                Decided("none", took_us=incoming.took_us()), RouteTarget(kind="none"), status="handoff"
            )
        question = session.state.question
        if question is not None and session.state.flow is None:
            chosen = _choose(session, question, message, incoming)
            if chosen is not None:
                return chosen
        by_rule = self._matcher.by_rule(incoming)
        if session.state.flow is not None:
            plan = await self._listener.decide(session, message, incoming, by_rule)
            if plan is not None:
                return plan
        decided = by_rule or await self._understand(incoming)
        if decided.intent is not None:
            return follow(decided, decided.intent.then)
        if decided.candidates and not _has_asked_enough(session, incoming):
            asked = question_about(incoming.snapshot, decided.candidates, message, incoming.context)
            return Plan(decided, RouteTarget(kind="reply"), question=asked, reason=decided.failure)
        return _fall_back(incoming, session, decided)

    async def plan(
        self, session: Session, message: str, incoming: Incoming, *, skill: str | None = None
    ) -> Plan:
        """The plan for one message, with all that was paid for it. ``skill`` is the one that the client addresses.

        Raises:
            SkillNotDirect: the workflow has no such skill, or does not let clients address it.
            FlowNotInterruptible: the open flow lets nothing else in.
        """
        paused = session.state.paused if session.status != "transferred" else None
        if paused is not None and skill is None and (word := answer_to(paused, message)) is not None:
            decided = Decided("choice", took_us=incoming.took_us())
            target = RouteTarget(kind="skill", id=paused.skill)
            return Plan(decided, target, go_on=paused, verdicts=verdicts_on(paused, word))
        plan = await self._planned(session, message, incoming, skill)
        return plan if paused is None else replace(plan, dropped=paused)

    async def _planned(self, session: Session, message: str, incoming: Incoming, skill: str | None) -> Plan:
        if skill is not None and session.status != "transferred":
            return _address(session, skill, incoming)
        plan = await self.decide(session, message, incoming)
        if not incoming.paid:
            return plan
        return replace(plan, decided=replace(plan.decided, usage=(*incoming.paid, *plan.decided.usage)))

    async def _understand(self, incoming: Incoming) -> Decided:
        """What a message means that no rule knows."""
        by_example = await self._matcher.by_example(incoming)
        if isinstance(by_example, Guess):
            return await self._matcher.by_model(incoming, by_example)
        return by_example


def _address(session: Session, name: str, incoming: Incoming) -> Plan:
    """The plan for a message to a skill; a flow that is open asks its question again afterwards."""
    snapshot, open_flow = incoming.snapshot, session.state.flow
    skill = snapshot.skills.get(name)
    if skill is None or not skill.direct:
        raise SkillNotDirect(name, snapshot.config.workflow_id)
    if open_flow is not None:
        for flow in (open_flow.flow, *(parent.flow for parent in open_flow.parents)):
            declared = snapshot.flows.get(flow)
            if declared is not None and not declared.interruptible:
                raise FlowNotInterruptible(flow)
    route = Route(skill=name)
    decided = Decided("choice", took_us=incoming.took_us())
    return Plan(decided, target_of(route), route=route, keep_flow=open_flow is not None, addressed=True)


def _choose(session: Session, question: Question, message: str, incoming: Incoming) -> Plan | None:
    """The plan for the answer to a question; None where the message is no answer."""
    option = picked(question, message)
    if option is None:
        return None
    if option == "neither":
        return _fall_back(incoming, session, Decided("choice", took_us=incoming.took_us()))
    intents = incoming.snapshot.config.intents
    intent = next((entry for entry in intents if entry.id == option.intent), None)
    if intent is None:
        # A release since then has it no more.
        return None
    decided = Decided("choice", intent, option.score, option.parameters, incoming.took_us())
    return replace(follow(decided, intent.then), message=question.message)


def _has_asked_enough(session: Session, incoming: Incoming) -> bool:
    """Whether the fallback's action is due: to be asked again and again is as bad as not to be understood."""
    policy = incoming.snapshot.config.policies.fallback
    asked = session.state.question is not None
    return asked and policy.action is not None and session.state.fallbacks + 1 >= policy.after


def follow(decided: Decided, route: Route) -> Plan:
    """The plan that does what was understood."""
    status: QueryStatus | None = None if decided.failure is None else "degraded"
    return Plan(decided, target_of(route), route=route, status=status, reason=decided.failure)


def _fall_back(incoming: Incoming, session: Session, decided: Decided) -> Plan:
    policies = incoming.snapshot.config.policies
    policy = policies.fallback
    if policy.action is not None and session.state.fallbacks + 1 >= policy.after:
        route = Route(action=policy.action)
    elif policy.skill is not None and decided.failure is None:
        route = Route(skill=policy.skill)
    elif decided.failure is not None:
        route = _last_word(policies.degradation)
        return Plan(
            decided,
            target_of(route),
            route=route,
            fell_back=True,
            status="degraded",
            reason=decided.failure,
        )
    else:
        route = Route(reply=policy.reply or builtin("fallback"))
    return Plan(decided, target_of(route), route=route, fell_back=True)


def _last_word(policy: Degradation) -> Route:
    if policy.action is not None:
        return Route(action=policy.action)
    return Route(reply=policy.reply or builtin("model_unavailable"))


def target_of(route: Route) -> RouteTarget:
    """Where a route leads, as events name it."""
    if route.flow is not None:
        return RouteTarget(kind="flow", id=route.flow)
    if route.skill is not None:
        return RouteTarget(kind="skill", id=route.skill)
    if route.tool is not None:
        return RouteTarget(kind="tool", id=route.tool)
    if route.action is not None:
        return RouteTarget(kind="action", id=route.action)
    return RouteTarget(kind="reply")
