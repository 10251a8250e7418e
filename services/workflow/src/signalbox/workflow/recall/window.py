"""Which turns are shown whole, and which go into the summary."""

from collections.abc import Sequence

from signalbox.common.record import record
from signalbox.common.text_sizes import clipped, tokens_of
from signalbox.contracts.config import ContextPolicy
from signalbox.contracts.context import ChatMessage
from signalbox.workflow.recall.sizes import tokens_of_messages
from signalbox.workflow.records import TurnRecord
from signalbox.workflow.turn_state import chat_messages

SUMMARY_TOKENS = 600
"""The longest summary; and at most a quarter of what the context may have."""
_READ_AHEAD = 3
"""Turns that one summary takes in are at most so many times those that are shown."""


@record
class Budget:
    """What of a conversation a model may see: turns, and tokens of turns and summary together."""

    turns: int
    tokens: int
    summary: int

    @classmethod
    def of(cls, policy: ContextPolicy) -> "Budget":
        """The budget of a workflow."""
        return cls(policy.max_turns, policy.max_tokens, min(SUMMARY_TOKENS, policy.max_tokens // 4))

    @property
    def nothing(self) -> bool:
        """Whether models see nothing of earlier turns."""
        return self.turns == 0 or self.tokens == 0

    @property
    def read(self) -> int:
        """Turns that are read at most."""
        return self.turns * (_READ_AHEAD + 1)


def fits(turns: Sequence[TurnRecord], summary: str | None, budget: Budget, spare_turns: int = 0) -> bool:
    """Whether all turns can be shown beside the summary, and ``spare_turns`` more of their size."""
    if len(turns) + spare_turns > budget.turns:
        return False
    used = tokens_of_messages(chat_messages(turns))
    spare = used * spare_turns // max(len(turns), 1)
    return used + spare + tokens_of(summary or "") <= budget.tokens


def split(turns: Sequence[TurnRecord], budget: Budget) -> tuple[list[TurnRecord], list[TurnRecord]]:
    """Older turns, for the summary, and the newest ones, which stay whole.

    What stays is about half of the budget, so that the next summary is some turns away. The newest turn always stays.
    """
    at_most, room = max(1, budget.turns // 2), (budget.tokens - budget.summary) // 2
    kept = 0
    for turn in reversed(turns):
        room -= tokens_of_messages(chat_messages([turn]))
        if kept and (kept == at_most or room < 0):
            break
        kept += 1
    return list(turns[: len(turns) - kept]), list(turns[len(turns) - kept :])


def newest(turns: Sequence[TurnRecord], room: int, at_most: int) -> list[ChatMessage]:
    """The messages of the newest turns within ``room`` tokens; what does not fit alone is cut."""
    shown: list[ChatMessage] = []
    for turn in reversed(turns[-at_most:]):
        messages = chat_messages([turn])
        used = tokens_of_messages(messages)
        if used > room and shown:
            break
        if used > room:
            each = max(1, room // max(len(messages), 1) - 8)
            messages = [
                message.model_copy(update={"text": clipped(message.text, each)}) for message in messages
            ]
        shown = [*messages, *shown]
        room -= used
    return shown
