"""Routes with a direct way: the usual request is answered by it, every other by FastAPI, and nobody can tell."""

import re

import pytest
from fastapi import APIRouter
from opentelemetry.trace import SpanKind
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ValidationError
from support.apps import RecordedTracing, caller, service_app

from signalbox.common.context import current_request
from signalbox.common.errors import Forbidden
from signalbox.common.telemetry import current_trace_id
from signalbox.common.web.direct import NotDirect
from signalbox.common.web.middleware import HEADERS


class Sum(BaseModel):
    a: int
    b: int


router = APIRouter()


@router.post("/sum")
async def by_route(body: Sum) -> dict[str, object]:
    return {"by": "route", "sum": body.a + body.b}


async def directly(scope, receive, send):
    if scope[HEADERS].get("x-way") == "route":
        raise NotDirect([])
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    try:
        body = Sum.model_validate_json(b"".join(message["body"] for message in messages))
    except ValidationError:
        raise NotDirect(messages) from None
    if body.a == body.b == 0:
        raise Forbidden("Nothing and nothing is nothing.")
    if body.a < 0:
        raise ValueError("bug")
    said = f"{body.a + body.b} {current_request().request_id} {current_trace_id()}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": said.encode()})


def app(tracing=None):
    made = service_app(router, tracing=tracing)
    made.add_way("POST", "/sum", directly)
    return made


async def post(made, **more):
    async with caller(made) as http:
        return await http.post("/sum", **more)


async def test_the_usual_request_takes_the_direct_way():
    answer = await post(app(), json={"a": 1, "b": 2}, headers={"x-request-id": "mine"})
    total, request_id, trace_id = answer.text.split()
    assert (answer.status_code, total, request_id) == (200, "3", "mine")
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id)
    assert answer.headers.get_list("x-request-id") == ["mine"]


async def test_a_carried_trace_goes_on_without_a_span():
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    carried = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await post(app(), json={"a": 1, "b": 2}, headers=carried)
    assert answer.text.split()[2] == trace_id


@pytest.mark.parametrize("body", [b'{"a": 1}', b"no json", b'{"a": 1, "b": "x"}', b""])
async def test_a_body_that_is_wrong_gets_the_routes_error(body):
    async def in_pieces():
        for piece in (body[:3], body[3:]):
            yield piece

    json = {"content-type": "application/json"}
    expected = await post(service_app(router), content=body, headers=json)
    for content in (body, in_pieces()):
        answer = await post(app(), content=content, headers=json)
        assert answer.status_code == expected.status_code == (400 if body == b"no json" else 422)
        given, wanted = answer.json(), expected.json()
        for problem in (given, wanted):
            assert problem.pop("request_id")
            assert problem.pop("trace_id")
        assert given == wanted


async def test_what_the_way_leaves_unread_the_route_reads():
    answer = await post(app(), json={"a": 1, "b": 2}, headers={"x-way": "route"})
    assert answer.json() == {"by": "route", "sum": 3}


async def test_another_method_of_the_path_is_the_routes():
    async with caller(app()) as http:
        answer = await http.get("/sum")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


async def test_errors_bugs_and_limits_are_answered_as_everywhere():
    refused = await post(app(), json={"a": 0, "b": 0})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Nothing and nothing is nothing.")
    assert refused.json()["instance"] == "/sum"
    broken = await post(app(), json={"a": -1, "b": 0})
    assert (broken.status_code, "bug" in broken.text) == (500, False)
    large = await post(app(), content=b"[" * 5_000)
    assert (large.status_code, large.json()["code"]) == (413, "payload_too_large")


async def test_both_ways_make_one_span_and_one_count_named_by_the_route():
    tracing = RecordedTracing()
    made = app(tracing)
    async with caller(made) as http:
        await http.post("/sum", json={"a": 1, "b": 2})
        await http.post("/sum", json={"a": 1, "b": 2}, headers={"x-way": "route"})
        text = (await http.get("/metrics")).text
    assert [(span.name, span.kind) for span in tracing.spans()] == [("POST /sum", SpanKind.SERVER)] * 2
    [counted] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "signalbox_http_requests_total" and sample.labels["route"] == "/sum"
    ]
    assert counted == 2


def test_a_way_needs_a_route():
    with pytest.raises(LookupError, match="/product"):
        service_app(router).add_way("POST", "/product", directly)
