"""The public query API (docs/http-api.md) and the service's internal calls: HTTP in and out, nothing else."""

import re
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from signalbox.common.auth import PUBLIC, SYSTEM_TENANT, Requires, principal_of
from signalbox.common.context import Deadline, current_request
from signalbox.common.errors import Forbidden, Unauthenticated
from signalbox.common.telemetry import current_trace_id
from signalbox.common.web.routes import LateRoute
from signalbox.contracts import headers as names
from signalbox.contracts.admin import BuildReply, BuildRequest
from signalbox.contracts.base import ExternalId, SessionId
from signalbox.contracts.events import CompleteEvent
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.query import (
    Deleted,
    FeedbackRequest,
    QueryReply,
    QueryRequest,
    SessionView,
    TurnView,
    WorkflowHealth,
)
from signalbox.workflow.builders import Builders
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.queries import QueryService
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.sse import EVENT_STREAM, event_stream, frame, with_heartbeats
from signalbox.workflow.views import SessionViews

Asking = Annotated[Principal, Depends(Requires(Scope.QUERY))]
Sibling = Annotated[Principal, Depends(Requires(Scope.SERVICE))]
IdempotencyKeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
UserId = Annotated[ExternalId | None, Query(description="The user that the key acts for.")]
SessionPath = Annotated[SessionId, Path()]
TurnId = Annotated[ExternalId, Path()]


async def _queries(request: Request) -> QueryService:
    service: QueryService = request.app.state.queries
    return service


async def _events(request: Request) -> SharedEvents:
    events: SharedEvents = request.app.state.events
    return events


async def _views(request: Request) -> SessionViews:
    views: SessionViews = request.app.state.views
    return views


async def _settings(request: Request) -> WorkflowSettings:
    settings: WorkflowSettings = request.app.state.settings
    return settings


async def _builder(request: Request) -> Builders:
    builder: Builders = request.app.state.builder
    return builder


Queries = Annotated[QueryService, Depends(_queries)]
Events = Annotated[SharedEvents, Depends(_events)]
Views = Annotated[SessionViews, Depends(_views)]

_EVENT_ID = re.compile(r"[0-9]{1,15}")

public = APIRouter(prefix="/api/v1", tags=["query"], route_class=LateRoute)
internal = APIRouter(prefix="/internal/v1/workflow", tags=["internal"], route_class=LateRoute)


@public.post("/query")
async def query(
    body: QueryRequest, principal: Asking, queries: Queries, idempotency_key: IdempotencyKeyHeader = None
) -> QueryReply:
    """Answer a message. The turn is committed before the reply is sent."""
    return await queries.answer(principal, body, idempotency_key)


@public.post("/query/stream", response_class=StreamingResponse, responses=EVENT_STREAM)
async def query_stream(
    body: QueryRequest,
    request: Request,
    principal: Asking,
    queries: Queries,
    settings: Annotated[WorkflowSettings, Depends(_settings)],
    idempotency_key: IdempotencyKeyHeader = None,
) -> StreamingResponse:
    """Answer a message as server-sent events; everything before ``complete`` is provisional."""
    context = current_request()
    if context is not None and names.TIMEOUT_MS not in request.headers:
        context.deadline = Deadline.after(settings.stream_timeout_ms / 1000)
    started = await queries.stream(principal, body, idempotency_key)
    if isinstance(started, QueryReply):
        return event_stream(_stored(started))
    headers = {"Signalbox-Turn-Id": started.turn_id, "Signalbox-Trace-Id": current_trace_id() or ""}
    return event_stream(with_heartbeats(queries.follow(principal.tenant, started)), headers)


@public.get("/turn/{turn_id}")
async def get_turn(turn_id: TurnId, principal: Asking, views: Views, user_id: UserId = None) -> TurnView:
    """A turn as it stands: running, or committed with its reply."""
    return await views.turn(principal, turn_id, user_id)


@public.get("/turn/{turn_id}/events", response_class=StreamingResponse, responses={**EVENT_STREAM, 410: {}})
async def get_turn_events(
    turn_id: TurnId,
    principal: Asking,
    events: Events,
    views: Views,
    after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    user_id: UserId = None,
) -> StreamingResponse:
    """The rest of a turn's events, on any replica, for a short time after they were sent."""
    await views.turn(principal, turn_id, user_id)
    resumed_at = int(last_event_id) if last_event_id and _EVENT_ID.fullmatch(last_event_id) else 0
    position = after if after is not None else resumed_at
    await events.check_resumable(principal.tenant, turn_id, position)
    rest = events.resume(principal.tenant, turn_id, position)
    return event_stream(with_heartbeats(rest, position, events.ending))


@public.post("/turn/{turn_id}/cancel")
async def cancel_turn(turn_id: TurnId, principal: Asking, views: Views, user_id: UserId = None) -> TurnView:
    """Stop a turn that is running, down to the model call."""
    return await views.cancel(principal, turn_id, user_id)


@public.post("/turn/{turn_id}/feedback", status_code=204)
async def turn_feedback(
    turn_id: TurnId, body: FeedbackRequest, principal: Asking, views: Views, user_id: UserId = None
) -> Response:
    """Keep what the user thought of a turn."""
    await views.feedback(principal, turn_id, user_id, body)
    return Response(status_code=204)


@public.get("/session/{session_id}")
async def get_session(
    session_id: SessionPath,
    principal: Asking,
    views: Views,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    user_id: UserId = None,
) -> SessionView:
    """A session and a page of its messages, in order."""
    return await views.session(principal, session_id, user_id, after, limit)


@public.delete("/session/{session_id}")
async def delete_session(
    session_id: SessionPath, principal: Asking, views: Views, user_id: UserId = None
) -> Deleted:
    """Remove a session and its messages for good."""
    await views.delete(principal, session_id, user_id)
    return Deleted()


@public.get("/health", openapi_extra=PUBLIC, response_model_exclude_none=True)
async def health(request: Request, views: Views) -> WorkflowHealth:
    """Health; with a credential also the active config and the number of sessions."""
    try:
        principal = principal_of(request)
    except Unauthenticated:
        return await views.health(None)
    return await views.health(principal)


@internal.post("/build")
async def build(
    body: BuildRequest, principal: Sibling, builder: Annotated[Builders, Depends(_builder)]
) -> BuildReply:
    """Build what a snapshot needs before it is published."""
    if principal.tenant != SYSTEM_TENANT:
        raise Forbidden("Only Admin itself has snapshots built, not a service that acts for a tenant.")
    return await builder.build(body)


async def _stored(reply: QueryReply) -> AsyncGenerator[bytes, None]:
    yield frame(1, CompleteEvent(data=reply).model_dump_json(exclude_none=True).encode())
