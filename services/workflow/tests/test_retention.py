"""Retention: how long sessions are kept, and that what is over is deleted in every place, some at a time."""

import asyncio

import pytest
from support.workflow_stage import ALICE, CONFIG, Gate, rows_of

from signalbox.contracts.query import QueryRequest
from signalbox.workflow.errors import TurnCancelled
from signalbox.workflow.keeping import retention
from signalbox.workflow.keeping.days import RetentionDays
from signalbox.workflow.keeping.listing import SessionFilter, SessionLists
from signalbox.workflow.timers import firing

DAY = 86_400_000


def keeping_for(days: int) -> dict[str, object]:
    return {**CONFIG, "policies": {"retention": {"days": days}}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Moves the clock of retention; that of turns stays."""
    real = retention.now_ms

    def move(days: float) -> None:
        monkeypatch.setattr(retention, "now_ms", lambda: real() + int(days * DAY))

    return move


async def left(stage) -> list[str]:
    rows = await rows_of(stage.database, "workflow_sessions")
    return sorted(row["session_id"] for row in rows if row["status"] != "deleted")


def test_a_tenant_keeps_nothing_longer_than_the_operator_lets_it():
    days = RetentionDays(30, {"acme": 7, "open": 400})
    assert days.keep_until("acme", None, 0) == 7 * DAY
    assert days.keep_until("acme", 3, 0) == 3 * DAY
    assert days.keep_until("acme", 90, 0) == 7 * DAY
    assert days.keep_until("open", 90, 0) == 90 * DAY
    assert days.keep_until("other", 90, 0) == 30 * DAY
    assert RetentionDays(None, {}).keep_until("other", None, 0) is None


async def test_a_session_is_deleted_when_its_time_after_the_last_message_is_over(stage, clock):
    stage.releases.publish(keeping_for(2))
    await stage.ask("are you open?", "old", key="k1")
    clock(1.9)
    assert await stage.retention.delete_due() == 0
    clock(2.1)
    assert await stage.retention.delete_due() == 1
    assert await stage.retention.delete_due() == 0
    assert await left(stage) == []
    for table in ("turns", "idempotency", "timers", "summaries"):
        assert await rows_of(stage.database, f"workflow_{table}") == []
    [asked] = stage.elsewhere.asked
    assert asked.session_ids == ["old"]
    # Other services look at the time in which it was alive, not at all time since.
    assert asked.until - asked.since < 1.1 * DAY
    reply = await stage.ask("are you open?", "old")
    assert reply.greeting == "Hello!"


async def test_a_first_message_that_was_cancelled_makes_no_session_to_see_and_is_deleted_in_time(
    stage, clock
):
    stage.releases.publish(keeping_for(1))
    gate = Gate()
    stage.flows.answers = [gate]
    asked = QueryRequest(message="where is order 1?", session_id="s1")
    started = await stage.queries.stream(ALICE, asked, None)
    await asyncio.wait_for(gate.reached.wait(), 5)
    await stage.views.cancel(ALICE, started.turn_id, None)
    with pytest.raises(TurnCancelled):
        await started.task
    assert [row["status"] for row in await stage.turns()] == ["cancelled"]
    everything = SessionFilter()
    assert (await SessionLists(stage.kept).page(ALICE, everything, None, 10)).sessions == []
    assert await stage.store.count("acme", 0) == 0
    clock(1.1)
    assert await stage.retention.delete_due() == 1
    assert await stage.turns() == []
    await stage.ask("are you open?")
    assert await stage.store.count("acme", 0) == 1


async def test_each_message_keeps_a_session_longer_and_a_timer_does_not(stage, clock):
    timers = [{"id": "t", "delay_seconds": 1, "reply": "Still there?"}]
    stage.releases.publish({**keeping_for(2), "timers": timers})
    await stage.ask("are you open?")
    first = (await stage.store.load("acme", "s1")).keep_until
    await asyncio.sleep(0.005)
    await stage.ask("are you open?")
    second = (await stage.store.load("acme", "s1")).keep_until
    assert second > first
    [taken] = await stage.timer_store.take_due(2**62, 2**62, 1)
    await stage.timers._fire(taken, firing.now_ms())
    session = await stage.store.load("acme", "s1")
    assert (session.last_seq, session.keep_until) == (3, second)


async def test_without_a_policy_sessions_stay(stage, clock):
    await stage.ask("are you open?")
    clock(10_000)
    assert await stage.retention.delete_due() == 0
    assert await left(stage) == ["s1"]


async def test_what_is_over_goes_batch_by_batch_by_one_replica(stage, clock, monkeypatch):
    monkeypatch.setattr(retention, "_BATCH", 4)
    stage.releases.publish(keeping_for(1))
    for number in range(10):
        await stage.ask("are you open?", f"s{number}")
    clock(1.1)
    other = stage.replica()
    looked = await asyncio.gather(stage.retention.delete_due(), other.retention.delete_due())
    assert sorted(looked) == [0, 4]
    assert len(await left(stage)) == 6
    holder = stage.retention if looked[0] else other.retention
    assert [await holder.delete_due() for _ in range(3)] == [4, 2, 0]
    assert await left(stage) == []
    await other.close()


async def test_a_session_that_goes_on_meanwhile_is_not_deleted(stage, clock):
    stage.releases.publish(keeping_for(1))
    await stage.ask("are you open?")
    [stale] = await stage.kept.kept_long_enough(2**62, 10)
    await stage.ask("are you open?")

    async def before(now: int, limit: int):
        return [stale]

    stage.kept.kept_long_enough = before
    await stage.retention.delete_due()
    assert len(await stage.turns()) == 2
