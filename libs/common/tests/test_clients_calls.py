"""Typed calls between services, over the in-process transport."""

import asyncio

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind
from support.apps import SERVICE_SECRET, RecordedTracing, service_app

from signalbox.common.auth import ServiceTokens
from signalbox.common.clients import AdminClient, FlowsClient, ServiceCallFailed, ToolsClient, WorkflowClient
from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import DeadlineExceeded, RateLimited
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AsgiServiceHop, HopTimeout
from signalbox.contracts.admin import BuildRequest, ChangesRequest, SnapshotRef
from signalbox.contracts.context import CallContext
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.work import FlowRunRequest, ToolCallReply, ToolCallRequest

ALICE = Principal(tenant="acme", subject="key:alice", scopes=frozenset({Scope.QUERY}))
CONTEXT = CallContext(
    tenant="acme",
    subject="key:alice",
    workflow_id="shop",
    config_hash="0" * 64,
    session_id="s",
    turn_id="turn_1",
    now_ms=0,
)
CALL = ToolCallRequest(context=CONTEXT, tool="track", arguments={"order": 7}, idempotency_key="turn_1/tool")


class Seen:
    """What a service was sent."""

    def __init__(self):
        self.headers = {}
        self.body = b""


def tools(answer, seen=None):
    """An app whose one route answers with ``answer``."""
    app = FastAPI()

    @app.post("/internal/v1/tools/call")
    async def call(request: Request) -> Response:
        if seen is not None:
            seen.headers, seen.body = dict(request.headers), await request.body()
        return answer if isinstance(answer, Response) else await answer()

    return app


def client(app, kind=ToolsClient, tracing=None):
    hop = AsgiServiceHop(app, service=kind.service)
    return kind(hop, ServiceTokens(SERVICE_SECRET, "workflow"), (tracing or Tracing()).tracer("workflow"))


def good():
    return Response(ToolCallReply(ok=True, output={"n": 1}, took_ms=2.0).model_dump_json())


async def failure(answer, kind=ToolsClient):
    with pytest.raises(ServiceCallFailed) as failed:
        await client(tools(answer)).call(CALL, ALICE)
    return failed.value


async def test_a_call_carries_body_identity_idempotency_key_and_trace():
    seen, tracing = Seen(), RecordedTracing()
    reply = await client(tools(good(), seen), tracing=tracing).call(CALL, ALICE)
    assert reply.output == {"n": 1}
    assert ToolCallRequest.model_validate_json(seen.body) == CALL
    token = seen.headers["authorization"].removeprefix("Bearer ")
    principal = ServiceTokens(SERVICE_SECRET, "tools").verify(token, "tools")
    assert (principal.tenant, principal.subject) == ("acme", "key:alice")
    assert Scope.SERVICE in principal.scopes
    assert seen.headers["idempotency-key"] == "turn_1/tool"
    assert seen.headers["content-type"] == "application/json"
    [span] = tracing.spans()
    assert span.kind is SpanKind.CLIENT
    version, trace_id, span_id, flags = seen.headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == (
        "00",
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    )
    assert int(flags, 16) & 1


async def test_request_id_and_remaining_time_of_the_request_being_served_are_passed_on():
    seen = Seen()

    async def served():
        enter_request(RequestContext("req-7", Deadline.after(4)))
        await client(tools(good(), seen)).call(CALL, ALICE)

    await asyncio.create_task(served())
    assert seen.headers["x-request-id"] == "req-7"
    assert 3000 < int(seen.headers["signalbox-timeout-ms"]) <= 4000


async def test_nothing_is_sent_after_the_deadline():
    seen = Seen()

    async def served():
        enter_request(RequestContext("req-7", Deadline.after(0)))
        await client(tools(good(), seen)).call(CALL, ALICE)

    with pytest.raises(DeadlineExceeded, match="tools"):
        await asyncio.create_task(served())
    assert seen.headers == {}


async def test_a_service_that_does_not_answer_in_time_is_cancelled():
    stopped = asyncio.Event()

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def served():
        enter_request(RequestContext("req-7", Deadline.after(0.05)))
        await client(tools(never)).call(CALL, ALICE)

    with pytest.raises(HopTimeout):
        await asyncio.create_task(served())
    assert stopped.is_set()


async def test_a_problem_is_passed_on_as_it_came():
    app = service_app(_limited(), name="tools")
    with pytest.raises(ServiceCallFailed) as failed:
        await client(app).call(CALL, ALICE)
    error = failed.value
    assert (error.service, error.upstream.status, error.upstream.code) == ("tools", 429, "rate_limited")
    assert error.headers == {"Retry-After": "3"}
    assert error.errors == [ProblemError(pointer="/order", code="rate_limited", detail="Slower.")]
    here = error.problem(instance="/api/v1/query", request_id="mine")
    assert (here.status, here.code, here.detail) == (429, "rate_limited", "Slower.")
    assert (here.instance, here.request_id) == ("/api/v1/query", "mine")


def _limited():
    router = APIRouter()

    @router.post("/internal/v1/tools/call")
    async def call() -> None:
        raise RateLimited("Slower.", pointer="/order", headers={"Retry-After": "3"})

    return router


@pytest.mark.parametrize(("status", "shown"), [(500, 502), (503, 502), (404, 404)])
async def test_an_error_without_a_problem_is_one_of_the_services(status, shown):
    error = await failure(Response("<html>oops</html>", status_code=status))
    assert (error.upstream.status, error.upstream.code) == (shown, "unexpected_answer")
    assert str(status) in error.detail


@pytest.mark.parametrize("body", ["", "not json", '{"ok": "perhaps"}', "[]"])
async def test_an_answer_of_another_shape_is_a_failure_and_not_a_crash(body):
    error = await failure(Response(body))
    assert (error.upstream.status, error.upstream.code) == (502, "unexpected_answer")
    assert "tools" in error.detail


async def test_fields_of_a_newer_service_are_ignored():
    reply = await client(tools(Response('{"ok": true, "took_ms": 1, "invented": {"x": 1}}'))).call(
        CALL, ALICE
    )
    assert reply.ok


async def test_admin_and_workflow_are_called_as_the_service_itself():
    seen = {}
    app = FastAPI()

    async def note(request: Request) -> Response:
        seen[request.url.path] = dict(request.headers)
        if request.url.path.endswith("changes"):
            return Response('{"revision": 4, "releases": [], "prepare": []}')
        if request.url.path.endswith("build"):
            return Response("{}")
        return Response(f'{{"config_hash": "{"0" * 64}", "tenant": "acme", "document": "{{}}"}}')

    app.add_route("/{path:path}", note, methods=["GET", "POST"])
    admin = client(app, AdminClient)
    assert (await admin.changes(ChangesRequest(service="flows", instance="i", after=0))).revision == 4
    assert (await admin.snapshot(SnapshotRef(tenant="acme", config_hash="0" * 64))).tenant == "acme"
    await client(app, WorkflowClient).build(BuildRequest(tenant="acme", config_hash="0" * 64, document="{}"))
    changes, snapshot, build = seen.values()
    assert list(seen)[1] == f"/internal/v1/admin/snapshots/acme/{'0' * 64}"
    for headers, audience in ((changes, "admin"), (snapshot, "admin"), (build, "workflow")):
        token = headers["authorization"].removeprefix("Bearer ")
        principal = ServiceTokens(SERVICE_SECRET, audience).verify(token, audience)
        assert principal.subject == "service:workflow"
    # A long poll waits longer than any request's default.
    assert int(changes["signalbox-timeout-ms"]) >= 20_000
    assert build["idempotency-key"] == "0" * 64


async def test_the_span_of_a_failed_call_says_so():
    tracing = RecordedTracing()
    app = service_app(_limited(), name="tools")
    with pytest.raises(ServiceCallFailed):
        await client(app, tracing=tracing).call(CALL, ALICE)
    [span] = tracing.spans()
    assert not span.status.is_ok


async def test_a_stream_that_is_refused_raises_before_the_first_frame():
    app = service_app(name="flows")
    run = client(app, FlowsClient).run(FlowRunRequest(context=CONTEXT, flow="f", message="m"), ALICE)
    with pytest.raises(ServiceCallFailed) as failed:
        await anext(run)
    assert failed.value.upstream.code == "not_found"


class Refusing:
    """Refuses the tokens of the first calls, as after a clock was set, and counts what comes."""

    def __init__(self, refusals):
        self.left, self.calls = refusals, 0

    async def __call__(self):
        self.calls += 1
        if self.left:
            self.left -= 1
            problem = {"title": "x", "status": 401, "code": "unauthenticated", "detail": "It has expired."}
            return JSONResponse(problem, 401)
        return Response(ToolCallReply(ok=True, output=7, took_ms=1, attempts=1).model_dump_json())


@pytest.mark.parametrize(("refusals", "calls"), [(1, 2), (2, 2)])
async def test_a_call_whose_token_is_refused_is_made_once_more(refusals, calls):
    answer = Refusing(refusals)
    caller = client(tools(answer))
    if refusals < calls:
        assert (await caller.call(CALL, ALICE)).ok
    else:
        with pytest.raises(ServiceCallFailed, match="expired"):
            await caller.call(CALL, ALICE)
    assert answer.calls == calls
