"""What the stores keep of turns: sessions, turns and idempotency records."""

from dataclasses import field, replace
from typing import Any, Literal

from signalbox.common.record import record
from signalbox.contracts.base import WireModel
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.pauses import Decision as VerdictName
from signalbox.contracts.pauses import PausedRunStatus, PauseReason, PendingCall
from signalbox.contracts.query import TurnState
from signalbox.contracts.work import FlowState

SessionStatus = Literal["active", "waiting", "transferred", "closed", "deleted"]
TurnKind = Literal["message", "timer", "decision"]
"""What began a turn: a message of the user, silence, or an operator who decided on a run that waited."""


class Option(WireModel):
    """An intent that a question offers, with what the unclear message gave it."""

    intent: str
    """Its id, and the value of the choice that clients show."""
    label: str
    """As it was shown."""
    score: float
    parameters: dict[str, Any] = {}


class Question(WireModel):
    """Which of several intents a message has was asked; it waits for the next message."""

    message: str
    """The one that was unclear."""
    options: list[Option]


class PausedRun(WireModel):
    """A run that waits for the user's word."""

    run_id: str
    skill: str
    calls: list[PendingCall]
    """What it wants to do; their arguments are not kept here."""
    asked: str
    """The question, as it was put."""


class SessionState(WireModel):
    """What a session carries from turn to turn within an epoch."""

    greeted: bool = False
    language: str | None = None
    timezone: str | None = None
    flow: FlowState | None = None
    """The open flow; its snapshot is the session's pinned one."""
    interrupted: list[FlowState] = []
    """Flows that wait until the open one is over, the oldest first; empty without an open one."""
    digressions: int = 0
    """Turns in a row that were about something else while a question was open."""
    digressed: str | None = None
    """A digest of the last of them: who says the same again means it as the answer."""
    profile: dict[str, Any] = {}
    fallbacks: int = 0
    """Turns in a row that nothing fitted, or that asked again what was meant."""
    heard: int = 0
    """The user's last turn, where the workflow has timers: those that another turn has set are over."""
    paused: PausedRun | None = None
    """The run that asked for the user's word; its snapshot is the session's pinned one."""
    question: Question | None = None
    """What the last reply asked, where it asked which intent was meant."""
    spent: dict[str, int] = {}
    """What models have cost since the epoch began, in 10^-12 units, by currency; calls without a price not counted."""


@record
class Session:
    """A session as it was after its last committed turn."""

    tenant: str
    session_id: str
    subject: str
    user_id: str | None
    workflow_id: str
    created_at: int
    expires_at: int
    status: SessionStatus = "active"
    epoch: int = 1
    last_seq: int = 0
    message_count: int = 0
    config_hash: str | None = None
    updated_at: int = 0
    state: SessionState = field(default_factory=SessionState)
    keep_until: int | None = None
    """When it is to be deleted; None for as long as nobody does."""
    stored: bool = False
    """Whether the database has a row of it."""

    def visible_to(self, principal: Principal, user_id: str | None = None) -> bool:
        """Whether the session belongs to ``principal``, or to the user that it acts for."""
        if principal.tenant != self.tenant or not principal.may_use(self.workflow_id):
            return False
        if principal.subject == self.subject:
            return user_id is None or self.user_id in (None, user_id)
        if principal.may(Scope.ACT_FOR_USERS) and user_id is not None:
            return user_id == self.user_id
        return False

    def renewed(self, now: int, ttl_ms: int) -> "Session":
        """The same session in a fresh epoch: same history, new state, no pin."""
        return replace(
            self,
            status="active",
            epoch=self.epoch + 1,
            last_seq=0,
            config_hash=None,
            state=SessionState(),
            expires_at=now + ttl_ms,
        )


@record
class TurnRecord:
    """A turn as it is stored."""

    tenant: str
    turn_id: str
    session_id: str
    epoch: int
    seq: int | None
    status: TurnState
    owner: str
    first_message: int
    user_text: str
    workflow_id: str
    config_hash: str
    created_at: int
    heartbeat_at: int
    release_number: int | None = None
    arm: str | None = None
    reply: str | None = None
    events: str | None = None
    stage: str | None = None
    score: float | None = None
    intent: str | None = None
    outcome: str | None = None
    latency_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int | None = None
    currency: str | None = None
    trace_id: str | None = None
    thumb: str | None = None
    comment: str | None = None
    committed_at: int | None = None
    kind: TurnKind = "message"


@record
class WaitingRun:
    """A run that stopped and waits for an operator."""

    pause_id: str
    run_id: str
    skill: str
    reason: PauseReason
    calls: list[PendingCall]


@record
class PauseRecord:
    """A run that waits for an operator. ``calls`` is JSON, so are ``output`` and ``principal``: who asked."""

    tenant: str
    pause_id: str
    session_id: str
    turn_id: str
    workflow_id: str
    config_hash: str
    run_id: str
    skill: str
    subject: str
    principal: str
    user_id: str | None
    reason: PauseReason
    calls: str
    created_at: int
    expires_at: int | None
    status: PausedRunStatus = "waiting"
    decision: VerdictName | None = None
    output: str | None = None
    note: str = ""
    decided_by: str | None = None
    decided_at: int | None = None
    task_id: str | None = None
    done_at: int | None = None


@record
class IdempotencyKey:
    """Names a request: whose, where, which."""

    tenant: str
    subject: str
    route: str
    key: str


@record
class IdempotencyRecord:
    """What is known of the first request with a key. ``reply`` is None until it was answered."""

    name: IdempotencyKey
    request_hash: str
    target_id: str
    reply: str | None
    locked_until: int


@record
class TimerSet:
    """The timers of a session as they are stored. ``plan`` is JSON of ``timers.plan.Planned``."""

    tenant: str
    session_id: str
    epoch: int
    seq: int
    """The user's turn that set them."""
    due_at: int
    plan: str
    revision: int = 1


@record
class Fired:
    """A firing of a session's timers, for the commit of its turn."""

    taken: TimerSet
    """As it was taken; the commit compares with it."""
    left: TimerSet | None
    """What is still to fire."""


@record
class ErasureRecord:
    """What is still to be forgotten of something deleted here. ``what`` is JSON of ``contracts.keeping.OfSessions``."""

    tenant: str
    erasure_id: str
    what: str
    due_at: int
    created_at: int
    attempt: int = 0


@record
class Summary:
    """What models are told of a session's turns up to ``through_seq``, instead of the turns themselves."""

    tenant: str
    session_id: str
    epoch: int
    through_seq: int
    text: str
    made_at: int


@record
class Recalled:
    """What is known of a conversation: the summary of older turns, and the committed turns after it, oldest first."""

    summary: Summary | None
    turns: list[TurnRecord]
