"""What happens around every request: ids, deadline, trace, metrics."""

import re

import pytest
from fastapi import APIRouter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families
from support.apps import RecordedTracing, caller, service_app

from signalbox.common.context import current_deadline, current_request
from signalbox.common.telemetry import current_trace_id

router = APIRouter()


@router.get("/about/{name}")
async def about(name: str) -> dict[str, object]:
    return {
        "request_id": current_request().request_id,
        "seconds": current_deadline().remaining(),
        "trace_id": current_trace_id(),
    }


@router.get("/broken")
async def broken() -> None:
    raise ValueError("bug")


async def get(path="/about/x", tracing=None, **headers):
    async with caller(service_app(router, tracing=tracing)) as http:
        return await http.get(
            path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


async def test_a_request_id_is_accepted_and_sent_back():
    answer = await get(x_request_id="client-1:a.b")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "client-1:a.b"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'inject"', "ü".encode()])
async def test_an_unusable_request_id_is_replaced(bad):
    answer = await get(x_request_id=bad)
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [
        ("5000", 4, 5),
        ("0", 0, 0),
        ("99999999999", 3599, 3600),
        (None, 29, 30),
    ],
)
async def test_the_callers_time_becomes_the_deadline(sent, low, high):
    answer = await (get() if sent is None else get(signalbox_timeout_ms=sent))
    assert answer.status_code == 200
    assert low <= answer.json()["seconds"] <= high


@pytest.mark.parametrize("sent", ["", "soon", "-5", "2.5", "²".encode("latin-1"), "9" * 5000])
async def test_a_time_that_is_none_is_refused(sent):
    answer = await get(signalbox_timeout_ms=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "Signalbox-Timeout-Ms is a whole number of milliseconds" in answer.json()["detail"]


async def test_a_trace_is_continued_and_its_span_names_the_route():
    tracing = RecordedTracing()
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    answer = await get(tracing=tracing, traceparent=f"00-{trace_id}-{parent}-01")
    assert answer.json()["trace_id"] == trace_id
    [span] = tracing.spans()
    assert (span.name, span.kind) == ("GET /about/{name}", SpanKind.SERVER)
    assert f"{span.parent.span_id:016x}" == parent
    assert span.attributes["http.route"] == "/about/{name}"
    assert span.attributes["http.response.status_code"] == 200
    assert span.resource.attributes["service.name"] == "signalbox-flows"


async def test_without_one_a_trace_begins():
    tracing = RecordedTracing()
    answer = await get(tracing=tracing)
    [span] = tracing.spans()
    assert f"{span.context.trace_id:032x}" == answer.json()["trace_id"]
    assert span.parent is None


async def test_a_bug_marks_the_span():
    tracing = RecordedTracing()
    await get("/broken", tracing=tracing)
    [span] = tracing.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_without_an_exporter_every_request_still_has_a_trace_id():
    assert re.fullmatch(r"[0-9a-f]{32}", (await get()).json()["trace_id"])


async def test_health_and_metrics_leave_no_spans():
    tracing = RecordedTracing()
    for path in ("/live", "/ready", "/metrics", "/openapi.json"):
        assert (await get(path, tracing=tracing)).status_code == 200
    assert list(tracing.spans()) == []


async def test_requests_are_counted_by_route_and_not_by_path_or_invented_methods():
    app = service_app(router)
    async with caller(app) as http:
        for number in range(3):
            await http.get(f"/about/{number}")
        await http.get("/nowhere/1")
        await http.get("/nowhere/2")
        await http.request("INVENTED", "/about/1")
        text = (await http.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["signalbox_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted == {
        ("GET", "/about/{name}", "200"): 3,
        ("GET", "unmatched", "404"): 2,
        ("OTHER", "/about/{name}", "405"): 1,
    }
