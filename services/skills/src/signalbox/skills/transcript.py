"""What a run leaves for later turns of its session: its tool calls and what the model was told of them.

Nothing is in it that the model was not shown: a tool's context variables and credentials never reach a model. Arguments
that a tool's schema marks as secret are masked, also where results repeat them. Calls that were no calls (of a tool
that is not offered, or with arguments that are not JSON) are left out, and each other call has a result, because
providers refuse a prompt in which one has none.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from signalbox.common.record import record
from signalbox.common.sensitive import masked, sensitive_members
from signalbox.contracts.config import Tool
from signalbox.contracts.llm import FunctionCall, Message, ToolCall
from signalbox.skills.book import CompiledAgent
from signalbox.skills.compaction import is_notes
from signalbox.skills.shortening import shortened
from signalbox.skills.sources import without_numbers
from signalbox.skills.untrusted import as_data

_SHORT_TOKENS = (400, 100)
_ID_CHARS = 9
"""Some providers take ids of exactly nine letters and digits; all take those. Source: Mistral's chat API."""


class Transcript(BaseModel):
    """The messages between a user's message and the answer to it: ``assistant`` ones with calls, and ``tool`` ones."""

    version: Literal[1] = 1
    messages: list[Message]


@record
class Unanswered:
    """What is said of calls that have no result, because the run ended before."""

    code: str
    detail: str

    @property
    def content(self) -> str:
        """As a tool's message says it."""
        return as_data({"error": {"code": self.code, "detail": self.detail}})


NOT_MADE = Unanswered("not_made", "The run ended, or waited for a person, before this call was made.")
NOT_KNOWN = Unanswered("unknown_outcome", "The run stopped here; whether this was carried out is not known.")


def transcript_of(
    agent: CompiledAgent, run_id: str, messages: Sequence[Message], unanswered: Unanswered, max_chars: int
) -> Transcript | None:
    """What the messages of a run, from behind those that it began with, leave; None where it called nothing.

    Beyond ``max_chars`` its older results are shortened, then older steps left out.
    """
    steps: list[list[Message]] = []
    for number, message in enumerate(messages):
        if is_notes(message):
            steps.append([message])
        elif message.tool_calls:
            results = _results(messages[number + 1 :])
            step = _step(agent, f"{run_id}/{number}", message, results, unanswered)
            steps += [step] if step else []
    kept = _within(steps, max_chars)
    return Transcript(messages=kept) if kept else None


def short_of(messages: Sequence[Message], tokens: int) -> list[Message]:
    """Messages of a transcript with each result within so many tokens."""
    return [
        message.model_copy(update={"content": shortened(message.content, tokens)})
        if message.role == "tool" and isinstance(message.content, str)
        else message
        for message in messages
    ]


def _step(
    agent: CompiledAgent,
    place: str,
    message: Message,
    results: Mapping[str | None, str],
    unanswered: Unanswered,
) -> list[Message]:
    """One answer that asked for tools, and their results. The ids of calls are unique in a session."""
    calls: list[ToolCall] = []
    told: list[Message] = []
    for position, call in enumerate(message.tool_calls or ()):
        name = call.function.name
        part = agent.offered.get(name)
        arguments = _json(call.function.arguments or "{}")
        if part is None or not isinstance(arguments, dict):
            continue
        content = results.get(call.id, unanswered.content)
        if name in agent.sources:
            content = without_numbers(content)
        written = call.function.arguments or "{}"
        if isinstance(part, Tool) and (secret := sensitive_members(part.parameters)):
            written = orjson.dumps(masked(arguments, secret)).decode()
            content = _masked_result(content, secret)
        known = _id(f"{place}/{position}")
        calls.append(ToolCall(id=known, function=FunctionCall(name=name, arguments=written)))
        told.append(Message(role="tool", tool_call_id=known, content=content))
    if not calls:
        return []
    return [Message(role="assistant", content=message.content, tool_calls=calls), *told]


def _results(after: Sequence[Message]) -> dict[str | None, str]:
    """By call: what was told right after an answer. Some providers give calls of other answers the same ids."""
    results: dict[str | None, str] = {}
    for message in after:
        if message.role != "tool":
            break
        if isinstance(message.content, str):
            results[message.tool_call_id] = message.content
    return results


def _within(steps: list[list[Message]], max_chars: int) -> list[Message]:
    """The steps within so many characters: the newest stays whole for as long as it can."""
    for tokens in _SHORT_TOKENS:
        for index in range(len(steps)):
            if _chars_of(steps) <= max_chars:
                break
            steps[index] = short_of(steps[index], tokens)
    while len(steps) > 1 and _chars_of(steps) > max_chars:
        del steps[0]
    if _chars_of(steps) > max_chars:
        # One answer with very many calls: its last ones would have no call if they alone were kept.
        return []
    return [message for step in steps for message in step]


def _chars_of(steps: Sequence[Sequence[Message]]) -> int:
    return sum(
        len(message.content or "")
        + sum(len(call.function.name) + len(call.function.arguments) for call in message.tool_calls or ())
        for step in steps
        for message in step
    )


def _masked_result(content: str, secret: frozenset[str]) -> str:
    value = _json(content)
    return as_data(masked(value, secret)) if isinstance(value, dict | list) else content


def _id(place: str) -> str:
    digest = base64.b32encode(hashlib.sha256(place.encode()).digest()).decode()
    return digest[:_ID_CHARS].lower()


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
