"""One tool of an MCP server, as a workflow names it: the request that a call is, before anything of a session."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from signalbox.common.http_calls import HttpCall, RenderedRequest
from signalbox.common.templates import Templates
from signalbox.contracts.config import HttpRequest, ResponseMapping, Tool
from signalbox.tools.mcp.protocol import param_headers
from signalbox.tools.mcp.replies import REQUEST_ID, McpReader

_LIST_BYTES = 4 * 1024 * 1024
_ENVELOPE_BYTES = 64 * 1024


class McpCall:
    """A tool whose source is an MCP server.

    Raises:
        TemplateError: the URL is no usable template.
        BadExpression: a JMESPath expression does not parse.
    """

    def __init__(self, tool: Tool, templates: Templates, variables: Mapping[str, Any]) -> None:
        assert tool.mcp is not None  # noqa: S101 - the registry asks only for such
        self.tool = tool
        self.source = tool.mcp
        write = tool.effect == "write"
        self.calling = _exchange(
            tool, templates, variables, write=write, repeatable=tool.idempotent or not write
        )
        self.asking = _exchange(tool, templates, variables, write=False, repeatable=True)
        mapping = McpReader(tool.response, tool.response.max_bytes + _ENVELOPE_BYTES)
        self.calling.mapping, self.asking.mapping = mapping, McpReader(ResponseMapping(), _LIST_BYTES)
        self.mapping = mapping

    def render(self, values: Mapping[str, Any]) -> RenderedRequest:
        """The request of a call, for its preview and its fingerprint, too; not authorised yet.

        Raises:
            CallFailed: ``invalid_arguments``.
        """
        arguments = {name: value for name, value in values["arguments"].items() if value is not None}
        request = self.calling.render(values)
        headers = {**request.headers, **param_headers(self.tool.parameters, arguments)}
        params = {"name": self.source.tool, "arguments": arguments}
        return replace(request, headers=headers, body=message("tools/call", params))

    def preview(self, request: RenderedRequest) -> dict[str, Any]:
        """The request as it would be sent, credentials masked."""
        return self.calling.preview(request)


def message(method: str, params: Mapping[str, Any] | None, *, notification: bool = False) -> bytes:
    """A JSON-RPC request, or a notification, which has no id and gets no answer."""
    content: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if not notification:
        content["id"] = REQUEST_ID
    if params is not None:
        content["params"] = params
    return orjson.dumps(content)


def _exchange(
    tool: Tool, templates: Templates, variables: Mapping[str, Any], *, write: bool, repeatable: bool
) -> HttpCall:
    assert tool.mcp is not None  # noqa: S101 - the registry asks only for such
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    return HttpCall(
        HttpRequest(method="POST", url=tool.mcp.url, headers=headers),
        templates,
        variables=variables,
        auth=tool.auth,
        response=tool.response,
        retry=tool.retry,
        timeout_ms=tool.timeout_ms,
        write=write,
        repeatable=repeatable,
        name=tool.id,
        circuit=tool.circuit,
    )
