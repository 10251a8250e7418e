"""Asking a tool's declared status check whether a write whose answer was lost was made."""

import logging
from typing import Any

from signalbox.common.templates import TemplateError
from signalbox.contracts.config import Tool
from signalbox.contracts.work import SkillRunRequest, ToolCallReply, ToolCallRequest
from signalbox.skills.book import SkillBook
from signalbox.skills.ports import ToolCaller

_LOG = logging.getLogger(__name__)


class WriteCheck:
    """The check of one write."""

    def __init__(self, book: SkillBook, request: SkillRunRequest, tools: ToolCaller) -> None:
        self._book = book
        self._request = request
        self._tools = tools
        self.found: ToolCallReply | None = None
        """What the check gave, where that says that the write was made."""

    async def was_not_made(self, tool: Tool, arguments: dict[str, Any], key: str) -> bool:
        """Whether the check says that the write was not made; false where it was, or where that stays unknown.

        Templates of the check see the write's ``arguments`` and its ``idempotency_key``; ``done_when`` sees ``result``.
        """
        check = tool.status_check
        if check is None:
            return False
        values = {**self._book.values(self._request), "arguments": arguments, "idempotency_key": key}
        try:
            request = ToolCallRequest(
                context=self._request.context,
                tool=check.tool,
                arguments=self._book.templates.render_value(check.arguments, values),
                idempotency_key=f"{key}/check",
            )
            reply = await self._tools.call(request, write=False)
            if not reply.ok:
                _LOG.warning("a status check failed", extra={"tool": check.tool})
                return False
            if not self._book.templates.evaluate(check.done_when, {**values, "result": reply.output}):
                return True
        except TemplateError as error:
            _LOG.warning("a status check cannot be asked: %s", error.detail, extra={"tool": check.tool})
            return False
        self.found = ToolCallReply(ok=True, output=reply.output, took_ms=reply.took_ms)
        return False
