"""Lists, exports and erasure over HTTP."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import StreamingResponse

from signalbox.common.auth import Requires
from signalbox.common.errors import Forbidden
from signalbox.common.web.routes import LateRoute
from signalbox.contracts.base import EpochMs, ExternalId, Identifier
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.keeping import ErasedUser, SessionPage
from signalbox.workflow.endpoints import Asking, SessionPath, UserId, Views
from signalbox.workflow.keeping.erasing import Eraser
from signalbox.workflow.keeping.exporting import Exporter
from signalbox.workflow.keeping.listing import SessionFilter, SessionLists

router = APIRouter(prefix="/api/v1", tags=["sessions"], route_class=LateRoute)

Reader = Annotated[Principal, Depends(Requires(Scope.SESSIONS_READ))]
Deleter = Annotated[Principal, Depends(Requires(Scope.SESSIONS_DELETE))]
_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}}
}
UserPath = Annotated[ExternalId, Path(description="The user whose data is meant.")]


async def _lists(request: Request) -> SessionLists:
    lists: SessionLists = request.app.state.session_lists
    return lists


async def _exporter(request: Request) -> Exporter:
    exporter: Exporter = request.app.state.exporter
    return exporter


async def _eraser(request: Request) -> Eraser:
    eraser: Eraser = request.app.state.eraser
    return eraser


@router.get("/sessions")
async def list_sessions(
    principal: Reader,
    lists: Annotated[SessionLists, Depends(_lists)],
    user_id: Annotated[ExternalId | None, Query(description="Only of this user.")] = None,
    workflow_id: Annotated[Identifier | None, Query(description="Only of this workflow.")] = None,
    status: Annotated[
        Literal["active", "waiting", "transferred", "closed"] | None,
        Query(description="Only those that their last turn left so."),
    ] = None,
    since: Annotated[EpochMs, Query(description="Something was said then or later.")] = 0,
    until: Annotated[EpochMs | None, Query(description="Nothing was said later.")] = None,
    text: Annotated[
        str | None, Query(min_length=2, max_length=200, description="Said in a message, by either side.")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> SessionPage:
    """Sessions of the tenant, those first in which something was said last."""
    wanted = SessionFilter(user_id, workflow_id, status, since, 2**62 if until is None else until, text)
    return await lists.page(principal, wanted, cursor, limit)


@router.get("/session/{session_id}/export", response_class=StreamingResponse, responses=_DOCUMENT)
async def export_session(
    session_id: SessionPath,
    principal: Asking,
    views: Views,
    exporter: Annotated[Exporter, Depends(_exporter)],
    user_id: UserId = None,
) -> StreamingResponse:
    """Everything that is kept of a session, as one JSON document."""
    session = await views.visible(principal, session_id, user_id)
    return await _document(exporter.session(session), f"session-{session.created_at}")


@router.get("/users/{user_id}/export", response_class=StreamingResponse, responses=_DOCUMENT)
async def export_user(
    user_id: UserPath, principal: Reader, exporter: Annotated[Exporter, Depends(_exporter)]
) -> StreamingResponse:
    """Everything that is kept of a user, as one JSON document."""
    _check_whole_tenant(principal)
    return await _document(exporter.user(principal.tenant, user_id), "user")


@router.delete("/users/{user_id}")
async def erase_user(
    user_id: UserPath, principal: Deleter, eraser: Annotated[Eraser, Depends(_eraser)]
) -> ErasedUser:
    """Erase a user: every session, and whatever names the user elsewhere. What was paid stays, without a name."""
    _check_whole_tenant(principal)
    return await eraser.user(principal.tenant, user_id)


def _check_whole_tenant(principal: Principal) -> None:
    if principal.workflows is not None:
        raise Forbidden(
            "A user's data is of all workflows; use a key that may use all of them.",
        )


async def _document(chunks: AsyncGenerator[bytes, None], name: str) -> StreamingResponse:
    """The document, once its first bytes are there: what fails before them is answered as a problem."""
    first = await anext(chunks)

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    headers = {"Content-Disposition": f'attachment; filename="{name}.json"', "Cache-Control": "no-store"}
    return StreamingResponse(whole(), media_type="application/json", headers=headers)
