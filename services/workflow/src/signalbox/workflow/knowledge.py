"""Knowledge sources: tools that are asked for passages, which models and users are given as what they are: quotes."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from signalbox.common.errors import SignalboxError
from signalbox.contracts.config import Knowledge as Source
from signalbox.contracts.query import CitationPart
from signalbox.contracts.work import Passage, ToolCallReply

if TYPE_CHECKING:
    from signalbox.workflow.execution import Work

_LOG = logging.getLogger(__name__)
_MAX_CHARACTERS = 4000
"""Of one passage; a source that gives whole documents would crowd out the conversation."""
_QUOTED = 300
_CITED = re.compile(r"\[(\d{1,2})\]")

Moment = Literal["before_answer", "on_fallback"]
CallTool = Callable[["Work", str, dict[str, Any], str], Awaitable[ToolCallReply]]


class Knowledge:
    """Asks the sources of a workflow."""

    def __init__(self, call: CallTool) -> None:
        self._call = call

    async def passages(self, work: "Work", moments: Collection[Moment]) -> list[Passage]:
        """What the sources that are due have for the turn's message, in the order of the config.

        One that fails has nothing: an answer without it is better than none.
        """
        found: list[Passage] = []
        for source in work.snapshot.config.knowledge:
            if source.when in moments:
                found += await self._ask(work, source)
        return found

    async def _ask(self, work: "Work", source: Source) -> list[Passage]:
        values = work.snapshot.values(work.context, parameters=work.parameters)
        try:
            given = work.snapshot.templates.render_value(source.arguments, values)
            arguments = {"query": work.message, **given}
            reply = await self._call(work, source.tool, arguments, f"knowledge/{source.id}")
        except SignalboxError as error:
            _LOG.warning(
                "a knowledge source cannot be asked", extra={"source": source.id, "code": error.code}
            )
            return []
        return read_passages(reply.output, source.top_k) if reply.ok else []


def read_passages(output: Any, most: int) -> list[Passage]:
    """The passages in a tool's output; what is none is left out."""
    passages: list[Passage] = []
    for item in output if isinstance(output, list) else []:
        try:
            passage = Passage.model_validate({"text": item} if isinstance(item, str) else item)
        except ValidationError:
            continue
        if passage.text.strip():
            passages.append(passage.model_copy(update={"text": passage.text[:_MAX_CHARACTERS]}))
        if len(passages) == most:
            break
    return passages


def citation(passage: Passage) -> CitationPart:
    """The source of a statement, as clients see it."""
    return CitationPart(title=passage.title, url=passage.url, quote=passage.text[:_QUOTED])


def cited(text: str, passages: Sequence[Passage]) -> list[CitationPart]:
    """The passages that an answer names as ``[1]``, ``[2]``, each once, in the order of their numbers."""
    numbers = {int(number) for number in _CITED.findall(text)} if passages else set()
    return [citation(passage) for number, passage in enumerate(passages, 1) if number in numbers]
