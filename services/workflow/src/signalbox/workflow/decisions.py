"""What a turn will do: go on with the open flow, follow an intent, or fall back."""

from dataclasses import replace

from signalbox.common.record import record
from signalbox.contracts.config import Route
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import RouteTarget
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryStatus
from signalbox.contracts.work import FlowState
from signalbox.workflow.matching import Decided, Guess, Matcher
from signalbox.workflow.records import Session
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.texts import builtin_text


@record
class Plan:
    """One decision, ready to be carried out. Exactly one of ``resume`` and ``route``, or neither: stay silent."""

    decided: Decided
    target: RouteTarget
    route: Route | None = None
    resume: FlowState | None = None
    keep_flow: bool = False
    """Whether a flow that was open stays so behind this turn."""
    fell_back: bool = False
    status: QueryStatus | None = None
    """Overrides ``success``: why the answer is less than it could be."""
    reason: str | None = None

    def may_write(self, snapshot: WorkflowSnapshot) -> bool:
        """Whether carrying it out may change something outside of Signalbox."""
        if self.resume is not None:
            flows = [self.resume.flow, *(parent.flow for parent in self.resume.parents)]
            return any(snapshot.may_write(Route(flow=flow)) for flow in flows)
        return self.route is not None and snapshot.may_write(self.route)


class Decider:
    """Decides, cheapest first."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    async def decide(
        self,
        snapshot: WorkflowSnapshot,
        session: Session,
        message: str,
        context: CallContext,
        principal: Principal,
    ) -> Plan:
        """The plan for one message."""
        if session.status == "transferred":
            return Plan(Decided("none"), RouteTarget(kind="none"), status="handoff")
        by_rule = self._matcher.by_rule(snapshot, message)
        open_flow = session.state.flow
        if open_flow is not None:
            if by_rule is not None and by_rule.intent is not None and by_rule.intent.then.action is not None:
                # "Let me talk to a person" is heard in the middle of any flow.
                return replace(_follow(by_rule, by_rule.intent.then), keep_flow=True)
            return Plan(
                Decided("flow", took_us=by_rule.took_us if by_rule else 0),
                RouteTarget(kind="flow", id=open_flow.flow),
                resume=open_flow,
            )
        if by_rule is not None and by_rule.intent is not None:
            return _follow(by_rule, by_rule.intent.then)
        by_example = await self._matcher.by_example(snapshot, message)
        if isinstance(by_example, Decided) and by_example.intent is not None:
            return _follow(by_example, by_example.intent.then)
        guess = by_example if isinstance(by_example, Guess) else Guess()
        decided = await self._matcher.by_model(snapshot, message, context, principal, guess)
        if decided.intent is not None:
            return _follow(decided, decided.intent.then)
        return _fall_back(snapshot, session, decided, context.language)


def _follow(decided: Decided, route: Route) -> Plan:
    return Plan(decided, _target(route), route=route)


def _fall_back(snapshot: WorkflowSnapshot, session: Session, decided: Decided, language: str) -> Plan:
    policy = snapshot.config.policies.fallback
    if policy.action is not None and session.state.fallbacks + 1 >= policy.after:
        route = Route(action=policy.action)
    elif policy.skill is not None and decided.failure is None:
        route = Route(skill=policy.skill)
    elif decided.failure is not None:
        degradation = snapshot.config.policies.degradation
        route = Route(reply=degradation.reply or builtin_text("model_unavailable", language))
        return Plan(
            decided,
            _target(route),
            route=route,
            fell_back=True,
            status="degraded",
            reason=decided.failure,
        )
    else:
        route = Route(reply=policy.reply or builtin_text("fallback", language))
    return Plan(decided, _target(route), route=route, fell_back=True)


def _target(route: Route) -> RouteTarget:
    if route.flow is not None:
        return RouteTarget(kind="flow", id=route.flow)
    if route.skill is not None:
        return RouteTarget(kind="skill", id=route.skill)
    if route.tool is not None:
        return RouteTarget(kind="tool", id=route.tool)
    if route.action is not None:
        return RouteTarget(kind="action", id=route.action)
    return RouteTarget(kind="reply")
