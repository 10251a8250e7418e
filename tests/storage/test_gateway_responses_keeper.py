"""Who ends a response, and when, on both databases and a clock of the test's."""

import asyncio
from contextlib import AsyncExitStack

import orjson
import pytest
from support.async_waiting import until

from signalbox.common.storage import StatementFailed
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.answers import StreamedAnswer
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.errors import BackgroundFull
from signalbox.llm_gateway.records import Labels
from signalbox.llm_gateway.responses.background import BackgroundResponses
from signalbox.llm_gateway.responses.keeper import SILENT_S, ResponseKeeper
from signalbox.llm_gateway.responses.keeping import KeptResponses
from signalbox.llm_gateway.responses.repository import ResponseRepository
from signalbox.llm_gateway.responses.request import ResponsesRequest

CALLER = Caller(
    Principal(tenant="acme", subject="key:1"), Labels(workflow_id=None, session_id=None, skill_id=None)
)
REQUEST = ResponsesRequest.parse(orjson.dumps({"model": "m", "input": "hi", "background": True}))


class Hanging:
    """A model that never answers; it knows how often it was left."""

    def __init__(self):
        self.left = 0

    async def ask(self, request, context, caller, *, stream):
        try:
            await asyncio.Event().wait()
        finally:
            self.left += 1


class Answering:
    """A model that says ``hello`` at once."""

    async def ask(self, request, context, caller, *, stream):
        async def chunks():
            choice = {"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}
            yield b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\ndata: [DONE]\n\n"

        return StreamedAnswer(chunks(), {}, Account(), AsyncExitStack())


class Account:
    """Of a call that nobody pays."""

    def abort(self):
        pass


class SlowRepository(ResponseRepository):
    """Does not write events before it may."""

    def __init__(self, database):
        super().__init__(database)
        self.writing = asyncio.Event()
        self.may_write = asyncio.Event()

    async def progress(self, stored, now, batch):
        self.writing.set()
        await self.may_write.wait()
        return await super().progress(stored, now, batch)


class Gate(Answering):
    """A model that answers when the first events are being written."""

    def __init__(self, repository):
        self._repository = repository
        self.answered = asyncio.Event()

    async def ask(self, request, context, caller, *, stream):
        await self._repository.writing.wait()
        self.answered.set()
        return await super().ask(request, context, caller, stream=stream)


class Replica:
    """What a process has of responses."""

    def __init__(self, database, owner, clock, *, alone=False, model=None, repository=None):
        self.repository = repository or ResponseRepository(database)
        self.model = model or Hanging()
        kept = KeptResponses(self.repository, kept_days=1, max_size=9999, clock=clock)
        self.background = BackgroundResponses(owner, self.repository, kept, self.model, at_most=9, grace_s=0)
        self.keeper = ResponseKeeper(self.repository, self.background, clock, alone=alone)

    async def status(self, stored, now):
        return (await self.repository.state(stored.key, now))[0]


@pytest.fixture(scope="session")
def database_service():
    return "llm_gateway"


class Clock:
    """Milliseconds; it stands still until it is set."""

    def __init__(self):
        self.now = 1_728_043_200_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr("signalbox.llm_gateway.responses.background.now_ms", found)
    return found


@pytest.fixture
async def replicas(database, clock):
    found = [Replica(database, owner, clock) for owner in ("one", "two")]
    yield found
    for replica in found:
        await replica.background.stop()


async def started(replica):
    """A response that a replica has begun to work on."""
    stored = await replica.background.start(REQUEST, [], CALLER)
    changed = replica.background.changed(stored.key)
    async with asyncio.timeout(10):
        await changed.wait()
    return stored


async def test_an_owner_that_is_heard_of_keeps_its_response_and_a_silent_one_loses_it(replicas, clock):
    one, two = replicas
    stored = await started(one)
    for _ in range(3):
        clock.now += int(SILENT_S * 1000) - 1
        await two.keeper.fail_silent()
        assert await two.status(stored, clock.now) == "in_progress"
        await one.keeper.heartbeat()
    clock.now += int(SILENT_S * 1000)
    await two.keeper.fail_silent()
    assert await two.status(stored, clock.now) == "failed"
    assert one.model.left == 0
    await one.keeper.drop_lost()
    await until(lambda: one.model.left == 1)
    assert one.background.running() == set()


async def test_a_process_that_is_alone_ends_at_once_what_another_left(replicas, database, clock):
    one, _ = replicas
    stored = await started(one)
    successor = Replica(database, "three", clock, alone=True)
    await successor.keeper.fail_silent()
    found = await successor.repository.find(stored.key, clock.now)
    assert found.body()["error"]["code"] == "response_interrupted"
    mine = await started(successor)
    await successor.keeper.fail_silent()
    assert await successor.status(mine, clock.now) == "in_progress"
    await successor.background.stop()


async def test_what_is_its_own_is_not_dropped(replicas, clock):
    one, two = replicas
    stored = await started(one)
    for replica in replicas:
        await replica.keeper.drop_lost()
    for _ in range(3):  # what was cancelled would have ended by then
        assert await two.status(stored, clock.now) == "in_progress"
    assert one.model.left == 0
    assert len(one.background.running()) == 1
    assert two.background.running() == set()


async def test_an_answer_that_is_whole_before_the_log_is_written_loses_no_event(database, clock):
    repository = SlowRepository(database)
    model = Gate(repository)
    replica = Replica(database, "one", clock, model=model, repository=repository)
    stored = await replica.background.start(REQUEST, [], CALLER)
    async with asyncio.timeout(10):
        await model.answered.wait()
    for _ in range(3):
        assert await replica.status(stored, clock.now) == "queued"
    repository.may_write.set()
    await until(lambda: not replica.background.running())
    found = await repository.find(stored.key, clock.now)
    assert (found.status, found.body()["output"][0]["content"][0]["text"]) == ("completed", "hello")
    log = [event for batch in await repository.events(stored.key, -1) for event in batch.after(-1)]
    assert [number for number, _ in log] == list(range(len(log)))
    assert orjson.loads(log[2][1])["type"] == "response.in_progress"
    assert orjson.loads(log[-1][1])["type"] == "response.completed"


async def test_a_process_takes_no_more_responses_than_it_may_also_at_once(replicas):
    one, _ = replicas
    started = await asyncio.gather(
        *(one.background.start(REQUEST, [], CALLER) for _ in range(12)), return_exceptions=True
    )
    assert [type(found) for found in started].count(BackgroundFull) == 3
    assert len(one.background.running()) == 9


class BrokenRepository(ResponseRepository):
    """Cannot write an end, by a defect."""

    async def finish(self, stored, now, status, response, batch=None):
        raise StatementFailed("'a secret that was said'")


async def test_a_response_whose_end_cannot_be_written_goes_stale_and_is_not_quoted(database, clock, caplog):
    repository = BrokenRepository(database)
    replica = Replica(database, "one", clock, model=Answering(), repository=repository)
    stored = await replica.background.start(REQUEST, [], CALLER)
    await until(lambda: not replica.background.running())
    assert "could not be written: StatementFailed" in caplog.text
    assert "secret" not in caplog.text
    assert await replica.status(stored, clock.now) in {"queued", "in_progress"}
    clock.now += int(SILENT_S * 1000)
    await replica.keeper.heartbeat()
    await Replica(database, "two", clock).keeper.fail_silent()
    assert await replica.status(stored, clock.now) == "failed"


async def test_a_process_that_stops_writes_the_end_of_what_it_leaves(replicas, clock):
    one, two = replicas
    stored = await started(one)
    await one.background.stop()
    assert one.model.left == 1
    found = await two.repository.find(stored.key, clock.now)
    assert (found.status, found.owner) == ("failed", None)
    log = [event for batch in await two.repository.events(stored.key, -1) for _, event in batch.after(-1)]
    kinds = [orjson.loads(event)["type"] for event in log]
    assert kinds == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "error",
        "response.failed",
    ]
