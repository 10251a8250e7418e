"""Passages of knowledge sources: read from what a tool gave, numbered for a model, cited for people.

A retriever is any tool, by HTTP, MCP or in Python: it takes ``query`` and gives a list of passages, or one. A passage
is a text, or an object with ``text`` and, where there are such, ``title`` and ``url``.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from signalbox.contracts.query import CitationPart
from signalbox.contracts.work import Passage

_MAX_CHARACTERS = 4000
"""Of one passage; a source that gives whole documents would crowd out the conversation."""
_QUOTED = 300
_CITED = re.compile(r"\[(\d{1,3})\]")


def read_passages(output: Any, most: int) -> list[Passage]:
    """The first ``most`` passages in a tool's output; what is none is left out."""
    passages: list[Passage] = []
    for item in output if isinstance(output, list) else [output]:
        if len(passages) >= most:
            break
        try:
            passage = Passage.model_validate({"text": item} if isinstance(item, str) else item)
        except ValidationError:
            continue
        if passage.text.strip():
            passages.append(passage.model_copy(update={"text": passage.text[:_MAX_CHARACTERS]}))
    return passages


def numbered(passages: Sequence[Passage], first: int = 1) -> list[dict[str, Any]]:
    """Passages as a model is shown them: each with the number by which an answer names it."""
    return [
        {"number": number, **passage.model_dump(exclude_none=True)}
        for number, passage in enumerate(passages, first)
    ]


def citation(passage: Passage) -> CitationPart:
    """The source of a statement, as clients see it."""
    return CitationPart(title=passage.title, url=passage.url, quote=passage.text[:_QUOTED])


def cited(text: str, passages: Sequence[Passage], first: int = 1) -> list[CitationPart]:
    """The passages that an answer names as ``[1]``, ``[2]``, each once, in the order of their numbers.

    ``first`` is the number of the first passage.
    """
    numbers = {int(number) for number in _CITED.findall(text)} if passages else set()
    return [citation(passage) for number, passage in enumerate(passages, first) if number in numbers]


def quoted(text: str, passages: Sequence[Passage]) -> list[CitationPart]:
    """The passages whose words are in a text as they stand, in their order."""
    said = _plain(text)
    return [citation(passage) for passage in passages if _plain(passage.text) in said]


def _plain(text: str) -> str:
    return " ".join(text.split())
