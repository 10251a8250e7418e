"""Streams of frames, however they are cut into chunks."""

import asyncio

import pytest
from support.apps import SERVICE_SECRET

from signalbox.common.auth import ServiceTokens
from signalbox.common.clients import FlowsClient, ServiceCallFailed, SkillsClient
from signalbox.common.clients.frames import frame_line
from signalbox.common.telemetry import Tracing
from signalbox.common.transport import AsgiServiceHop, HopProtocolError
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.problem import Problem
from signalbox.contracts.work import (
    ErrorFrame,
    EventFrame,
    FlowResult,
    FlowResultFrame,
    FlowRunRequest,
    SkillRunRequest,
)

ALICE = Principal(tenant="acme", subject="key:alice")
CONTEXT = CallContext(
    tenant="acme",
    subject="key:alice",
    workflow_id="shop",
    config_hash="0" * 64,
    session_id="s",
    turn_id="turn_1",
    now_ms=0,
)
FRAMES = [
    EventFrame(event=TextEvent(data=TextData(delta="订单\n在途 🚚"))),
    EventFrame(event=TextEvent(data=TextData(delta="x" * 300))),
    FlowResultFrame(result=FlowResult(status="completed", message="done")),
]
BYTES = b"".join(frame_line(frame) for frame in FRAMES)


class Service:
    """An ASGI app that streams chunks; ``None`` among them waits for its caller to leave."""

    def __init__(self, chunks, end=True):
        self.chunks = chunks
        self.end = end
        self.headers = {}
        self.cancelled = False

    async def __call__(self, scope, receive, send):
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in self.chunks:
            if chunk is None:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancelled = True
                    raise
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if self.end:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def flows(service):
    hop = AsgiServiceHop(service, service="flows")
    made = FlowsClient(hop, ServiceTokens(SERVICE_SECRET, "workflow"), Tracing().tracer("workflow"))
    return made.run(FlowRunRequest(context=CONTEXT, flow="f", message="m"), ALICE)


async def frames_of(*chunks):
    return [frame async for frame in flows(Service(chunks))]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
async def test_frames_come_whole_however_they_are_cut(size):
    chunks = [BYTES[start : start + size] for start in range(0, len(BYTES), size)]
    assert await frames_of(*chunks) == FRAMES


async def test_all_frames_in_one_chunk_empty_lines_and_a_missing_last_line_end():
    assert await frames_of(BYTES) == FRAMES
    assert await frames_of(b"\n\r\n" + BYTES.replace(b"\n{", b"\r\n\n{").rstrip(b"\n")) == FRAMES


async def test_a_frame_is_read_before_the_stream_ends():
    service = Service([frame_line(FRAMES[0]), None])
    run = flows(service)
    async with asyncio.timeout(5):
        assert await anext(run) == FRAMES[0]
        await run.aclose()
    assert service.cancelled


async def test_an_error_in_the_stream_is_a_frame():
    last = ErrorFrame(problem=Problem(title="No", status=404, code="not_found", detail="No such flow."))
    assert await frames_of(frame_line(FRAMES[0]), frame_line(last)) == [FRAMES[0], last]


@pytest.mark.parametrize("line", [b"not json\n", b'{"frame": "invented"}\n', b'{"frame": "event"}\n', b"1\n"])
async def test_a_line_that_is_no_frame_is_a_failure_of_the_service(line):
    run = flows(Service([frame_line(FRAMES[0]), line]))
    assert await anext(run) == FRAMES[0]
    with pytest.raises(ServiceCallFailed) as failed:
        await anext(run)
    assert failed.value.upstream.code == "unexpected_answer"
    assert failed.value.service == "flows"


async def test_a_stream_that_breaks_off_is_not_a_whole_one():
    run = flows(Service([frame_line(FRAMES[0])], end=False))
    assert await anext(run) == FRAMES[0]
    with pytest.raises(HopProtocolError):
        await anext(run)


async def test_runs_carry_their_own_idempotency_key():
    service = Service([BYTES])
    assert len([frame async for frame in flows(service)]) == 3
    assert service.headers["idempotency-key"] == "turn_1/flow"
    hop = AsgiServiceHop(service, service="skills")
    skills = SkillsClient(hop, ServiceTokens(SERVICE_SECRET, "workflow"), Tracing().tracer("workflow"))
    request = SkillRunRequest(context=CONTEXT, skill="s", run_id="turn_1/s", message="m")
    assert len([frame async for frame in skills.run(request, ALICE)]) == 3
    assert service.headers["idempotency-key"] == "turn_1/s"
