"""Tasks and the outbox of the Workflow service, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from support.workflow_records import KEY, NOW, message, rows, task

from signalbox.common.storage import DuplicateKey
from signalbox.workflow.background_repository import SqlOutboxStore, SqlTaskStore, insert_outbox
from signalbox.workflow.records import IdempotencyRecord
from signalbox.workflow.repository import SqlIdempotencyStore


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def keys(database):
    return SqlIdempotencyStore(database)


@pytest.fixture
def tasks(database):
    return SqlTaskStore(database)


@pytest.fixture
def outbox(database):
    return SqlOutboxStore(database)


async def test_a_task_comes_back_as_it_was_with_the_answer_to_its_request(tasks, keys):
    stored = task(webhook='{"url": "http://x"}')
    await tasks.add(stored, IdempotencyRecord(KEY, "h", "task1", '{"task_id": "task1"}', NOW))
    assert await tasks.task("acme", "task1") == stored
    assert await tasks.task("rival", "task1") is None
    assert (await keys.find(KEY)).reply == '{"task_id": "task1"}'
    with pytest.raises(DuplicateKey):
        await tasks.add(task(2), IdempotencyRecord(KEY, "h", "task2", None, NOW))
    assert await tasks.task("acme", "task2") is None


async def test_one_of_many_workers_gets_a_task(tasks):
    await tasks.add(task())
    claims = await asyncio.gather(*(tasks.claim("acme", "task1", f"w{n}", NOW, NOW - 9) for n in range(10)))
    [claimed] = [claim for claim in claims if claim is not None]
    assert (claimed.status, claimed.attempt, claimed.heartbeat_at) == ("running", 1, NOW)
    assert await tasks.claim("rival", "task1", "w", NOW, NOW + 99) is None
    assert await tasks.claim("acme", "task9", "w", NOW, NOW) is None


async def test_a_task_whose_worker_fell_silent_is_taken_over_and_finished_once(tasks, database):
    await tasks.add(task())
    first = await tasks.claim("acme", "task1", "w1", NOW, NOW - 9)
    assert await tasks.heartbeat(first, NOW + 50)
    assert await tasks.claim("acme", "task1", "w2", NOW + 60, NOW + 50) is None
    assert await tasks.due(NOW + 60, NOW + 50, 10) == []
    assert [found.task_id for found in await tasks.due(NOW + 60, NOW + 51, 10)] == ["task1"]
    second = await tasks.claim("acme", "task1", "w2", NOW + 60, NOW + 51)
    assert (second.attempt, second.owner) == (2, "w2")
    assert not await tasks.heartbeat(first, NOW + 70)
    assert not await tasks.finish(first, "success", "late", NOW + 70, [message(1)])
    assert await tasks.finish(second, "success", "result", NOW + 80, [message(2)])
    assert not await tasks.finish(second, "failed", "again", NOW + 90, [message(3)])
    done = await tasks.task("acme", "task1")
    assert (done.status, done.result, done.finished_at) == ("success", "result", NOW + 80)
    assert [row["message_id"] for row in await rows(database, "outbox")] == ["m2"]
    assert await tasks.claim("acme", "task1", "w3", NOW + 99, NOW + 99) is None


async def test_due_tasks_come_oldest_first_and_only_when_due(tasks):
    for number, due_at in ((1, NOW + 20), (2, NOW + 10), (3, NOW + 30), (4, NOW + 99)):
        await tasks.add(task(number, due_at=due_at))
    assert [found.task_id for found in await tasks.due(NOW + 30, NOW, 10)] == ["task2", "task1", "task3"]
    assert [found.task_id for found in await tasks.due(NOW + 30, NOW, 1)] == ["task2"]


async def store(database, *messages):
    await database.write(*(insert_outbox(entry) for entry in messages))


async def test_due_messages_are_each_taken_by_one(database, outbox):
    await store(database, *(message(number) for number in range(60)), message(99, due_at=NOW + 1))
    taken = await asyncio.gather(*(outbox.take_due(NOW, NOW + 500, 7) for _ in range(12)))
    ids = [entry.message_id for batch in taken for entry in batch]
    assert all(len(batch) <= 7 for batch in taken)
    assert len(ids) == len(set(ids)) == 60
    entry = taken[0][0]
    assert (entry.status, entry.attempt, entry.due_at) == ("sending", 1, NOW + 500)
    assert await outbox.take_due(NOW + 499, NOW + 900, 100) == [
        replace(message(99, due_at=NOW + 900), status="sending", attempt=1)
    ]


async def test_the_oldest_messages_are_taken_first(database, outbox):
    await store(database, *(message(number, due_at=NOW - number) for number in range(10)))
    taken = await outbox.take_due(NOW, NOW + 1, 3)
    assert {entry.message_id for entry in taken} == {"m9", "m8", "m7"}


async def test_a_message_comes_back_unless_it_is_settled(database, outbox):
    await store(database, message(1), message(2), message(3))
    first, second, third = sorted(await outbox.take_due(NOW, NOW + 100, 10), key=lambda e: e.message_id)
    await outbox.delivered(first, NOW + 10)
    await outbox.failed(second, NOW + 5000, "http_500", NOW + 10)
    [again] = await outbox.take_due(NOW + 100, NOW + 200, 10)
    assert (again.message_id, again.attempt) == ("m3", 2)
    # Whoever lost it to another cannot settle it any more.
    await outbox.delivered(third, NOW + 110)
    by_id = {row["message_id"]: row for row in await rows(database, "outbox")}
    assert (by_id["m1"]["status"], by_id["m1"]["finished_at"]) == ("delivered", NOW + 10)
    assert (by_id["m2"]["status"], by_id["m2"]["last_error"], by_id["m2"]["due_at"]) == (
        "pending",
        "http_500",
        NOW + 5000,
    )
    assert (by_id["m3"]["status"], by_id["m3"]["attempt"]) == ("sending", 2)
    await outbox.failed(again, None, "gone", NOW + 120)
    [dead] = [row for row in await rows(database, "outbox") if row["message_id"] == "m3"]
    assert (dead["status"], dead["last_error"], dead["finished_at"]) == ("dead", "gone", NOW + 120)
    assert [e.message_id for e in await outbox.take_due(NOW + 9000, NOW + 9999, 10)] == ["m2"]
