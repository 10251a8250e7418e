"""Tasks and the outbox of the Workflow service, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from support.workflow_records import KEY, NOW, after, message, new_session, rows, running, task, turn

from signalbox.common.storage import DuplicateKey, PreconditionFailed
from signalbox.workflow.background.outbox_repository import SqlOutboxStore, insert_outbox
from signalbox.workflow.background.records import HELD, TaskName
from signalbox.workflow.background.task_repository import SqlTaskStore
from signalbox.workflow.idempotency_rows import KEPT_MS
from signalbox.workflow.records import IdempotencyRecord
from signalbox.workflow.repository import SqlIdempotencyStore, SqlSessionStore

TASK1 = TaskName("acme", "task1")


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


async def claim(tasks, owner="w", now=NOW, stale_before=NOW - 9, name=TASK1):
    return await tasks.claim(name, owner, now, stale_before, now + 500)


async def test_a_task_comes_back_as_it_was_with_the_answer_to_its_request(tasks, keys):
    stored = task(webhook='{"url": "http://x"}')
    await tasks.add(stored, IdempotencyRecord(KEY, "h", "task1", '{"task_id": "task1"}', NOW))
    assert await tasks.task("acme", "task1") == stored
    assert await tasks.task("rival", "task1") is None
    assert (await keys.find(KEY, 0)).reply == '{"task_id": "task1"}'
    with pytest.raises(DuplicateKey):
        await tasks.add(task(2), IdempotencyRecord(KEY, "h", "task2", None, NOW))
    assert await tasks.task("acme", "task2") is None


async def test_a_record_whose_time_is_over_is_replaced_by_that_of_another_request(tasks, keys):
    await tasks.add(task(), IdempotencyRecord(KEY, "h", "task1", "{}", NOW))
    over = NOW + KEPT_MS + 1
    assert await keys.find(KEY, over - KEPT_MS) is None
    again = IdempotencyRecord(KEY, "other", "task2", "{}", over)
    with pytest.raises(DuplicateKey):
        await tasks.add(task(2, created_at=over - 1), again)
    await tasks.add(task(2, created_at=over), again)
    assert (await keys.find(KEY, over - KEPT_MS)).target_id == "task2"


async def test_tasks_that_are_not_ended_are_counted_by_key(tasks):
    for number in range(1, 6):
        await tasks.add(task(number, session_id=f"s{number}"))
    await tasks.cancel("acme", "task2", NOW)
    assert await claim(tasks) is not None
    subject = task().subject
    assert await tasks.waiting("acme", subject, 10) == 4
    assert await tasks.waiting("acme", subject, 3) == 3
    assert await tasks.waiting("rival", subject, 10) == 0
    assert await tasks.waiting("acme", "another", 10) == 0


async def test_one_of_many_workers_gets_a_task(tasks):
    await tasks.add(task())
    claims = await asyncio.gather(*(claim(tasks, f"w{n}") for n in range(10)))
    [claimed] = [found for found in claims if found is not None]
    assert (claimed.status, claimed.attempt, claimed.heartbeat_at) == ("running", 1, NOW)
    assert claimed.due_at == NOW + 500
    assert await claim(tasks, stale_before=NOW + 99, name=TaskName("rival", "task1")) is None
    assert await claim(tasks, name=TaskName("acme", "task9")) is None


async def test_a_task_whose_worker_fell_silent_is_taken_over_and_finished_once(tasks, database):
    await tasks.add(task())
    first = await claim(tasks, "w1")
    assert (await tasks.heartbeat(first, NOW + 50)).heartbeat_at == NOW + 50
    assert await claim(tasks, "w2", NOW + 60, NOW + 50) is None
    second = await claim(tasks, "w2", NOW + 60, NOW + 51)
    assert (second.attempt, second.owner) == (2, "w2")
    assert await tasks.heartbeat(first, NOW + 70) is None
    assert not await tasks.give_back(first, NOW + 70)
    assert not await tasks.finish(first, "success", "late", NOW + 70, [message(1)])
    assert await tasks.finish(second, "success", "result", NOW + 80, [message(2)])
    assert not await tasks.finish(second, "failed", "again", NOW + 90, [message(3)])
    done = await tasks.task("acme", "task1")
    assert (done.status, done.result, done.finished_at) == ("success", "result", NOW + 80)
    assert [row["message_id"] for row in await rows(database, "outbox")] == ["m2"]
    assert await claim(tasks, "w3", NOW + 99, NOW + 99) is None


async def test_what_a_dead_attempt_left_of_its_turn_is_removed_by_the_next(tasks, database):
    sessions = SqlSessionStore(database)
    await tasks.add(task(task_id="task_7"))
    left = running(turn_id="turn_7")
    await sessions.begin(new_session(), left)
    await claim(tasks, "w1", name=TaskName("acme", "task_7"))
    assert [row["turn_id"] for row in await rows(database, "turns")] == []
    session = await sessions.load("acme", "s1")
    await sessions.begin(session, left)
    assert await claim(tasks, "w2", NOW + 5, NOW, name=TaskName("acme", "task_7")) is None
    assert len(await rows(database, "turns")) == 1, "a claim that fails removes the turn of who has the task"
    await sessions.commit(session, after(session), turn(turn_id="turn_7"), begun=True)
    await claim(tasks, "w2", NOW + 5, NOW + 1, name=TaskName("acme", "task_7"))
    assert [row["status"] for row in await rows(database, "turns")] == ["committed"]


async def test_a_task_ends_with_its_turn_or_neither_does(tasks, database):
    sessions = SqlSessionStore(database)
    await tasks.add(task(task_id="task_7"))
    name = TaskName("acme", "task_7")
    first = await claim(tasks, "w1", name=name)
    second = await claim(tasks, "w2", NOW + 60, NOW + 51, name=name)
    session = new_session()

    async def commit(attempt):
        ending = tasks.finishing(attempt, "success", "{}", NOW + 70, [message(attempt.attempt)])
        await sessions.commit(session, after(session), turn(turn_id="turn_7"), begun=False, further=ending)

    with pytest.raises(PreconditionFailed):
        await commit(first)
    assert (await rows(database, "turns"), await rows(database, "outbox")) == ([], [])
    await commit(second)
    assert (await tasks.task(*name)).status == "success"
    assert [row["message_id"] for row in await rows(database, "outbox")] == ["m2"]


async def test_a_task_that_is_given_back_is_anybodys(tasks):
    await tasks.add(task())
    first = await claim(tasks, "w1")
    assert await tasks.give_back(first, NOW + 5)
    assert await tasks.heartbeat(first, NOW + 6) is None
    assert (await claim(tasks, "w2", NOW + 6)).attempt == 2


async def test_cancelling_ends_a_pending_task_and_asks_the_worker_of_a_running_one(tasks, database):
    await tasks.add(task(1))
    await tasks.add(task(2, session_id="s2"))
    ended = await tasks.cancel("acme", "task1", NOW + 1, [message(1)])
    assert (ended.status, ended.finished_at) == ("cancelled", NOW + 1)
    assert await tasks.cancel("acme", "task1", NOW + 2, [message(2)]) is None
    assert not await tasks.request_cancel("acme", "task1", NOW + 2)
    held = await claim(tasks, name=TaskName("acme", "task2"))
    assert await tasks.cancel("acme", "task2", NOW + 3, [message(3)]) is None
    assert await tasks.request_cancel("acme", "task2", NOW + 3)
    assert (await tasks.heartbeat(held, NOW + 4)).cancel_at == NOW + 3
    assert [row["message_id"] for row in await rows(database, "outbox")] == ["m1"]


async def test_due_tasks_are_each_taken_by_one_and_less_often_the_longer_they_wait(tasks):
    for number in range(1, 41):
        await tasks.add(task(number, due_at=NOW + number))
    await tasks.add(task(99, due_at=HELD + 1))
    taken = await asyncio.gather(*(tasks.take_due(NOW + 40, NOW, 100, 5) for _ in range(10)))
    names = [name for found in taken for name in found]
    assert len(names) == len(set(names)) == 40
    assert await tasks.take_due(NOW + 139, NOW, 100, 50) == []
    assert len(await tasks.take_due(NOW + 140, NOW, 100, 50)) == 40
    assert len(await tasks.take_due(NOW + 1000, NOW, 100, 50)) == 40
    assert await tasks.take_due(NOW + 1499, NOW, 100, 50) == []
    assert len(await tasks.take_due(NOW + 1500, NOW, 100, 50)) == 40
    assert len(await tasks.take_due(NOW + 99_000, NOW, 100, 50)) == 40
    assert len(await tasks.take_due(NOW + 102_000, NOW, 100, 50)) == 40, (
        "a long wait is never looked at again"
    )


async def test_a_running_task_is_due_when_its_worker_fell_silent(tasks):
    await tasks.add(task())
    held = await claim(tasks)
    assert await tasks.take_due(NOW + 600, NOW, 100, 10) == []
    assert await tasks.take_due(NOW + 600, NOW + 1, 100, 10) == [held.name]


async def test_the_tasks_of_a_session_are_taken_in_their_order(tasks):
    await tasks.add(task(1, created_at=NOW + 1))
    await tasks.add(task(2, created_at=NOW))
    await tasks.add(task(4, created_at=NOW + 2, batch_id="b", item=1))
    await tasks.add(task(3, created_at=NOW + 2, batch_id="b", item=2))
    await tasks.add(task(9, session_id="s2"))
    await tasks.add(task(8, tenant="rival"))
    names = [TaskName("acme", f"task{number}") for number in (2, 1, 4, 3)]
    for name in names:
        claims = await asyncio.gather(*(claim(tasks, name=other) for other in names))
        [held] = [found for found in claims if found is not None]
        assert held.name == name
        assert await tasks.first_of_session("acme", "s1") is None, "it is being worked on"
        await tasks.finish(held, "success", "{}", NOW)
        following = names[names.index(name) + 1 :]
        assert await tasks.first_of_session("acme", "s1") == (following[0] if following else None)
    assert await claim(tasks, name=TaskName("acme", "task9")) is not None


async def test_tasks_are_listed_newest_first_by_status_and_page(tasks):
    for number in range(1, 6):
        await tasks.add(task(number, session_id=f"s{number}", schedule_id="sched1" if number % 2 else None))
    await tasks.add(task(7, subject="key:2"))
    await tasks.add(task(8, tenant="rival"))
    await claim(tasks, name=TaskName("acme", "task2"))

    async def listed(**more):
        asked = {"status": None, "schedule_id": None, "before": None, "limit": 10, **more}
        return [int(found.task_id[4:]) for found in await tasks.of_subject("acme", "key:1", **asked)]

    assert await listed() == [5, 4, 3, 2, 1]
    assert await listed(limit=2) == [5, 4]
    assert await listed(limit=2, before="task4") == [3, 2]
    assert await listed(status="running") == [2]
    assert await listed(status="pending", schedule_id="sched1") == [5, 3, 1]


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


async def test_messages_are_listed_newest_first_by_status_and_page(database, outbox):
    await store(
        database, *(message(n) for n in range(1, 5)), message(5, status="dead"), message(6, tenant="rival")
    )

    async def listed(**more):
        return [
            entry.message_id
            for entry in await outbox.listed("acme", **{"status": None, "before": None, "limit": 9, **more})
        ]

    assert await listed() == ["m5", "m4", "m3", "m2", "m1"]
    assert await listed(before="m4", limit=2) == ["m3", "m2"]
    assert await listed(status="dead") == ["m5"]


async def test_only_a_message_that_was_given_up_is_replayed(database, outbox):
    dead = message(1, status="dead", attempt=9, last_error="gone", finished_at=NOW)
    await store(database, dead, message(2))
    assert await outbox.replay("rival", "m1", NOW + 5) is None
    assert await outbox.replay("acme", "m2", NOW + 5) is None
    replayed = await outbox.replay("acme", "m1", NOW + 5)
    assert (replayed.status, replayed.attempt, replayed.due_at) == ("pending", 0, NOW + 5)
    assert await outbox.message("acme", "m1") == replayed
    assert await outbox.replay("acme", "m1", NOW + 6) is None
    assert {entry.message_id for entry in await outbox.take_due(NOW + 5, NOW + 99, 9)} == {"m1", "m2"}
