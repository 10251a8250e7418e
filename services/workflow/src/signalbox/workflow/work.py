"""What there is to work with in a turn, and what comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Any

from signalbox.common.record import record
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import TurnEvent, UsageData
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import Part, QueryStatus
from signalbox.contracts.work import FlowState
from signalbox.workflow.allowance import UNLIMITED, Allowance
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.records import PausedRun, SessionStatus, WaitingRun
from signalbox.workflow.snapshot import WorkflowSnapshot

Emit = Callable[[TurnEvent], Awaitable[None]]


@record
class Work:
    """What there is to work with in one turn."""

    snapshot: WorkflowSnapshot
    context: CallContext
    principal: Principal
    message: str
    history: Callable[[], Awaitable[list[ChatMessage]]]
    """Earlier messages of the epoch; read only by what shows them to a model."""
    transcript: Callable[[], Awaitable[list[ChatMessage]]]
    """More of them, for a person who takes over."""
    emit: Emit
    allowance: Allowance = UNLIMITED
    """Whether a model may be asked."""
    parameters: dict[str, Any] = field(default_factory=dict)
    usage: list[UsageData] = field(default_factory=list)
    """What models were paid for so far, also for work that failed in the end."""
    untranslated: set[str] = field(default_factory=set)
    """Languages in which texts were said that the workflow does not have in the turn's."""
    slots: dict[str, Any] = field(default_factory=dict)
    """Values of the flows that were open when the message came, for actions."""
    reason: str | None = None
    """Why an action is taken: an intent, or the code of a failure."""
    fell_back: bool = False
    """Whether nothing fitted the message."""
    place: str = ""
    """Made a part of the keys of calls, where a turn does more than one thing."""

    def key(self, name: str) -> str:
        """An idempotency key of the turn's own."""
        return "/".join(part for part in (self.context.turn_id, self.place, name) if part)


@record
class Outcome:
    """What came of the work, for the reply and for the session."""

    message: str
    status: QueryStatus = "success"
    parts: list[Part] = field(default_factory=list)
    reason: str | None = None
    flow: FlowState | None = None
    """The flow that stays open."""
    interrupted: list[FlowState] = field(default_factory=list)
    """Flows that wait behind it, the oldest first."""
    paused: PausedRun | None = None
    """The run that waits for the user's word."""
    waits: WaitingRun | None = None
    """The run that waits for an operator."""
    digressions: int = 0
    digressed: str | None = None
    """See ``SessionState``."""
    profile: dict[str, Any] | None = None
    """The profile as it is now; None leaves it."""
    session_status: SessionStatus = "active"
    usage: list[UsageData] = field(default_factory=list)
    outbox: list[OutboxMessage] = field(default_factory=list)


def render(work: Work, text: LocalizedText, **more: Any) -> str:
    """A text of the config in the turn's language, its variation chosen by the turn."""
    context = work.context
    values = work.snapshot.values(context, parameters=work.parameters, **more)
    return work.snapshot.render(text, context.language, context.turn_id, values, work.untranslated)
