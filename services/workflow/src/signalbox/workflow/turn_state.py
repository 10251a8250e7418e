"""What a turn starts from, and what it leaves: the context of its calls, its reply, its row, the session after it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from decimal import Decimal

from signalbox.common.ids import now_ms
from signalbox.common.record import record
from signalbox.common.storage import Write
from signalbox.common.telemetry import current_trace_id
from signalbox.contracts.admin import ReleasePointer
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.query import Decision, QueryReply, QueryRequest, TurnState
from signalbox.workflow.allowance import UNLIMITED, Allowance
from signalbox.workflow.decisions import Plan
from signalbox.workflow.keeping.days import RetentionDays
from signalbox.workflow.language import choose_language
from signalbox.workflow.records import IdempotencyKey, PauseRecord, Session, TurnRecord
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.turn_log import TurnLog
from signalbox.workflow.work import Outcome

_PICO = 10**12


@record
class TurnInput:
    """One message to answer."""

    principal: Principal
    request: QueryRequest
    turn_id: str
    idempotency: IdempotencyKey | None = None
    further: Callable[[QueryReply], Sequence[Write]] | None = None
    """Makes writes for the turn's own transaction, from its reply."""
    settles: PauseRecord | None = None
    """The run that goes on instead of a message being answered: an operator has decided."""
    again: bool = False
    """Whether an earlier attempt under this id died with its process."""

    @property
    def user_id(self) -> str | None:
        """The user that the message counts for; a key that may not act for users has none."""
        return self.request.user_id if self.principal.may(Scope.ACT_FOR_USERS) else None


@record
class TurnStart:
    """Where a turn starts from."""

    before: Session
    """As stored; what the commit compares with."""
    session: Session
    """As the turn sees it: renewed when expired, closed or deleted."""
    snapshot: WorkflowSnapshot
    release: ReleasePointer | None
    context: CallContext
    started: float
    allowance: Allowance = UNLIMITED
    """Whether the turn may ask a model."""
    untranslated: set[str] = field(default_factory=set)
    """Languages in which texts were said that the workflow does not have in the turn's."""


def turn_reply(
    given: TurnInput, start: TurnStart, plan: Plan, outcome: Outcome, greeting: str | None
) -> QueryReply:
    """What the client is told."""
    decided = plan.decided
    return QueryReply(
        session_id=given.request.session_id,
        message="\n\n".join(part for part in (greeting, outcome.message) if part),
        status=outcome.status,
        turn_id=given.turn_id,
        agent_id=start.context.workflow_id,
        greeting=greeting,
        parts=outcome.parts,
        reason=outcome.reason,
        decision=Decision(
            stage=decided.stage,
            intent=decided.intent.id if decided.intent else None,
            score=decided.score,
            took_us=decided.took_us,
            cached=decided.cached,
        ),
        pause_id=outcome.waits.pause_id if outcome.waits is not None else None,
        language=start.context.language,
        untranslated=sorted(start.untranslated),
        trace_id=current_trace_id(),
    )


def session_after(start: TurnStart, plan: Plan, outcome: Outcome, retention: RetentionDays) -> Session:
    """The session once the turn is committed."""
    session, now = start.session, now_ms()
    policies = start.snapshot.config.policies
    asked_again = plan.question is not None and session.state.question is not None
    state = session.state.model_copy(
        update={
            "greeted": True,
            "language": start.context.language,
            "timezone": start.context.timezone,
            "flow": outcome.flow,
            "interrupted": outcome.interrupted if outcome.flow is not None else [],
            "digressions": outcome.digressions,
            "digressed": outcome.digressed,
            "profile": session.state.profile if outcome.profile is None else outcome.profile,
            "fallbacks": session.state.fallbacks + 1 if plan.fell_back or asked_again else 0,
            "paused": outcome.paused,
            "question": plan.question,
            "heard": session.last_seq + 1 if start.snapshot.config.timers else 0,
            "spent": _spent(session.state.spent, [*outcome.usage, *plan.decided.usage]),
        }
    )
    status = outcome.session_status
    is_open = outcome.flow is not None or outcome.paused is not None
    if status == "active" and is_open:
        status = "waiting"
    return replace(
        session,
        workflow_id=start.context.workflow_id,
        status=status,
        last_seq=session.last_seq + 1,
        message_count=session.message_count + 2,
        config_hash=start.context.config_hash if is_open else None,
        state=state,
        updated_at=now,
        expires_at=now + policies.session_ttl_seconds * 1000,
        keep_until=retention.keep_until(session.tenant, policies.retention.days, now),
    )


def running_record(owner: str, given: TurnInput, start: TurnStart) -> TurnRecord:
    """The turn's row as it is before its work is done."""
    context = start.context
    return TurnRecord(
        tenant=given.principal.tenant,
        turn_id=given.turn_id,
        session_id=context.session_id,
        epoch=start.session.epoch,
        seq=start.session.last_seq + 1,
        status="running",
        owner=owner,
        first_message=start.session.message_count + 1,
        user_text=given.request.message if given.settles is None else "",
        workflow_id=context.workflow_id,
        config_hash=context.config_hash,
        created_at=context.now_ms,
        heartbeat_at=context.now_ms,
        release_number=start.release.number if start.release else None,
        trace_id=current_trace_id(),
        kind="message" if given.settles is None else "decision",
    )


def committed_record(
    owner: str,
    given: TurnInput,
    start: TurnStart,
    plan: Plan,
    outcome: Outcome,
    reply: QueryReply,
    log: TurnLog,
) -> TurnRecord:
    """The turn's row as it is committed."""
    decided = plan.decided
    used = [*outcome.usage, *decided.usage]
    cost, currency = _cost(used)
    return replace(
        running_record(owner, given, start),
        status="committed",
        reply=reply.model_dump_json(exclude_none=True),
        events=log.events_to_keep(start.snapshot.sensitive),
        stage=decided.stage,
        score=decided.score,
        intent=decided.intent.id if decided.intent else None,
        outcome=outcome.status,
        latency_ms=(time.perf_counter() - start.started) * 1000,
        input_tokens=sum(entry.input_tokens for entry in used),
        output_tokens=sum(entry.output_tokens for entry in used),
        cost_pico=cost,
        currency=currency,
        committed_at=now_ms(),
    )


def ended_record(
    owner: str, given: TurnInput, start: TurnStart, plan: Plan | None, log: TurnLog, status: TurnState
) -> TurnRecord:
    """The row of a turn that was not committed: what had happened by then, and what its models had cost."""
    used = log.usage()
    cost, currency = _cost(used)
    decided = plan.decided if plan is not None else None
    return replace(
        running_record(owner, given, start),
        seq=None,
        status=status,
        events=log.events_to_keep(start.snapshot.sensitive),
        stage=decided.stage if decided else None,
        score=decided.score if decided else None,
        intent=decided.intent.id if decided and decided.intent else None,
        latency_ms=(time.perf_counter() - start.started) * 1000,
        input_tokens=sum(entry.input_tokens for entry in used),
        output_tokens=sum(entry.output_tokens for entry in used),
        cost_pico=cost,
        currency=currency,
        committed_at=now_ms(),
    )


def call_context(given: TurnInput, session: Session, snapshot: WorkflowSnapshot, now: int) -> CallContext:
    """What every call of the turn says about it."""
    request, config, state = given.request, snapshot.config, session.state
    return CallContext(
        tenant=given.principal.tenant,
        subject=given.principal.subject,
        workflow_id=config.workflow_id,
        config_hash=snapshot.config_hash,
        session_id=request.session_id,
        user_id=given.user_id or session.user_id,
        turn_id=given.turn_id,
        epoch=session.epoch,
        language=choose_language(config.languages, request.language, state.language, request.message),
        timezone=request.timezone or state.timezone or "UTC",
        now_ms=now,
        profile=state.profile,
        metadata=request.metadata,
    )


def chat_messages(turns: Sequence[TurnRecord]) -> list[ChatMessage]:
    """Turns as messages that a model can be shown."""
    messages: list[ChatMessage] = []
    for turn in turns:
        if turn.kind == "message":
            messages.append(ChatMessage(role="user", text=turn.user_text, turn_id=turn.turn_id))
        text = QueryReply.model_validate_json(turn.reply).message if turn.reply is not None else ""
        if text:
            messages.append(ChatMessage(role="assistant", text=text, turn_id=turn.turn_id))
    return messages


def _spent(before: dict[str, int], used: Sequence[UsageData]) -> dict[str, int]:
    """What the session has cost with this turn, in 10^-12 units, by currency."""
    if not used:
        return before
    spent = Counter(before)
    for entry in used:
        if entry.cost is not None:
            spent[entry.currency] += int(Decimal(entry.cost) * _PICO)
    return dict(spent)


def _cost(used: Sequence[UsageData]) -> tuple[int | None, str | None]:
    """The cost in 10^-12 units, or None where it is not known: a call has no price, or currencies are mixed."""
    if not used or any(entry.cost is None for entry in used):
        return None, None
    if len({entry.currency for entry in used}) > 1:
        return None, None
    total = sum((Decimal(entry.cost) for entry in used if entry.cost is not None), Decimal(0))
    return int(total * _PICO), used[0].currency
