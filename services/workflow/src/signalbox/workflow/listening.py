"""What a message is while a flow is open: an answer, a correction, or about something else.

An answer wins over a weak match, a rule of another intent over an answer that is only a part of the message, and a
whole answer over everything. Rules and examples are asked before a model, as outside of flows.
"""

import hashlib
import logging
from dataclasses import replace
from typing import Any

from signalbox.common.clients import FlowsClient
from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.rules import normalise
from signalbox.contracts.config import Route
from signalbox.contracts.events import RouteTarget
from signalbox.contracts.work import FlowReading, FlowReadRequest, FlowState
from signalbox.workflow.decisions import Plan, follow, target_of
from signalbox.workflow.flow_model import FlowModel
from signalbox.workflow.matching import Decided, Guess, Incoming, Matcher
from signalbox.workflow.records import Session
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.texts import builtin

_LOG = logging.getLogger(__name__)


def digest_of(message: str) -> str:
    """A mark of what was said, the same however it was spaced."""
    return hashlib.sha256(normalise(message).casefold().encode()).hexdigest()[:16]


def flows_of(state: FlowState) -> list[str]:
    """The flows of a state, outermost first: the one that was started, and the subflows that it is in."""
    return [*(parent.flow for parent in state.parents), state.flow]


@record
class _Heard:
    """One message with what there is to understand it by."""

    session: Session
    open_flow: FlowState
    message: str
    incoming: Incoming

    @property
    def snapshot(self) -> WorkflowSnapshot:
        """The config that the conversation is in."""
        return self.incoming.snapshot

    def leads_back(self, decided: Decided | None) -> bool:
        """Whether what was understood is the open flow itself."""
        intent = decided.intent if decided is not None else None
        return intent is not None and intent.then.flow in flows_of(self.open_flow)

    @property
    def interruptible(self) -> bool:
        flows = (self.snapshot.flows.get(name) for name in flows_of(self.open_flow))
        return all(flow is None or flow.interruptible for flow in flows)


class FlowListener:
    """Decides while a flow is open."""

    def __init__(self, flows: FlowsClient, matcher: Matcher, model: FlowModel) -> None:
        self._flows = flows
        self._matcher = matcher
        self._model = model

    async def decide(
        self, session: Session, message: str, incoming: Incoming, by_rule: Decided | None
    ) -> Plan | None:
        """See ``Listener``."""
        open_flow = session.state.flow
        if open_flow is None:
            return None
        heard = _Heard(session, open_flow, message, incoming)
        rule = by_rule if by_rule is not None and by_rule.intent is not None else None
        arguments = rule.parameters if rule is not None and heard.leads_back(rule) else {}
        reading = await self._read(heard, open_flow, arguments)
        go_on = Plan(Decided("flow", took_us=incoming.took_us()), _target(open_flow), resume=open_flow)
        if reading is None or reading.stops or _answers(heard, reading):
            return go_on
        if rule is not None and not heard.leads_back(rule):
            if reading.corrections and reading.certain:
                return replace(go_on, corrections=reading.corrections)
            return await self._digress(heard, rule) or go_on
        if reading.corrections:
            return replace(go_on, corrections=reading.corrections)
        if rule is not None:
            return go_on if reading.fit == "within" else replace(go_on, asking=True)
        if reading.fit == "within" or (reading.fit == "loose" and not reading.asks):
            return go_on
        return await self._understand(heard, reading, go_on)

    async def _understand(self, heard: _Heard, reading: FlowReading, go_on: Plan) -> Plan:
        """The plan for what neither answers the question nor is found by a rule."""
        by_example = await self._matcher.by_example(heard.incoming)
        if isinstance(by_example, Decided) and by_example.intent is not None:
            if heard.leads_back(by_example):
                return replace(go_on, asking=True) if reading.fit == "none" else go_on
            return await self._digress(heard, by_example) or go_on
        likely = by_example.likely if isinstance(by_example, Guess) else ()
        found = await self._model.match(heard.incoming, heard.open_flow, reading, likely)
        go_on = replace(go_on, decided=replace(go_on.decided, usage=found.usage, took_us=found.took_us))
        if found.slots:
            return replace(go_on, corrections=found.slots)
        if found.found is not None:
            best = found.found
            decided = Decided("llm", best.intent, best.score, best.parameters, found.took_us, found.usage)
            if heard.leads_back(decided):
                return replace(go_on, asking=True)
            return await self._digress(heard, decided) or go_on
        if reading.fit == "loose":
            return go_on
        return self._out_of_scope(heard, reading, go_on, by_model=bool(found.usage))

    def _out_of_scope(self, heard: _Heard, reading: FlowReading, go_on: Plan, *, by_model: bool) -> Plan:
        """A question goes to what answers questions that no intent covers; what is none was not understood.

        A skill needs a model, so that one has to have answered: ``by_model``.
        """
        policy = heard.snapshot.config.policies.fallback
        knows = any(source.when == "on_fallback" for source in heard.snapshot.config.knowledge)
        skill = policy.skill if by_model else None
        context = heard.incoming.context
        if reading.asks and (skill is not None or knows) and heard.interruptible:
            reply = policy.reply or builtin("fallback")
            route = Route(skill=skill) if skill is not None else Route(reply=reply)
            decided = replace(go_on.decided, stage="none")
            return Plan(decided, target_of(route), route=route, keep_flow=True, fell_back=True)
        if policy.reply is None:
            return go_on
        text = heard.snapshot.render(
            policy.reply, context.language, context.turn_id, heard.snapshot.values(context)
        )
        return replace(go_on, not_understood=text)

    async def _digress(self, heard: _Heard, decided: Decided) -> Plan | None:
        """The plan for something else; None where the open flow lets nothing else in."""
        intent = decided.intent
        if intent is None or (intent.then.action is None and not heard.interruptible):
            return None
        waiting = next(
            (flow for flow in heard.session.state.interrupted if flows_of(flow)[0] == intent.then.flow), None
        )
        if waiting is None:
            return replace(follow(decided, intent.then), keep_flow=True)
        reading = await self._read(heard, waiting, decided.parameters)
        corrections = reading.corrections if reading is not None and decided.parameters else {}
        return Plan(
            decided, _target(waiting), resume=waiting, corrections=corrections, asking=not corrections
        )

    async def _read(self, heard: _Heard, state: FlowState, arguments: dict[str, Any]) -> FlowReading | None:
        request = FlowReadRequest(
            context=heard.incoming.context, state=state, message=heard.message, arguments=arguments
        )
        try:
            return await self._flows.read(request, heard.incoming.principal)
        except SignalboxError as error:
            # Going on with the flow tells the user what cannot be done.
            _LOG.warning("an open flow cannot be asked about a message: %s", error.detail)
            return None


def _answers(heard: _Heard, reading: FlowReading) -> bool:
    """Whether the message is the answer, whatever else it may be: nothing but it, or said a second time."""
    if reading.fit == "exact" and not reading.corrections:
        return True
    return reading.fit == "loose" and heard.session.state.digressed == digest_of(heard.message)


def _target(state: FlowState) -> RouteTarget:
    return RouteTarget(kind="flow", id=state.flow)
