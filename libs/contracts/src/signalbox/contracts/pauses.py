"""Runs that wait for a person: what they want to do, and what the person says to it."""

from typing import Any, Literal

from signalbox.contracts.base import Identifier, WireModel

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


class Verdict(WireModel):
    """What a person says to a call.

    ``approve`` and ``refuse`` answer an approval; ``happened`` (with what it gave, where known) and ``repeat`` settle a
    write of unknown outcome; ``abandon`` ends the run, whatever it waits for.
    """

    decision: Literal["approve", "refuse", "happened", "repeat", "abandon"]
    output: Any = None
    note: str = ""
    """Told to the model with a refusal."""
