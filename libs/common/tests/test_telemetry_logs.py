"""JSON logs."""

import asyncio
import json
import logging

import pytest
from opentelemetry import trace
from support.apps import RecordedTracing

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.telemetry.logs import JsonFormatter


@pytest.fixture
def lines():
    """A logger, and the lines that it has written."""
    written = []

    class Collect(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler = Collect()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("under.test")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger, written
    logger.handlers[:] = []
    logger.propagate = True


def test_a_line_is_one_json_object_with_what_was_given_as_extra(lines):
    logger, written = lines
    logger.warning("order %s\nis late", 7, extra={"code": "late", "order": {"id": 7}, "where": object})
    [line] = written
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "warning",
        "logger": "under.test",
        "message": "order 7\nis late",
        "code": "late",
        "order": {"id": 7},
        "where": "<class 'object'>",
    }


async def test_a_line_names_the_request_and_the_trace_that_it_belongs_to(lines):
    logger, written = lines

    async def serve():
        enter_request(RequestContext("req-1", Deadline.after(1)))
        with RecordedTracing().tracer("flows").start_as_current_span("work") as span:
            logger.info("in it")
            return trace.format_trace_id(span.get_span_context().trace_id)

    trace_id = await asyncio.create_task(serve())
    logger.info("outside")
    inside, outside = map(json.loads, written)
    assert (inside["request_id"], inside["trace_id"]) == ("req-1", trace_id)
    assert "request_id" not in outside
    assert "trace_id" not in outside


def test_an_exception_is_in_its_line(lines):
    logger, written = lines
    try:
        int("broken")
    except ValueError:
        logger.exception("failed")
    entry = json.loads(written[0])
    assert entry["level"] == "error"
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("'broken'")


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: 2}, b"\xff", float("nan")])
def test_what_is_hard_to_write_is_written_all_the_same(lines, value):
    logger, written = lines
    logger.info("hard", extra={"value": value})
    assert json.loads(written[0])["message"] == "hard"
