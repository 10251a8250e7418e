"""A workflow's tools as an MCP server: what each method answers. HTTP is in ``endpoints``.

No session is kept, so any replica answers any request, of the revision without sessions and of those with a handshake.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from signalbox.common.errors import BadRequest, SignalboxError
from signalbox.common.ids import label_id, now_ms
from signalbox.common.record import record
from signalbox.common.tool_calls import visible_parameters
from signalbox.contracts.admin import ReleasePointer
from signalbox.contracts.config import Tool
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.mcp.protocol import (
    HANDSHAKES,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    META_CAPABILITIES,
    META_VERSION,
    METHOD_HEADER,
    METHOD_NOT_FOUND,
    NAME_HEADER,
    STATELESS,
    UNSUPPORTED_VERSION,
    VERSION_HEADER,
    from_header,
)
from signalbox.tools.ports import Registries
from signalbox.tools.service import ToolCalls

_SERVER = {"name": "signalbox", "version": "1"}
_LIST_TTL_MS = 60_000
USER_KEY = "signalbox/user_id"
IDEMPOTENCY_KEY = "signalbox/idempotency_key"


class McpRefused(BadRequest):
    """A request that is answered with a JSON-RPC error of this ``number``."""

    code = "mcp_refused"

    def __init__(self, number: int, detail: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.number = number
        self.data = data


@record
class McpRequest:
    """One JSON-RPC request, whose credential and release are known."""

    method: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    principal: Principal
    release: ReleasePointer

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the client says beside the parameters."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, Mapping) else {}

    @property
    def is_stateless(self) -> bool:
        """Whether it is of the revision that keeps no sessions."""
        asked = (self.headers.get(VERSION_HEADER.lower()), self.meta.get(META_VERSION))
        return any(version is not None and version not in HANDSHAKES for version in asked)


class McpService:
    """Answers the requests of MCP clients."""

    def __init__(self, registries: Registries, calls: ToolCalls) -> None:
        self._registries = registries
        self._calls = calls

    async def answer(self, request: McpRequest) -> dict[str, Any]:
        """The result of a request.

        Raises:
            McpRefused: the request cannot be answered; an error of the protocol.
            SignalboxError: whatever else is wrong.
        """
        if request.is_stateless:
            _check_envelope(request)
        if request.method == "tools/call":
            result = await self._call(request)
        elif request.method == "tools/list":
            result = {"tools": await self._tools(request)}
        else:
            result = _about_the_server(request)
        if not request.is_stateless:
            return result
        kept = {"ttlMs": _LIST_TTL_MS, "cacheScope": "private"} if request.method != "tools/call" else {}
        return {**result, **kept, "resultType": "complete"}

    async def _tools(self, request: McpRequest) -> list[dict[str, Any]]:
        config = await self._config(request)
        return [_described(tool) for tool in config.tools if is_served(tool, config, request.principal)]

    async def _call(self, request: McpRequest) -> dict[str, Any]:
        name, arguments = request.params.get("name"), request.params.get("arguments")
        config = await self._config(request)
        tool = next((tool for tool in config.tools if tool.id == name), None)
        if tool is None or not is_served(tool, config, request.principal):
            raise McpRefused(INVALID_PARAMS, f"There is no tool '{name}' here; tools/list has them.")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise McpRefused(INVALID_PARAMS, "The arguments must be an object.")
        user = request.meta.get(USER_KEY)
        if tool.context and not (isinstance(user, str) and user):
            raise McpRefused(INVALID_PARAMS, f"This tool acts for a user; name one as _meta['{USER_KEY}'].")
        reply = await self._calls.call(_call_request(request, tool, dict(arguments or {}), user))
        return _content(reply)

    async def _config(self, request: McpRequest) -> WorkflowConfig:
        registry = await self._registries.get(request.principal.tenant, request.release.config_hash)
        return registry.config


def is_served(tool: Tool, config: WorkflowConfig, principal: Principal) -> bool:
    """Whether a client may see and call a tool.

    Not where a person has to confirm it: nobody of ours is there to ask. One that acts for the user of a session needs
    a credential that may name a user.
    """
    write = tool.effect == "write"
    if write and (tool.confirm == "always" or (config.policies.confirm_writes and tool.confirm != "never")):
        return False
    return not tool.context or principal.may(Scope.ACT_FOR_USERS)


def error_of(error: SignalboxError) -> dict[str, Any]:
    """An error as JSON-RPC has it; our code is in its data."""
    number = error.number if isinstance(error, McpRefused) else -32000 - min(error.status, 99)
    data: dict[str, Any] = {"code": error.code}
    if isinstance(error, McpRefused) and error.data is not None:
        data |= error.data
    return {"code": number, "message": error.detail, "data": data}


def _about_the_server(request: McpRequest) -> dict[str, Any]:
    about = {"capabilities": {"tools": {"listChanged": False}}}
    if request.method == "server/discover":
        return {
            **about,
            "supportedVersions": [STATELESS],
            "_meta": {"io.modelcontextprotocol/serverInfo": _SERVER},
        }
    if request.method == "initialize" and not request.is_stateless:
        asked = request.params.get("protocolVersion")
        return {
            **about,
            "protocolVersion": asked if asked in HANDSHAKES else HANDSHAKES[0],
            "serverInfo": _SERVER,
        }
    if request.method == "ping" and not request.is_stateless:
        return {}
    raise McpRefused(
        METHOD_NOT_FOUND, f"The method '{request.method}' is not served; this server has tools only."
    )


def _check_envelope(request: McpRequest) -> None:
    """What each request of the revision without sessions has to say, in its body and again in its headers."""
    missing = [key for key in (META_VERSION, META_CAPABILITIES) if key not in request.meta]
    if missing:
        raise McpRefused(INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}.")
    headers = request.headers
    version = request.meta[META_VERSION]
    if headers.get(VERSION_HEADER.lower()) != version or headers.get(METHOD_HEADER.lower()) != request.method:
        raise McpRefused(
            HEADER_MISMATCH, f"The headers {VERSION_HEADER} and {METHOD_HEADER} must say what the body says."
        )
    named = request.params.get("name") if request.method == "tools/call" else None
    if named is not None and from_header(headers.get(NAME_HEADER.lower(), "")) != named:
        raise McpRefused(HEADER_MISMATCH, f"The header {NAME_HEADER} must say what the body says.")
    if version != STATELESS:
        data = {"supported": [STATELESS], "requested": str(version)}
        raise McpRefused(UNSUPPORTED_VERSION, f"The protocol revision '{version}' is not known here.", data)


def _described(tool: Tool) -> dict[str, Any]:
    write = tool.effect == "write"
    annotations = {"readOnlyHint": not write, "openWorldHint": tool.python is None}
    if write:
        annotations |= {"destructiveHint": True, "idempotentHint": tool.idempotent}
    schema = {"type": "object", **visible_parameters(tool)}
    return {
        "name": tool.id,
        "description": tool.description,
        "inputSchema": schema,
        "annotations": annotations,
    }


def _call_request(
    request: McpRequest, tool: Tool, arguments: dict[str, Any], user: object
) -> ToolCallRequest:
    principal, release = request.principal, request.release
    call_id = label_id("mcp")
    given = request.meta.get(IDEMPOTENCY_KEY)
    key = f"{principal.subject}/{given}" if isinstance(given, str) and given else call_id
    try:
        context = CallContext(
            tenant=principal.tenant,
            subject=principal.subject,
            workflow_id=release.workflow_id,
            config_hash=release.config_hash,
            session_id=call_id,
            user_id=user if isinstance(user, str) and principal.may(Scope.ACT_FOR_USERS) else None,
            turn_id=call_id,
            now_ms=now_ms(),
        )
    except ValidationError as error:
        raise McpRefused(
            INVALID_PARAMS, f"'{USER_KEY}' in '_meta' is no id of a user: {error.errors()[0]['msg']}."
        ) from error
    return ToolCallRequest(context=context, tool=tool.id, arguments=arguments, idempotency_key=key)


def _content(reply: ToolCallReply) -> dict[str, Any]:
    if reply.error is not None:
        text = f"{reply.error.code}: {reply.error.detail}"
        return {"content": [{"type": "text", "text": text}], "isError": True}
    output = reply.output
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
    if isinstance(output, dict):
        result["structuredContent"] = output
    return result
