"""Batches and schedules of the Workflow service, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from support.workflow_records import KEY, NOW, message, rows, task

from signalbox.common.storage import DuplicateKey
from signalbox.workflow.background.records import HELD, BatchRecord, ScheduleRecord, TaskName
from signalbox.workflow.background.schedule_repository import SqlScheduleStore
from signalbox.workflow.background.task_repository import SqlBatchStore, SqlTaskStore
from signalbox.workflow.records import IdempotencyRecord


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def tasks(database):
    return SqlTaskStore(database)


@pytest.fixture
def batches(database):
    return SqlBatchStore(database)


@pytest.fixture
def schedules(database):
    return SqlScheduleStore(database)


def batch(total=6, parallel=2, **changes):
    return BatchRecord("acme", "b1", "key:1", total, parallel, NOW, NOW, **changes)


def items(of):
    return [
        task(
            number,
            session_id=f"s{number}",
            batch_id=of.batch_id,
            item=number,
            due_at=NOW if number < of.parallel else HELD + number,
        )
        for number in range(of.total)
    ]


async def end(tasks, number, status="success"):
    claimed = await tasks.claim(TaskName("acme", f"task{number}"), "w", NOW, NOW - 9, NOW + 500)
    assert claimed is not None, f"task{number} cannot be taken"
    assert await tasks.finish(claimed, status, "{}", NOW + 1)


async def test_a_batch_lets_go_as_many_items_as_it_may_work_on(tasks, batches):
    made = batch()
    await batches.add(made, items(made))
    assert await batches.advance("acme", "b1", NOW, NOW + 7) == ([], 6)
    held = TaskName("acme", "task2")
    assert await tasks.claim(held, "w", NOW, NOW - 9, NOW) is None, "a held item is taken"
    await end(tasks, 0)
    assert await batches.advance("acme", "b1", NOW + 1, NOW + 7) == ([held], 5)
    assert (await tasks.task(*held)).due_at == NOW + 7
    for number in (1, 2):
        await end(tasks, number)
    released, left = await batches.advance("acme", "b1", NOW + 2, NOW + 8)
    assert (sorted(released), left) == ([TaskName("acme", "task3"), TaskName("acme", "task4")], 3)
    progress = await batches.progress("acme", "b1")
    assert (progress.pending, progress.success, progress.running) == (3, 3, 0)


async def test_those_who_advance_a_batch_at_once_do_not_let_go_too_many(tasks, batches):
    made = batch(total=40, parallel=4)
    await batches.add(made, items(made))
    for number in range(4):
        await end(tasks, number)
    advanced = await asyncio.gather(*(batches.advance("acme", "b1", NOW + 1, NOW + 7) for _ in range(8)))
    assert sum(len(released) for released, _ in advanced) == 4


async def test_a_batch_ends_once(tasks, batches, database):
    made = batch(total=2)
    await batches.add(made, items(made))
    for number in (0, 1):
        await end(tasks, number)
    assert await batches.advance("acme", "b1", NOW + 1, NOW + 7) == ([], 0)
    ended = await asyncio.gather(*(batches.finish(made, NOW + 5, [message(n)]) for n in range(5)))
    assert sorted(ended) == [False] * 4 + [True]
    assert len(await rows(database, "outbox")) == 1
    assert (await batches.batch("acme", "b1")).finished_at == NOW + 5
    assert await batches.batch("rival", "b1") is None
    assert await batches.unfinished(NOW + 99, 9) == []


async def test_cancelling_a_batch_ends_what_waits_and_asks_what_runs(tasks, batches):
    made = batch()
    await batches.add(made, items(made))
    await end(tasks, 0)
    held = await tasks.claim(TaskName("acme", "task1"), "w", NOW, NOW - 9, NOW + 500)
    await batches.cancel("acme", "b1", NOW + 3)
    progress = await batches.progress("acme", "b1")
    assert (progress.success, progress.running, progress.cancelled) == (1, 1, 4)
    assert (await tasks.heartbeat(held, NOW + 4)).cancel_at == NOW + 3


async def test_items_come_in_their_order_by_page_and_batches_that_nobody_looks_at_are_found(batches):
    made = batch(total=12)
    await batches.add(made, items(made), IdempotencyRecord(KEY, "h", "b1", "{}", NOW))
    assert [found.item for found in await batches.items("acme", "b1", 9, 5)] == [9, 10, 11]
    assert [found.item for found in await batches.items("acme", "b1", 0, 2)] == [0, 1]
    assert await batches.unfinished(NOW, 9) == []
    assert await batches.unfinished(NOW + 1, 9) == [made]
    await batches.advance("acme", "b1", NOW + 5, NOW + 9)
    assert await batches.unfinished(NOW + 5, 9) == []
    with pytest.raises(DuplicateKey):
        await batches.add(replace(made, batch_id="b2"), [], IdempotencyRecord(KEY, "h", "b2", "{}", NOW))
    assert await batches.batch("acme", "b2") is None


def schedule(number=1, **changes):
    values = {
        "tenant": "acme",
        "schedule_id": f"sched{number}",
        "subject": "key:1",
        "name": f"name {number}",
        "cron": "* * * * *",
        "timezone": "UTC",
        "request": "{}",
        "status": "active",
        "created_at": NOW,
        "updated_at": NOW,
        "due_at": NOW + number,
    }
    return ScheduleRecord(**{**values, **changes})


async def test_a_schedule_comes_back_as_it_was_changed_until_it_is_deleted(schedules):
    await schedules.add(schedule(2))
    await schedules.add(schedule(1))
    await schedules.add(schedule(3, subject="key:2"))
    assert await schedules.of_subject("acme", "key:1") == [schedule(1), schedule(2)]
    changed = schedule(1, cron="0 0 * * *", status="paused", due_at=None, updated_at=NOW + 1)
    assert await schedules.replace(changed)
    assert await schedules.schedule("acme", "sched1") == changed
    assert await schedules.schedule("rival", "sched1") is None
    assert await schedules.delete("acme", "sched1")
    assert not await schedules.delete("acme", "sched1")
    assert not await schedules.replace(changed)


async def test_a_run_is_made_by_one_of_many_replicas(schedules, tasks, database):
    await schedules.add(schedule())
    [due] = await schedules.due(NOW + 1, 9)
    assert await schedules.due(NOW, 9) == []
    fired = await asyncio.gather(
        *(schedules.fire(due, NOW + 60, NOW + 1, task(number)) for number in range(6))
    )
    assert sorted(fired) == [False] * 5 + [True]
    [made] = await rows(database, "tasks")
    after = await schedules.schedule("acme", "sched1")
    assert (after.due_at, after.last_run_at, after.last_task_id) == (NOW + 60, NOW + 1, made["task_id"])


async def test_a_schedule_that_was_changed_since_it_was_read_is_not_run(schedules, database):
    await schedules.add(schedule())
    [due] = await schedules.due(NOW + 1, 9)
    await schedules.replace(schedule(updated_at=NOW + 1))
    assert not await schedules.fire(due, NOW + 60, NOW + 1, task())
    assert await rows(database, "tasks") == []


async def test_paused_schedules_are_not_due_and_the_longest_waiting_come_first(schedules):
    for number in (3, 1, 2):
        await schedules.add(schedule(number))
    await schedules.add(schedule(4, status="paused", due_at=None))
    assert [found.schedule_id for found in await schedules.due(NOW + 9, 2)] == ["sched1", "sched2"]
