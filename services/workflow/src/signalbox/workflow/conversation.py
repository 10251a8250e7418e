"""Carrying out a plan where flows may be open: what is interrupted waits, and goes on afterwards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from signalbox.common.record import record
from signalbox.common.templates import localized
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import Route
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.work import FlowState
from signalbox.workflow.clarifying import ask
from signalbox.workflow.decisions import Plan
from signalbox.workflow.execution import Executor
from signalbox.workflow.iterations import Iterations
from signalbox.workflow.listening import digest_of, flows_of
from signalbox.workflow.records import Session, SessionState
from signalbox.workflow.texts import Name, builtin
from signalbox.workflow.work import Outcome, Work


@record
class _Behind:
    """The flows that wait behind the work of a turn, the oldest first."""

    flows: list[FlowState]
    digressing: bool = False
    """Whether the turn is about something else than the question that is open."""


class Conversation:
    """Carries out plans."""

    def __init__(self, executor: Executor, iterations: Iterations) -> None:
        self._executor = executor
        self._iterations = iterations

    async def carry_out(self, plan: Plan, session: Session, work: Work) -> Outcome:
        """Do what a plan says, and go back to what it interrupted. A part that fails is an outcome that says so."""
        if plan.apart and plan.go_on is not None:
            return await self._executor.settle(plan.go_on, plan.verdicts, work)
        if plan.dropped is None:
            return await self._carry_out(plan, session, work)
        said = await self._executor.drop(plan.dropped, work)
        await work.emit(TextEvent(data=TextData(delta=f"{said}\n\n")))
        outcome = await self._carry_out(plan, session, work)
        return replace(outcome, message="\n\n".join(part for part in (said, outcome.message) if part))

    async def _carry_out(self, plan: Plan, session: Session, work: Work) -> Outcome:
        state = session.state
        open_flows = [*state.interrupted, *([state.flow] if state.flow is not None else [])]
        work = replace(work, slots=_slots(open_flows), reason=_reason(plan), fell_back=plan.fell_back)
        if plan.question is not None:
            return replace(await ask(plan.question, work), reason=plan.reason)
        if plan.resume is None and plan.route is None and plan.go_on is None:
            return Outcome("", plan.status or "success", session_status=session.status)
        if plan.resume is not None:
            behind = _Behind([flow for flow in open_flows if flow is not plan.resume])
        else:
            keeps = plan.keep_flow or plan.go_on is not None
            behind = _Behind(open_flows if keeps else [], digressing=plan.keep_flow)
        if plan.may_iterate(work.snapshot) and not behind.flows:
            outcome = await self._iterations.carry_out(plan, work, lambda voiced: self._do(plan, voiced))
        else:
            outcome = await self._do(plan, work)
        if outcome.profile is not None:
            work = replace(work, context=work.context.model_copy(update={"profile": outcome.profile}))
        if not behind.flows or outcome.session_status != "active":
            return outcome
        if outcome.paused is not None:
            # One question at a time; the flow's is asked again once the run has gone on.
            return replace(outcome, flow=behind.flows[-1], interrupted=behind.flows[:-1])
        if outcome.flow is not None:
            return self._interrupt(outcome, outcome.flow, behind, state, work)
        return await self._go_back(outcome, behind, state, work)

    async def _do(self, plan: Plan, work: Work) -> Outcome:
        """What the plan itself says."""
        if plan.go_on is not None:
            return await self._executor.go_on(plan.go_on, plan.verdicts, work)
        if plan.resume is not None:
            return await self._executor.resume(
                plan.resume,
                work,
                corrections=plan.corrections,
                asking=plan.asking,
                not_understood=plan.not_understood,
            )
        outcome = await self._executor.follow(plan.route or Route(reply=""), work)
        if plan.status is not None:
            status = plan.status if outcome.status == "success" else outcome.status
            outcome = replace(outcome, status=status, reason=outcome.reason or plan.reason)
        return outcome

    def _interrupt(
        self, outcome: Outcome, flow: FlowState, behind: _Behind, state: SessionState, work: Work
    ) -> Outcome:
        """A flow is open now, the others wait: each once, and not too many of them."""
        waiting = [other for other in behind.flows if flows_of(other)[0] != flows_of(flow)[0]]
        most = work.snapshot.config.policies.repair.max_interrupted
        return replace(
            outcome,
            interrupted=waiting[-most:] if most else [],
            digressed=_digressed(behind, state, work),
        )

    async def _go_back(self, outcome: Outcome, behind: _Behind, state: SessionState, work: Work) -> Outcome:
        """Nothing is open now: ask the question of the flow that waited last."""
        flow = behind.flows[-1]
        policy = work.snapshot.config.policies.repair
        digressions = state.digressions + 1 if behind.digressing else 0
        if digressions > policy.max_digressions:
            return await _said(outcome, self._words(work, None, "left", flow), work)
        asked = await self._executor.question(flow, work)
        text = self._words(work, policy.resume, "resume", flow)
        question = asked.message if asked is not None else ""
        if question:
            outcome = await _said(outcome, f"{text} {question}" if text.isascii() else text + question, work)
        return replace(
            outcome,
            status="waiting" if outcome.status == "success" else outcome.status,
            parts=[*outcome.parts, *(asked.parts if asked is not None else [])],
            flow=flow,
            interrupted=behind.flows[:-1],
            digressions=digressions,
            digressed=_digressed(behind, state, work),
        )

    def _words(self, work: Work, own: LocalizedText | None, name: Name, flow: FlowState) -> str:
        context, snapshot = work.context, work.snapshot
        declared = snapshot.flows.get(flows_of(flow)[0])
        values = snapshot.values(context, flow=None)
        if declared is not None and declared.label is not None:
            label, _ = localized(declared.label, context.language, snapshot.config.default_language, "")
            values["flow"] = snapshot.templates.render_text(label, values)
        said = own or builtin(name)
        return snapshot.render(said, context.language, context.turn_id, values, work.untranslated).strip()


def _digressed(behind: _Behind, state: SessionState, work: Work) -> str | None:
    """What was last taken for something else than the answer to the question that waits."""
    return digest_of(work.message) if behind.digressing else state.digressed


def _slots(flows: Sequence[FlowState]) -> dict[str, Any]:
    """What the flows know; the one that is open counts, then the one that it interrupted."""
    known: dict[str, Any] = {}
    for flow in flows:
        for level in (*flow.parents, flow):
            known |= level.slots
    return known


def _reason(plan: Plan) -> str | None:
    if plan.fell_back:
        return plan.decided.failure or "not_understood"
    return plan.decided.intent.id if plan.decided.intent is not None else None


async def _said(outcome: Outcome, text: str, work: Work) -> Outcome:
    """The outcome with more to say."""
    more = f"\n\n{text}" if outcome.message else text
    await work.emit(TextEvent(data=TextData(delta=more)))
    return replace(outcome, message=outcome.message + more)
