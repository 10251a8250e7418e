"""``POST /mcp/{workflow_id}``: streamable HTTP of MCP, without sessions and without streams.

Every answer is one JSON object. ``GET``, by which a client would listen, and ``DELETE``, by which it would end a
session, are answered 405, as the protocol asks of servers that have neither.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from signalbox.common.auth import Requires
from signalbox.common.errors import Forbidden, SignalboxError
from signalbox.common.snapshots import ConfigFeed
from signalbox.common.web.openapi import ErrorBody
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal, Scope
from signalbox.tools.mcp.protocol import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from signalbox.tools.mcp.serving import McpRefused, McpRequest, McpService, error_of

PREFIX = "/mcp/"
"""Where errors have JSON-RPC's shape, those before a route is reached too."""

_ERROR = ErrorBody(
    "application/json",
    "JsonRpcError",
    {
        "type": "object",
        "description": "An error as JSON-RPC has it; `error.data.code` is ours.",
        "required": ["jsonrpc", "id", "error"],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["string", "number", "boolean", "null"]},
            "error": {
                "type": "object",
                "required": ["code", "message", "data"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "data": {"type": "object"},
                },
            },
        },
    },
)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object", "required": ["jsonrpc", "id"]}}}},
    202: {"description": "A notification was read: it has no answer."},
}


class McpRoute(LateRoute):
    """A route whose errors are JSON-RPC's."""

    error_body = _ERROR

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors answered."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except SignalboxError as error:
                return rpc_error_response(error)

        return answered


def rpc_error_response(error: SignalboxError) -> Response:
    """The response to a request that failed before its id was known."""
    return _refused(error, None)


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["jsonrpc", "method"]}}},
    }
}

router = APIRouter(prefix="/mcp", tags=["mcp"], route_class=McpRoute)


@router.post("/{workflow_id}", response_class=Response, responses=_ANSWERS, openapi_extra=_BODY)
async def message(
    workflow_id: str, request: Request, principal: Annotated[Principal, Depends(Requires(Scope.TOOLS))]
) -> Response:
    """One message of an MCP client: the active release's tools, listed or called. Needs the scope ``tools``.

    Tools that a person has to confirm are not served; those that act for a session's user need the scope
    ``act_for_users`` and the user in ``_meta["signalbox/user_id"]``. The answer has JSON-RPC's shape, errors too.
    """
    if not principal.may_use(workflow_id):
        raise Forbidden("The credential is not for this workflow.")
    content = _parsed(request.headers.get("content-type", ""), await request.body())
    if "id" not in content:
        return Response(status_code=202)
    identifier = content["id"]
    try:
        method, params = content.get("method"), content.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict) or isinstance(identifier, dict | list):
            raise McpRefused(INVALID_REQUEST, "The body must be one JSON-RPC request or notification.")
        feed: ConfigFeed = request.app.state.config_feed
        service: McpService = request.app.state.mcp_service
        release = feed.release(principal.tenant, workflow_id)
        result = await service.answer(McpRequest(method, params, request.headers, principal, release))
    except SignalboxError as error:
        return _refused(error, identifier)
    return _json(200, {"jsonrpc": "2.0", "id": identifier, "result": result})


def _parsed(content_type: str, body: bytes) -> dict[str, Any]:
    # Asked for also because a page in a browser cannot send this type to another origin without asking first.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise McpRefused(INVALID_REQUEST, "Send JSON: the header Content-Type must be application/json.")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise McpRefused(PARSE_ERROR, "The body is no JSON.") from error
    if not isinstance(content, dict) or content.get("jsonrpc") != "2.0":
        raise McpRefused(INVALID_REQUEST, "The body must be one JSON-RPC request or notification.")
    return content


def _refused(error: SignalboxError, identifier: Any) -> Response:
    status = (
        404 if isinstance(error, McpRefused) and error.number == METHOD_NOT_FOUND else error.problem().status
    )
    return _json(status, {"jsonrpc": "2.0", "id": identifier, "error": error_of(error)}, error.headers)


def _json(status: int, content: Any, headers: Any = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")
