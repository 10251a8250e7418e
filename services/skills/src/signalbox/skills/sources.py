"""What knowledge sources had in a run: each passage has one number, by which it is named and cited."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from signalbox.common.passages import cited, numbered, read_passages
from signalbox.contracts.llm import Message
from signalbox.contracts.query import CitationPart
from signalbox.contracts.work import Passage
from signalbox.skills.untrusted import as_data

_KEY = "passages"


class Sources:
    """The passages that a run's own calls have found; their numbers go on after those that came with the request.

    ``tools`` is how many passages of a source count, by the name that the model is shown.
    """

    def __init__(self, tools: Mapping[str, int], given: int, result_chars: int) -> None:
        self._tools = tools
        self._first = given + 1
        self._result_chars = result_chars
        self._found: list[Passage] = []

    def told(self, tool: str, output: Any) -> str | None:
        """The result of a source as the model is shown it: numbered, and ended between passages where it is long.

        A passage that was found before keeps its number. None for a tool that is no source.
        """
        if tool not in self._tools:
            return None
        shown: list[dict[str, Any]] = []
        size = 0
        for passage in read_passages(output, self._tools[tool]):
            [entry] = numbered([passage], self._first + self._place(passage))
            size += len(as_data(entry))
            if shown and size > self._result_chars:
                break
            shown.append(entry)
        return as_data({_KEY: shown})

    def restore(self, messages: Sequence[Message]) -> None:
        """Know again what was found, for a run that goes on from its messages."""
        asked = {
            call.id
            for message in messages
            for call in message.tool_calls or ()
            if call.function.name in self._tools
        }
        for message in messages:
            if message.tool_call_id in asked and isinstance(message.content, str):
                for passage in read_passages(_shown(message.content), max(self._tools.values())):
                    self._place(passage)

    def cited(self, text: str) -> list[CitationPart]:
        """The passages that a text names, in the order of their numbers."""
        return cited(text, self._found, self._first)

    def _place(self, passage: Passage) -> int:
        if passage not in self._found:
            self._found.append(passage)
        return self._found.index(passage)


def without_numbers(content: str) -> str:
    """What ``Sources.told`` gave, for another run: there the numbers are those of other passages."""
    told = _shown(content)
    if not isinstance(told, list):
        return content
    kept = [
        {name: value for name, value in entry.items() if name != "number"}
        for entry in told
        if isinstance(entry, dict)
    ]
    return as_data({_KEY: kept})


def _shown(content: str) -> Any:
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return told.get(_KEY) if isinstance(told, dict) else None
