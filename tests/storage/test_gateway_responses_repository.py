"""Responses of the gateway on both databases."""

import asyncio
import dataclasses

import orjson
import pytest

from signalbox.llm_gateway.responses.records import ResponseKey, StoredResponse, batch_of
from signalbox.llm_gateway.responses.repository import ResponseRepository

NOW = 1_728_043_200_000
LATER = NOW + 1000
ITEM = {
    "type": "message",
    "id": "msg_1",
    "role": "user",
    "content": [{"type": "input_text", "text": "hi\u0000"}],
}
STORED = StoredResponse(
    tenant="acme",
    response_id="resp_1",
    subject="key:1",
    status="queued",
    background=1,
    previous_response_id=None,
    input=orjson.dumps([ITEM]).decode(),
    response=orjson.dumps({"id": "resp_1", "status": "queued", "output": []}).decode(),
    owner="gateway-1",
    heartbeat_at=NOW,
    created_at=NOW,
    expires_at=NOW + 5000,
)
OVER = dataclasses.replace(STORED, status="completed", owner=None)
FIRST = batch_of(0, [{"type": "response.created"}, {"type": "response.queued"}])
NEXT = batch_of(2, [{"type": "response.in_progress"}])


@pytest.fixture(scope="session")
def database_service():
    return "llm_gateway"


@pytest.fixture
def repository(database):
    return ResponseRepository(database)


async def numbers(repository, after=-1):
    batches = await repository.events(STORED.key, after)
    return [number for batch in batches for number, _ in batch.after(after)]


async def test_a_response_comes_back_as_it_was_to_its_own_caller_only(repository):
    await repository.add(STORED, FIRST)
    assert await repository.find(STORED.key, NOW) == STORED
    assert (await repository.find(STORED.key, NOW)).items() == [ITEM]
    for key in (ResponseKey("rival", "key:1", "resp_1"), ResponseKey("acme", "key:2", "resp_1")):
        assert await repository.find(key, NOW) is None
        assert await repository.state(key, NOW) is None
        assert await repository.conversation(key, NOW, max_responses=9, max_size=9999) == []
        assert not await repository.cancel(key, NOW)
        assert not await repository.delete(key, NOW)
    assert await repository.find(STORED.key, NOW) == STORED
    assert await numbers(repository) == [0, 1]


async def test_a_response_that_is_there_stays_as_it_is(repository):
    await repository.add(OVER)
    await repository.add(dataclasses.replace(OVER, response="{}"))
    assert await repository.find(OVER.key, NOW) == OVER


async def test_the_owner_writes_the_log_and_the_end(repository):
    await repository.add(STORED, FIRST)
    assert await repository.progress(STORED, LATER, NEXT)
    assert await repository.state(STORED.key, LATER) == ("in_progress", False)
    assert await numbers(repository, after=0) == [1, 2]
    last = batch_of(3, [{"type": "response.completed"}])
    assert await repository.finish(STORED, LATER, "completed", '{"output": [1]}', last)
    found = await repository.find(STORED.key, LATER)
    assert (found.status, found.owner, found.body()) == (
        "completed",
        None,
        {"output": [1], "status": "completed"},
    )
    assert await numbers(repository) == [0, 1, 2, 3]
    assert not await repository.finish(STORED, LATER, "failed", "{}")
    assert not await repository.cancel(STORED.key, LATER)


async def test_of_owner_and_canceller_one_writes_the_end(repository):
    await repository.add(STORED, FIRST)
    last = batch_of(2, [{"type": "response.completed"}])
    finished, cancelled = await asyncio.gather(
        repository.finish(STORED, LATER, "completed", "{}", last), repository.cancel(STORED.key, LATER)
    )
    assert finished != cancelled
    status = "completed" if finished else "cancelled"
    assert await repository.state(STORED.key, LATER) == (status, True)
    assert await numbers(repository) == ([0, 1, 2] if finished else [0, 1])


async def test_what_was_cancelled_or_deleted_gets_no_more_events(repository):
    await repository.add(STORED, FIRST)
    assert await repository.owned("gateway-1") == {"resp_1"}
    assert await repository.cancel(STORED.key, LATER)
    assert await repository.owned("gateway-1") == set()
    assert not await repository.progress(STORED, LATER, NEXT)
    assert await numbers(repository) == [0, 1]
    assert await repository.delete(STORED.key, LATER)
    assert not await repository.progress(STORED, LATER, NEXT)
    assert await numbers(repository) == []
    assert not await repository.delete(STORED.key, LATER)


async def test_the_responses_of_a_silent_owner_are_ended_once(repository):
    await repository.add(STORED)
    await repository.add(dataclasses.replace(STORED, response_id="resp_2"))
    await repository.add(dataclasses.replace(OVER, response_id="resp_3"))
    await repository.heartbeat("gateway-1", ["resp_2"], LATER)
    assert await repository.stale(NOW - 1, 10) == []
    (silent,) = await repository.stale(NOW, 10)
    assert silent == STORED
    ended = await asyncio.gather(*(repository.abandon(silent, LATER, "{}") for _ in range(5)))
    assert ended.count(True) == 1
    assert await repository.state(STORED.key, LATER) == ("failed", True)
    assert await repository.stale(NOW, 10) == []


async def test_an_owner_that_is_heard_of_again_keeps_its_response(repository):
    await repository.add(STORED)
    (silent,) = await repository.stale(NOW, 10)
    await repository.heartbeat("gateway-1", ["resp_1"], LATER)
    assert not await repository.abandon(silent, LATER, "{}")
    assert await repository.state(STORED.key, LATER) == ("queued", False)


async def test_a_conversation_is_its_responses_oldest_first(repository):
    for number in range(1, 6):
        previous = None if number == 1 else f"resp_{number - 1}"
        await repository.add(
            dataclasses.replace(OVER, response_id=f"resp_{number}", previous_response_id=previous)
        )
    key = ResponseKey("acme", "key:1", "resp_4")

    async def found(max_responses=99, max_size=9999, now=NOW):
        chain = await repository.conversation(key, now, max_responses=max_responses, max_size=max_size)
        return [stored.response_id for stored in chain]

    assert await found() == ["resp_1", "resp_2", "resp_3", "resp_4"]
    assert await found(max_responses=2) == ["resp_3", "resp_4"]
    assert await found(max_size=1) == ["resp_4"]
    await repository.delete(ResponseKey("acme", "key:1", "resp_2"), NOW)
    assert await found() == ["resp_3", "resp_4"]
    assert await found(now=OVER.expires_at) == []


async def test_another_callers_response_is_part_of_no_conversation(repository):
    await repository.add(dataclasses.replace(OVER, subject="key:2"))
    await repository.add(dataclasses.replace(OVER, response_id="resp_2", previous_response_id="resp_1"))
    key = ResponseKey("acme", "key:1", "resp_2")
    chain = await repository.conversation(key, NOW, max_responses=9, max_size=9999)
    assert [stored.response_id for stored in chain] == ["resp_2"]


async def test_what_has_expired_is_not_there_and_is_deleted_in_batches(repository):
    for number in range(5):
        await repository.add(dataclasses.replace(OVER, response_id=f"resp_{number}"), FIRST)
    young = dataclasses.replace(OVER, response_id="young", expires_at=NOW + 5001)
    await repository.add(young, FIRST)
    then = NOW + 5000
    assert await repository.find(OVER.key, then) is None
    assert await repository.state(OVER.key, then) is None
    assert not await repository.delete(OVER.key, then)
    assert [await repository.expire(then, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await numbers(repository) == []
    assert await repository.find(young.key, then) == young
    assert await repository.events(young.key, -1) == [FIRST]
