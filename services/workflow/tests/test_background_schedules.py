"""Schedules: when they run, and that each run is one task."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.background_stage import BackgroundStage
from support.workflow_stage import ALICE, BOB, rows_of

from signalbox.contracts.background import ScheduleRequest
from signalbox.workflow.background import schedules
from signalbox.workflow.background.cron import next_run
from signalbox.workflow.errors import BadCron, ScheduleNotFound, TooManySchedules, UnknownTimezone

MINUTE = 60_000


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def runs(cron, zone, start, count):
    """The next runs, on the clocks of UTC."""
    found, after = [], at(start)
    for _ in range(count):
        after = next_run(cron, zone, after)
        found.append(datetime.fromtimestamp(after / 1000, UTC).strftime("%m-%d %H:%M"))
    return found


def test_the_fields_are_read_on_the_clocks_of_the_zone():
    assert runs("30 9 * * 1-5", "Asia/Shanghai", "2026-03-05T02:00:00Z", 3) == [
        "03-06 01:30",
        "03-09 01:30",
        "03-10 01:30",
    ]


def test_a_run_in_the_hour_that_is_left_out_comes_when_the_clocks_have_moved_on():
    # 2026-03-29: Berlin goes from 02:00 (UTC+1) to 03:00 (UTC+2).
    assert runs("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3) == [
        "03-28 01:30",
        "03-29 01:00",
        "03-30 00:30",
    ]


def test_a_run_in_the_hour_that_comes_twice_comes_once():
    # 2026-10-25: Berlin goes from 03:00 (UTC+2) back to 02:00 (UTC+1).
    assert runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2) == ["10-25 00:30", "10-26 01:30"]


def test_what_runs_every_half_hour_does_so_when_the_clocks_change_too():
    assert runs("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4) == [
        "10-25 00:30",
        "10-25 01:00",
        "10-25 01:30",
        "10-25 02:00",
    ]


@pytest.mark.parametrize(
    "cron", ["* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@daily", "a b c d e"]
)
def test_what_names_no_time_is_refused(cron):
    with pytest.raises(BadCron):
        next_run(cron, "UTC", 0)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_zones_that_are_none_are_refused(zone):
    with pytest.raises(UnknownTimezone):
        next_run("* * * * *", zone, 0)


@pytest.fixture
def background(stage):
    return BackgroundStage(stage, schedules_per_key=3)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = at("2026-03-05T10:00:30Z")

    monkeypatch.setattr(schedules, "now_ms", lambda: Clock.now)
    return Clock


def request(**more):
    return ScheduleRequest(**{"name": "hourly", "cron": "0 * * * *", "message": "when are you open?", **more})


async def test_each_run_is_a_task_of_its_own_session_unless_one_is_named(background, clock):
    own = await background.schedule_service.create(ALICE, request())
    named = await background.schedule_service.create(ALICE, request(session_id="s1", name="named"))
    assert own.next_run_at == at("2026-03-05T11:00:00Z")
    assert (own.last_task_id, own.session_id) == (None, None)
    await background.scheduler.fire_due()
    assert background.queue.told == []
    for hour in (11, 12):
        clock.now = at(f"2026-03-05T{hour}:00:01Z")
        await background.scheduler.fire_due()
    await background.work()
    of_own = await background.service.tasks(ALICE, None, own.schedule_id, None, 9)
    of_named = await background.service.tasks(ALICE, None, named.schedule_id, None, 9)
    assert [task.status for task in of_own.items] == ["success", "success"]
    assert len({task.session_id for task in of_own.items}) == 2
    assert {task.session_id for task in of_named.items} == {"s1"}
    seen = await background.schedule_service.schedule(ALICE, own.schedule_id)
    # Both runs may be of one millisecond, so their ids do not tell which was last.
    assert seen.last_task_id in {task.task_id for task in of_own.items}
    assert seen.last_run_at == clock.now
    assert seen.next_run_at == at("2026-03-05T13:00:00Z")


async def test_many_replicas_make_one_task_of_a_run(background, clock):
    await background.schedule_service.create(ALICE, request())
    clock.now += 60 * MINUTE
    replicas = [background, *(BackgroundStage(background.stage, f"worker-{n}") for n in range(5))]
    await asyncio.gather(*(replica.scheduler.fire_due() for replica in replicas))
    assert len(await rows_of(background.stage.database, "workflow_tasks")) == 1
    assert sum(len(replica.queue.told) for replica in replicas) == 1


async def test_runs_that_were_missed_are_made_up_for_by_one(background, clock):
    made = await background.schedule_service.create(ALICE, request())
    clock.now += 5 * 60 * MINUTE
    await background.scheduler.fire_due()
    await background.scheduler.fire_due()
    assert len(background.queue.told) == 1
    seen = await background.schedule_service.schedule(ALICE, made.schedule_id)
    assert seen.next_run_at == at("2026-03-05T16:00:00Z")


async def test_a_paused_schedule_does_not_run_until_it_is_active_again(background, clock):
    made = await background.schedule_service.create(ALICE, request())
    paused = await background.schedule_service.replace(ALICE, made.schedule_id, request(status="paused"))
    assert paused.next_run_at is None
    clock.now += 3 * 60 * MINUTE
    await background.scheduler.fire_due()
    assert background.queue.told == []
    active = await background.schedule_service.replace(
        ALICE, made.schedule_id, request(cron="30 * * * *", timezone="Asia/Kathmandu")
    )
    assert active.next_run_at == at("2026-03-05T13:45:00Z")
    assert active.created_at == made.created_at


async def test_schedules_are_their_principals_own_and_so_many(background, clock):
    made = [await background.schedule_service.create(ALICE, request(name=name)) for name in ("b", "a", "c")]
    listed = await background.schedule_service.schedules(ALICE)
    assert [schedule.name for schedule in listed.items] == ["a", "b", "c"]
    with pytest.raises(TooManySchedules):
        await background.schedule_service.create(ALICE, request())
    assert (await background.schedule_service.schedules(BOB)).items == []
    name = made[0].schedule_id
    for call in (
        background.schedule_service.schedule(BOB, name),
        background.schedule_service.delete(BOB, name),
        background.schedule_service.replace(BOB, name, request()),
    ):
        with pytest.raises(ScheduleNotFound):
            await call
    await background.schedule_service.delete(ALICE, name)
    with pytest.raises(ScheduleNotFound):
        await background.schedule_service.schedule(ALICE, name)
