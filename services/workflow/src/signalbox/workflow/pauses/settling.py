"""The turn in which a run goes on that an operator has decided on: no message began it, and nothing else changes."""

from collections.abc import Sequence
from dataclasses import replace

import orjson

from signalbox.common.ids import now_ms
from signalbox.common.storage import Write
from signalbox.contracts.events import RouteTarget
from signalbox.contracts.pauses import PendingCall, Verdict
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.decisions import Plan
from signalbox.workflow.errors import PausedRunNotFound
from signalbox.workflow.matching import Decided
from signalbox.workflow.pauses.repository import insert_pause
from signalbox.workflow.records import PausedRun, PauseRecord, Session
from signalbox.workflow.turn_state import TurnInput, TurnStart
from signalbox.workflow.work import Outcome


def calls_of(pause: PauseRecord) -> list[PendingCall]:
    """The calls that a run waits with."""
    return [PendingCall.model_validate(call) for call in orjson.loads(pause.calls)]


def request_of(pause: PauseRecord) -> QueryRequest:
    """What stands in for a message: it is nobody's words, and is not kept as any."""
    return QueryRequest.model_construct(
        message="",
        session_id=pause.session_id,
        workflow_id=pause.workflow_id,
        user_id=pause.user_id,
    )


def settling_plan(pause: PauseRecord) -> Plan:
    """The plan that gives a run the decision on it."""
    calls = calls_of(pause)
    output = None if pause.output is None else orjson.loads(pause.output)
    decision = pause.decision or "abandon"
    verdict = Verdict(decision=decision, output=output, note=pause.note)
    run = PausedRun(run_id=pause.run_id, skill=pause.skill, calls=calls, asked="")
    return Plan(
        Decided("choice"),
        RouteTarget(kind="skill", id=pause.skill),
        go_on=run,
        verdicts={call.call_id: verdict for call in calls},
        apart=True,
    )


def settling_session(given: TurnInput, stored: Session | None) -> Session:
    """The session as the turn sees it: as it is, also where it has expired or is closed.

    Raises:
        PausedRunNotFound: it was deleted, and the run with it.
    """
    if stored is None or stored.status == "deleted":
        raise PausedRunNotFound(given.settles.pause_id if given.settles is not None else "")
    return stored


def session_after_settling(start: TurnStart, outcome: Outcome, now: int) -> Session:
    """The session once the run has gone on. Its open question stays open; only its user keeps it alive."""
    session = start.session
    update: dict[str, object] = {}
    if outcome.paused is not None:
        update["paused"] = outcome.paused
    if outcome.profile is not None:
        update["profile"] = outcome.profile
    asks = outcome.paused is not None and session.status == "active"
    pinned = session.config_hash or (start.context.config_hash if outcome.paused is not None else None)
    ended = outcome.session_status != "active"
    return replace(
        session,
        status=outcome.session_status if ended else "waiting" if asks else session.status,
        last_seq=session.last_seq + 1,
        message_count=session.message_count + (1 if outcome.message else 0),
        config_hash=pinned,
        state=session.state.model_copy(update=update),
        updated_at=now,
    )


def pause_of(given: TurnInput, start: TurnStart, outcome: Outcome, ttl_ms: int, now: int) -> PauseRecord:
    """What is kept of a run that stopped in a turn, for an operator to decide on."""
    waits, context = outcome.waits, start.context
    if waits is None:
        raise ValueError("the run does not wait for an operator")
    return PauseRecord(
        tenant=context.tenant,
        pause_id=waits.pause_id,
        session_id=context.session_id,
        turn_id=context.turn_id,
        workflow_id=context.workflow_id,
        config_hash=context.config_hash,
        run_id=waits.run_id,
        skill=waits.skill,
        subject=given.principal.subject,
        principal=given.principal.model_dump_json(),
        user_id=context.user_id,
        reason=waits.reason,
        calls=_json(waits.calls),
        created_at=now,
        expires_at=now + ttl_ms if waits.reason == "approval" else None,
    )


def further_writes(
    given: TurnInput, start: TurnStart, outcome: Outcome, reply: QueryReply, ttl_ms: int
) -> list[Write]:
    """Writes of the turn's own transaction: what it was for, and the run that stopped in it."""
    further = list(given.further(reply)) if given.further is not None else []
    if outcome.waits is not None:
        further.append(insert_pause(pause_of(given, start, outcome, ttl_ms, now_ms())))
    return further


def _json(calls: Sequence[PendingCall]) -> str:
    return orjson.dumps([call.model_dump(mode="json") for call in calls]).decode()
