"""Knowledge sources: tools that are asked for passages, which models and users are given as what they are: quotes."""

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Literal

from signalbox.common.errors import SignalboxError
from signalbox.common.passages import read_passages
from signalbox.contracts.config import Knowledge as Source
from signalbox.contracts.work import Passage, ToolCallReply
from signalbox.workflow.work import Work

_LOG = logging.getLogger(__name__)

Moment = Literal["before_answer", "on_fallback"]
CallTool = Callable[[Work, str, dict[str, Any], str], Awaitable[ToolCallReply]]


class Knowledge:
    """Asks the sources of a workflow."""

    def __init__(self, call: CallTool) -> None:
        self._call = call

    async def passages(self, work: Work, moments: Collection[Moment]) -> list[Passage]:
        """What the sources that are due have for the turn's message, in the order of the config.

        One that fails has nothing: an answer without it is better than none.
        """
        found: list[Passage] = []
        for source in work.snapshot.config.knowledge:
            if source.when in moments:
                found += await self._ask(work, source)
        return found

    async def _ask(self, work: Work, source: Source) -> list[Passage]:
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
