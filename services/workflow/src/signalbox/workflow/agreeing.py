"""What the user's next message is to a run that waits for a yes."""

from typing import Literal

from signalbox.common.reading import asks_something, plain, read_yes_no, wants_to_stop
from signalbox.contracts.pauses import Verdict
from signalbox.workflow.records import PausedRun

_MOST_WORDS = {True: 6, False: 4}
_FEW_WORDS = 3
"""With no more, a message is no question besides the yes or no in it."""
_MOST_CHARACTERS = {True: 12, False: 8}


def answer_to(paused: PausedRun, message: str) -> Literal["approve", "refuse"] | None:
    """Whether a message, as a whole, says yes or no; None for one that is about something else, or says more.

    A write is made only for a plain yes: "yes, but to my other address" wants something else than was asked about.
    """
    agreed = read_yes_no(message)
    if agreed is None or not _is_short(message, agreed=agreed):
        return "refuse" if agreed is not True and wants_to_stop(message, paused.asked) else None
    return "approve" if agreed else "refuse"


def verdicts_on(paused: PausedRun, decision: Literal["approve", "refuse", "abandon"]) -> dict[str, Verdict]:
    """The same word on all calls that were asked about together."""
    return {call.call_id: Verdict(decision=decision) for call in paused.calls}


def _is_short(message: str, *, agreed: bool) -> bool:
    said = plain(message)
    if said.isascii():
        words = len(said.split())
        return words <= _MOST_WORDS[agreed] and (words <= _FEW_WORDS or not asks_something(message))
    return len(said) <= _MOST_CHARACTERS[agreed] and not asks_something(message)
