"""Runs that wait for a person: what they want to do, and what the person says to it."""

from typing import Any, Literal

from pydantic import Field

from signalbox.contracts.base import EpochMs, Identifier, PublicRequest, WireModel

Asked = Literal["user", "operator"]
PauseReason = Literal["approval", "unknown_outcome"]
"""``approval``: a write waits for a yes. ``unknown_outcome``: nobody knows whether a write was made."""


class PendingCall(WireModel):
    """A tool call that waits."""

    call_id: str
    """The run's id and the step, which is the call's idempotency key too."""
    tool: Identifier
    arguments: dict[str, Any] = {}
    """As the model gave them, those marked as secret left out."""
    summary: str
    """What it does, in words of the turn's language."""


class Pause(WireModel):
    """Why a run waits, and for whom."""

    by: Asked
    reason: PauseReason
    calls: list[PendingCall]


Decision = Literal["approve", "refuse", "happened", "repeat", "abandon"]


class Verdict(WireModel):
    """What a person says to a call.

    ``approve`` and ``refuse`` answer an approval; ``happened`` (with what it gave, where known) and ``repeat`` settle a
    write of unknown outcome; ``abandon`` ends the run, whatever it waits for.
    """

    decision: Decision
    output: Any = None
    note: str = ""
    """Told to the model with a refusal."""


PausedRunStatus = Literal["waiting", "decided", "done"]
"""``waiting`` for a decision; ``decided``, the run goes on with it; ``done``, it has."""


class PausedRunView(WireModel):
    """A run that waits for an operator, or waited."""

    pause_id: str
    status: PausedRunStatus
    reason: PauseReason
    session_id: str
    turn_id: str
    """The turn in which it stopped."""
    workflow_id: str
    user_id: str | None = None
    skill: str
    run_id: str
    calls: list[PendingCall]
    asked_at: EpochMs
    expires_at: EpochMs | None = None
    """When an approval that nobody gave counts as refused; none for a write of unknown outcome."""
    decision: Decision | None = None
    note: str = ""
    decided_by: str | None = None
    """The subject of the credential that decided; ``expiry`` where nobody did in time."""
    decided_at: EpochMs | None = None
    task_id: str | None = None
    """The task in which it goes on."""
    result_turn_id: str | None = None
    """The turn that tells the session what came of it."""
    done_at: EpochMs | None = None


class PausedRunList(WireModel):
    """Runs that wait or waited, newest first."""

    items: list[PausedRunView]
    next_before: str | None = None
    """Pass as ``?before=`` for the next page; null on the last one."""


class DecisionRequest(PublicRequest):
    """What an operator says to a run that waits.

    ``approve`` or ``refuse`` an approval. A write of unknown outcome ``happened`` (with ``output``, what it gave), or
    it did not and is made now (``repeat``). ``abandon`` ends the run either way.
    """

    decision: Decision
    output: Any = None
    """Of a write that happened: what it gave, as the tool would have told it."""
    note: str = Field(default="", max_length=2000)
    """Why; a refused model is told it."""
