"""Runs that wait for an operator over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from signalbox.common.auth import Requires
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.base import ExternalId
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.pauses import (
    DecisionRequest,
    PausedRunList,
    PausedRunStatus,
    PausedRunView,
    PauseReason,
)
from signalbox.workflow.pauses.service import PausedRuns

router = APIRouter(prefix="/api/v1", tags=["approvals"], route_class=LateRoute)

Approving = Annotated[Principal, Depends(Requires(Scope.APPROVALS))]
PauseId = Annotated[ExternalId, Path()]


async def _paused_runs(request: Request) -> PausedRuns:
    service: PausedRuns = request.app.state.paused_runs
    return service


Runs = Annotated[PausedRuns, Depends(_paused_runs)]


@router.get("/paused-runs")
async def list_paused_runs(
    principal: Approving,
    runs: Runs,
    status: Annotated[PausedRunStatus | None, Query(description="`waiting` for those to decide on.")] = None,
    reason: Annotated[PauseReason | None, Query(description="What they wait for.")] = None,
    before: Annotated[ExternalId | None, Query(description="The id that ended the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> PausedRunList:
    """Runs of the tenant that wait for an operator, or waited, newest first."""
    return await runs.page(principal, status, reason, before, limit)


@router.get("/paused-runs/{pause_id}")
async def get_paused_run(pause_id: PauseId, principal: Approving, runs: Runs) -> PausedRunView:
    """A run that waits or waited, with who decided what and when, and the turn that tells what came of it."""
    return await runs.one(principal, pause_id)


@router.post("/paused-runs/{pause_id}/decision")
async def decide(pause_id: PauseId, body: DecisionRequest, principal: Approving, runs: Runs) -> PausedRunView:
    """Decide on a run that waits; it goes on at once, in a task. A second decision is refused with 409."""
    return await runs.decide(principal, pause_id, body)
