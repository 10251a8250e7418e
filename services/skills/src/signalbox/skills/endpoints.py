"""Internal HTTP of the Skills service."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from signalbox.common.auth import Requires, check_context
from signalbox.common.web import frame_response
from signalbox.common.web.frames import FRAMES
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.contracts.work import SkillRunRequest
from signalbox.skills.keeping import KeptRuns
from signalbox.skills.service import SkillRuns

router = APIRouter(prefix="/internal/v1/skills", tags=["skills"], route_class=LateRoute)

Sibling = Annotated[Principal, Depends(Requires(Scope.SERVICE))]


async def skill_runs(request: Request) -> SkillRuns:
    """The runs of this app."""
    runs: SkillRuns = request.app.state.skill_runs
    return runs


async def kept_runs(request: Request) -> KeptRuns:
    """What is kept of the runs of this app."""
    kept: KeptRuns = request.app.state.kept_runs
    return kept


@router.post("/run", response_class=StreamingResponse, responses=FRAMES)
async def run(
    body: SkillRunRequest,
    principal: Sibling,
    runs: Annotated[SkillRuns, Depends(skill_runs)],
) -> StreamingResponse:
    """Run a skill: frames, one JSON object a line, the last a result or an error.

    The id of a run that has ended gives its result again.
    """
    check_context(body.context, principal)
    return frame_response(await runs.prepare(body, principal))


@router.post("/forget")
async def forget(
    body: OfSessions, principal: Sibling, kept: Annotated[KeptRuns, Depends(kept_runs)]
) -> Forgotten:
    """Remove the runs of sessions."""
    return await kept.forget(principal.tenant, body)


@router.post("/kept")
async def read_kept(
    body: KeptDataRequest, principal: Sibling, kept: Annotated[KeptRuns, Depends(kept_runs)]
) -> KeptData:
    """The runs of sessions with what they did, a page of them."""
    return await kept.page(principal.tenant, body)
