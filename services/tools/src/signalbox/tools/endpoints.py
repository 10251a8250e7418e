"""Internal HTTP of the Tools service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from signalbox.common.auth import Requires, check_context
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.tools.service import ToolCalls

router = APIRouter(prefix="/internal/v1/tools", tags=["tools"], route_class=LateRoute)


async def tool_calls(request: Request) -> ToolCalls:
    """The calls of this app."""
    calls: ToolCalls = request.app.state.tool_calls
    return calls


@router.post("/call", response_model=ToolCallReply)
async def call(
    body: ToolCallRequest,
    principal: Annotated[Principal, Depends(Requires(Scope.SERVICE))],
    calls: Annotated[ToolCalls, Depends(tool_calls)],
) -> Response:
    """Call one tool of the workflow. A tool that failed is a reply with ``ok`` false, not an HTTP error."""
    check_context(body.context, principal)
    reply = await calls.call(body)
    return Response(reply.model_dump_json(), media_type="application/json")
