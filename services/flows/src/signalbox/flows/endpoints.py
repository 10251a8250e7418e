"""Internal HTTP of the Flows service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from signalbox.common.auth import Requires, check_context
from signalbox.common.web import frame_response
from signalbox.common.web.frames import FRAMES
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.work import FlowReading, FlowReadRequest, FlowRunRequest
from signalbox.flows.service import FlowRuns

router = APIRouter(prefix="/internal/v1/flows", tags=["flows"], route_class=LateRoute)


async def flow_runs(request: Request) -> FlowRuns:
    """The runs of this app."""
    runs: FlowRuns = request.app.state.flow_runs
    return runs


@router.post("/run", response_class=StreamingResponse, responses=FRAMES)
async def run(
    body: FlowRunRequest,
    principal: Annotated[Principal, Depends(Requires(Scope.SERVICE))],
    runs: Annotated[FlowRuns, Depends(flow_runs)],
) -> StreamingResponse:
    """Start a flow or go on with one: frames, one JSON object a line, the last a result or an error."""
    check_context(body.context, principal)
    return frame_response(await runs.prepare(body, principal))


@router.post("/read")
async def read(
    body: FlowReadRequest,
    principal: Annotated[Principal, Depends(Requires(Scope.SERVICE))],
    runs: Annotated[FlowRuns, Depends(flow_runs)],
) -> FlowReading:
    """Say what a message is to an open flow: an answer, a correction, the wish to stop, or something else."""
    check_context(body.context, principal)
    return await runs.read(body, principal)
