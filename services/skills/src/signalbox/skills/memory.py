"""What a run is shown of what the same skill's tools gave in earlier turns, within a budget of tokens.

The newest turns are shown whole. Where all of them are too long, older ones are shortened, and the oldest left out.
That is done in leaps, to half of the room, so that from one turn to the next the beginning of the prompt mostly stays
what it was, and what providers have cached of it holds. Where a leap is follows from the turns that are shown alone;
nothing about it is stored.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from signalbox.contracts.llm import Message
from signalbox.contracts.work import SkillRunRequest
from signalbox.skills.book import CompiledAgent
from signalbox.skills.compaction import tokens_of_messages
from signalbox.skills.ports import Runs
from signalbox.skills.transcript import Transcript, short_of

_SHORT_TOKENS = (150, 40)
"""Of one result of an older turn; first all are made as short as the first, then as the second."""
_MOST_TURNS = 50
"""Turns that are read at most, however many a workflow shows of a conversation."""


@dataclass(slots=True)
class _Turn:
    turn_id: str
    messages: list[Message]
    tokens: int

    def shorten(self, tokens: int) -> None:
        self.messages = short_of(self.messages, tokens)
        self.tokens = tokens_of_messages(self.messages)


class Memory:
    """Tool calls and results of earlier turns, by turn, oldest first."""

    def __init__(self, turns: Mapping[str, Sequence[Message]], offered: frozenset[str]) -> None:
        """``offered`` names the tools that the skill has now; calls of others are not shown."""
        self._turns = {turn_id: _offered(messages, offered) for turn_id, messages in turns.items()}

    @classmethod
    def of_nothing(cls) -> "Memory":
        """For a run that has no earlier turns."""
        return cls({}, frozenset())

    def __bool__(self) -> bool:
        return any(self._turns.values())

    def within(self, tokens: int) -> dict[str, list[Message]]:
        """The messages to show, by turn: within the budget, whatever there is."""
        shown: list[_Turn] = []
        for turn_id, messages in self._turns.items():
            if not messages:
                continue
            shown.append(_Turn(turn_id, list(messages), tokens_of_messages(messages)))
            if _tokens_of(shown) > tokens:
                shown = _made_room(shown, tokens)
        return {turn.turn_id: turn.messages for turn in shown}


async def remembered(runs: Runs, agent: CompiledAgent, request: SkillRunRequest) -> Memory:
    """What runs of the skill have left in the turns that come with the request."""
    turn_ids = list(dict.fromkeys(message.turn_id for message in request.history if message.turn_id))
    left: dict[str, list[Message]] = {turn_id: [] for turn_id in turn_ids[-_MOST_TURNS:]}
    if left and agent.offered and agent.skill.history.tool_results:
        context = request.context
        for turn_id, text in await runs.transcripts(
            context.tenant, context.session_id, request.skill, list(left)
        ):
            # A newer release may have written what this one cannot read: the turn is shown without it.
            with suppress(ValidationError):
                left[turn_id] += Transcript.model_validate_json(text).messages
    return Memory(left, frozenset(agent.offered))


def _made_room(turns: list[_Turn], tokens: int) -> list[_Turn]:
    """The turns with older ones in half of the room that the newest leaves them; that one within the budget."""
    newest = turns[-1].tokens
    enough = newest + max(0, tokens - newest) // 2
    for short in _SHORT_TOKENS:
        for turn in turns[:-1]:
            if _tokens_of(turns) <= enough:
                return turns
            turn.shorten(short)
    while len(turns) > 1 and _tokens_of(turns) > enough:
        turns = turns[1:]
    for short in _SHORT_TOKENS:
        if _tokens_of(turns) > tokens:
            turns[-1].shorten(short)
    return turns if _tokens_of(turns) <= tokens else []


def _tokens_of(turns: Sequence[_Turn]) -> int:
    return sum(turn.tokens for turn in turns)


def _offered(messages: Sequence[Message], offered: frozenset[str]) -> list[Message]:
    shown: list[Message] = []
    known: set[str] = set()
    for message in messages:
        if message.role == "tool":
            shown += [message] if message.tool_call_id in known else []
            continue
        if not message.tool_calls:
            shown.append(message)
            continue
        calls = [call for call in message.tool_calls if call.function.name in offered]
        if calls:
            known |= {call.id for call in calls}
            shown.append(message.model_copy(update={"tool_calls": calls}))
    return shown
