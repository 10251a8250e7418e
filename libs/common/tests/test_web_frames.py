"""Answers that are streams of frames."""

import asyncio

from fastapi import APIRouter
from support.apps import caller, service_app

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import NotFound
from signalbox.common.web import frame_response, work_frames
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.work import ErrorFrame, EventFrame, FlowResult, FlowResultFrame

RESULT = FlowResultFrame(result=FlowResult(status="completed", message="done"))


def text(delta):
    return TextEvent(data=TextData(delta=delta))


async def collect(work):
    return [frame async for ready in work_frames(work) for frame in ready]


async def test_events_come_before_the_result_and_as_they_happen():
    go_on = asyncio.Event()

    async def work(emit):
        emit(text("one"))
        emit(text("two"))
        await go_on.wait()
        emit(text("three"))
        return RESULT

    batches = work_frames(work)
    first = await anext(batches)
    assert [frame.event.data.delta for frame in first] == ["one", "two"]
    go_on.set()
    assert [frame async for ready in batches for frame in ready] == [EventFrame(event=text("three")), RESULT]


async def test_an_error_is_the_last_frame():
    async def work(emit):
        emit(text("one"))
        raise NotFound("There is no such flow.")

    *_, last = await collect(work)
    assert isinstance(last, ErrorFrame)
    assert (last.problem.code, last.problem.status) == ("not_found", 404)


async def test_a_bug_is_logged_and_says_nothing_of_itself(caplog):
    async def work(emit):
        raise KeyError("secret")

    [last] = await collect(work)
    assert last.problem.code == "internal_error"
    assert "secret" not in last.model_dump_json()
    assert caplog.records[0].exc_info is not None


async def test_the_deadline_of_the_request_ends_the_work():
    async def within():
        enter_request(RequestContext("r", Deadline.after(0.02)))

        async def work(emit):
            await asyncio.Event().wait()

        return await collect(work)

    [last] = await asyncio.create_task(within())
    assert last.problem.code == "deadline_exceeded"


async def test_a_timeout_of_the_works_own_is_not_called_the_callers():
    async def work(emit):
        raise TimeoutError

    [last] = await collect(work)
    assert last.problem.code == "internal_error"


async def test_work_that_is_cancelled_from_within_ends_the_stream():
    async def work(emit):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with asyncio.timeout(5):
        [last] = await collect(work)
    assert isinstance(last, ErrorFrame)


async def test_a_reader_that_leaves_stops_the_work_and_waits_for_its_clean_up():
    cleaned = []

    async def work(emit):
        emit(text("one"))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    batches = work_frames(work)
    await anext(batches)
    await batches.aclose()
    assert cleaned == [True]


async def test_frames_go_out_as_lines():
    router = APIRouter()

    @router.post("/run")
    async def run():
        async def work(emit):
            emit(text("a\nb"))
            return RESULT

        return frame_response(work)

    async with caller(service_app(router)) as http:
        answer = await http.post("/run")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.content.splitlines()
    assert len(lines) == 2
    assert EventFrame.model_validate_json(lines[0]).event == text("a\nb")
    assert FlowResultFrame.model_validate_json(lines[1]) == RESULT
