"""A client that leaves: its work stops where somebody waits for it, and only there."""

import asyncio

import pytest
from fastapi import APIRouter
from starlette.responses import StreamingResponse
from support.apps import service_app

DEADLINE_S = 5


class Visit:
    """One request over a hand-made server connection, whose client leaves when it is told to."""

    def __init__(self, path, body=b"{}", client=("10.0.0.1", 5)):
        self.left = asyncio.Event()
        self.sent = []
        self._body = [
            {"type": "http.request", "body": body[:1], "more_body": True},
            {"type": "http.request", "body": body[1:], "more_body": False},
        ]
        self.scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "scheme": "http", "headers": [(b"content-type", b"application/json")], "client": client,
            "server": ("service", 80),
        }  # fmt: skip

    async def receive(self):
        if self._body:
            return self._body.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


class Work:
    """An endpoint's work, which waits until it is released or cancelled."""

    def __init__(self):
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.outcome = None

    async def do(self):
        self.began.set()
        try:
            await self.release.wait()
            self.outcome = "done"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def app(work):
    router = APIRouter()

    async def waits(body: dict[str, int]) -> str:
        await work.do()
        return "ok"

    async def streams(body: dict[str, int]) -> StreamingResponse:
        async def chunks():
            yield b"first"
            await work.do()
            yield b"last"

        return StreamingResponse(chunks())

    for path in ("/internal/v1/flows/waits", "/llm/v1/waits", "/api/v1/waits"):
        router.post(path)(waits)
    router.post("/internal/v1/flows/streams")(streams)
    return service_app(router)


async def begin(app, visit, work):
    task = asyncio.create_task(app(visit.scope, visit.receive, visit.send))
    async with asyncio.timeout(DEADLINE_S):
        await work.began.wait()
    return task


@pytest.mark.parametrize("path", ["/internal/v1/flows/waits", "/llm/v1/waits", "/internal/v1/flows/streams"])
async def test_work_for_a_caller_that_left_is_cancelled(app, work, path):
    visit = Visit(path)
    task = await begin(app, visit, work)
    visit.left.set()
    async with asyncio.timeout(DEADLINE_S):
        await task
    assert work.outcome == "cancelled"
    assert not task.cancelling()
    statuses = [message["status"] for message in visit.sent if message["type"] == "http.response.start"]
    assert statuses == ([200] if path.endswith("streams") else [])


async def test_a_query_goes_on_without_its_client(app, work):
    visit = Visit("/api/v1/waits")
    task = await begin(app, visit, work)
    visit.left.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.outcome is None
    work.release.set()
    async with asyncio.timeout(DEADLINE_S):
        await task
    assert work.outcome == "done"


async def test_a_caller_in_the_same_process_is_not_watched(app, work):
    visit = Visit("/internal/v1/flows/waits", client=None)
    task = await begin(app, visit, work)
    visit.left.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.outcome is None
    work.release.set()
    await task


async def test_a_caller_that_stays_gets_its_answer_and_nothing_is_left_running(app, work):
    visit = Visit("/internal/v1/flows/waits")
    before = asyncio.all_tasks()
    task = await begin(app, visit, work)
    work.release.set()
    async with asyncio.timeout(DEADLINE_S):
        await task
    assert visit.sent[0]["status"] == 200
    assert visit.sent[-1]["body"] == b'"ok"'
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_server_that_cancels_the_request_itself_is_not_ignored(app, work):
    task = await begin(app, Visit("/internal/v1/flows/waits"), work)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.outcome == "cancelled"
