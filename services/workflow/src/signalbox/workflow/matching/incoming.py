"""A message as the stages of matching get it, and what they make of it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from signalbox.common.record import record
from signalbox.common.rules import normalise
from signalbox.common.template_values import local_date
from signalbox.contracts.config import Intent
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import Stage
from signalbox.workflow.allowance import UNLIMITED, Allowance

if TYPE_CHECKING:
    # A snapshot holds compiled rules, which are a part of matching too.
    from signalbox.workflow.snapshot import WorkflowSnapshot

History = Callable[[], Awaitable[list[ChatMessage]]]
"""Earlier messages of the epoch, oldest first; read when something shows them to a model."""


@record
class Incoming:
    """One message to understand."""

    snapshot: "WorkflowSnapshot"
    text: str
    """Normalised."""
    context: CallContext
    principal: Principal
    history: History
    started_ns: int
    """On the clock of ``perf_counter_ns``: what a decision took is counted from here."""
    allowance: Allowance = UNLIMITED
    """Whether a model may be asked."""
    paid: list[UsageData] = field(default_factory=list)
    """What vectors of the message have cost so far."""

    @classmethod
    def of(
        cls,
        snapshot: "WorkflowSnapshot",
        message: str,
        context: CallContext,
        principal: Principal,
        history: History,
        allowance: Allowance = UNLIMITED,
    ) -> "Incoming":
        """The message of a turn; the clock starts."""
        started = time.perf_counter_ns()
        return cls(snapshot, normalise(message), context, principal, history, started, allowance)

    @property
    def today(self) -> Callable[[], date]:
        """The date where the user is, for who needs it: most messages name no date."""
        return partial(local_date, self.context)

    def took_us(self) -> int:
        """Microseconds since the message came."""
        return (time.perf_counter_ns() - self.started_ns) // 1000


@record
class Candidate:
    """An intent that a message may have: its score, 0 to 1, and the parameters that the message gives it."""

    intent: Intent
    score: float
    parameters: dict[str, Any] = field(default_factory=dict)


@record
class Decided:
    """What a message means.

    Without an intent nothing fitted, or it is not clear which of ``candidates``. ``failure`` says why the model that
    should have decided did not, also where another stage or a cheaper model did instead.
    """

    stage: Stage
    intent: Intent | None = None
    score: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    took_us: int = 0
    usage: tuple[UsageData, ...] = ()
    """What models were paid for it."""
    failure: str | None = None
    cached: bool = False
    """Whether a model had decided it before."""
    candidates: tuple[Candidate, ...] = ()
    """Which of these was meant has to be asked; the best first."""


@record
class Guess:
    """What examples say about a message that they are not sure enough of to route it."""

    likely: tuple[str, ...] = ()
    """Intents, best first; empty where the message is like no example."""
    candidates: tuple[Candidate, ...] = ()
    """Those that a user may be asked about, best first; empty where even the best is too unlikely."""
    complete: bool = True
    """Whether the first candidate has its required parameters: a model may find in the message what no pattern does."""
