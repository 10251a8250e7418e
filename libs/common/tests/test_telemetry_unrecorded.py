"""Tracing without an exporter: ids as the SDK would give them, and nothing kept."""

import pytest
from opentelemetry import trace
from support.apps import RecordedTracing

from signalbox.common.telemetry import Tracing, current_trace_id, inject_traceparent
from signalbox.common.telemetry.tracing import extract_context

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def tracer():
    return Tracing().tracer("flows")


def ids(span):
    context = span.get_span_context()
    return context.trace_id, context.span_id


def test_a_request_without_a_trace_begins_one(tracer):
    with tracer.start_as_current_span("GET") as span:
        assert span.get_span_context().is_valid
        assert not span.is_recording()
        assert current_trace_id() == trace.format_trace_id(ids(span)[0])
    assert current_trace_id() is None


def test_spans_inside_belong_to_the_trace_with_ids_of_their_own(tracer):
    with tracer.start_as_current_span("outer") as outer:
        with tracer.start_as_current_span("inner") as inner:
            assert trace.get_current_span() is inner
        started = tracer.start_span("not current")
        assert trace.get_current_span() is outer
    assert len({ids(outer)[0], ids(inner)[0], ids(started)[0]}) == 1
    assert len({ids(outer)[1], ids(inner)[1], ids(started)[1]}) == 3


def test_two_requests_are_two_traces(tracer):
    assert ids(tracer.start_span("one"))[0] != ids(tracer.start_span("two"))[0]


def test_what_came_in_goes_on(tracer):
    context = extract_context({"traceparent": PARENT, "tracestate": "vendor=1"})
    span = tracer.start_span("GET", context=context)
    sent = {}
    inject_traceparent(sent, span)
    version, trace_id, span_id, flags = sent["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", PARENT.split("-")[1], "00")
    assert span_id == trace.format_span_id(ids(span)[1]) != PARENT.split("-")[2]
    assert sent["tracestate"] == "vendor=1"


def test_an_error_inside_passes_through(tracer):
    with pytest.raises(ValueError, match="inside"), tracer.start_as_current_span("work"):
        raise ValueError("inside")
    assert current_trace_id() is None


async def test_a_generator_may_hold_a_span(tracer):
    @tracer.start_as_current_span("decorated")
    async def work():
        return current_trace_id()

    assert await work() is not None


def test_with_an_exporter_spans_are_recorded():
    tracing = RecordedTracing()
    with tracing.tracer("flows").start_as_current_span("kept") as span:
        assert span.is_recording()
    [kept] = tracing.spans()
    assert (kept.name, kept.resource.attributes["service.name"]) == ("kept", "signalbox-flows")
