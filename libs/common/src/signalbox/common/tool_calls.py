"""Calling tools from Flows and Skills, and what a model may know of a tool's arguments."""

import time
from typing import Any

from signalbox.common.clients import ServiceCallFailed, ToolsClient
from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.transport import HopError, HopTimeout
from signalbox.contracts.base import JsonSchema
from signalbox.contracts.config import Tool
from signalbox.contracts.identity import Principal
from signalbox.contracts.work import ToolCallReply, ToolCallRequest, ToolError


class RemoteTools:
    """Calls tools for one principal. A Tools service that does not answer is a failed call like any other."""

    def __init__(self, client: ToolsClient, principal: Principal) -> None:
        self._client = client
        self._principal = principal

    async def call(self, request: ToolCallRequest, *, write: bool) -> ToolCallReply:
        """One call. ``write`` says that a lost answer leaves open whether something was changed."""
        started = time.perf_counter()
        try:
            return await self._client.call(request, self._principal)
        except DeadlineExceeded as error:
            failure = ToolError(code="timeout", detail=error.detail)
        except (HopError, ServiceCallFailed) as error:
            failure = _failure(error, write=write)
        return ToolCallReply(ok=False, error=failure, took_ms=(time.perf_counter() - started) * 1000)


def _failure(error: SignalboxError, *, write: bool) -> ToolError:
    if isinstance(error, ServiceCallFailed) and error.upstream.status < 500:
        return ToolError(code="refused", detail=error.detail)
    if write:
        return ToolError(code="unknown_outcome", detail=error.detail)
    return ToolError(code="timeout" if isinstance(error, HopTimeout) else "unreachable", detail=error.detail)


def visible_parameters(tool: Tool) -> JsonSchema:
    """The schema of what a caller gives: the tool's own without what is taken from the session."""
    hidden = tool.context.keys()
    if not hidden:
        return tool.parameters
    schema: dict[str, Any] = dict(tool.parameters)
    if "properties" in schema:
        schema["properties"] = {
            name: value for name, value in schema["properties"].items() if name not in hidden
        }
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name not in hidden]
    return schema
