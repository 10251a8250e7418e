"""Timers of sessions, on both databases."""

import asyncio
from dataclasses import replace

import pytest
from support.workflow_records import NOW, after, new_session, rows, turn

from signalbox.common.storage import PreconditionFailed
from signalbox.workflow.records import Fired, TimerSet
from signalbox.workflow.repository import SqlSessionStore
from signalbox.workflow.timers.repository import SqlTimerStore


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def timers(database):
    return SqlTimerStore(database)


async def set_by_turn(database, session, seq=1, **changes):
    following = after(session)
    timers = TimerSet("acme", session.session_id, 1, seq, NOW + 10, "[]")
    await SqlSessionStore(database).commit(
        session,
        following,
        turn(seq, session_id=session.session_id),
        begun=False,
        timers=replace(timers, **changes),
    )
    return replace(following, stored=True)


async def test_the_next_turn_sets_the_same_row_anew(timers, database):
    session = await set_by_turn(database, new_session(), plan="[1]")
    await set_by_turn(database, session, 2, plan="[2]", due_at=NOW + 20)
    [row] = await rows(database, "timers")
    assert (row["seq"], row["plan"], row["due_at"]) == (2, "[2]", NOW + 20)


async def test_what_is_due_is_taken_by_one_and_comes_back_later(timers, database):
    for number in range(20):
        await set_by_turn(database, new_session(session_id=f"s{number}"))
    assert await timers.take_due(NOW + 9, NOW + 100, 50) == []
    taken = await asyncio.gather(*(timers.take_due(NOW + 10, NOW + 100, 3) for _ in range(10)))
    names = [each.session_id for batch in taken for each in batch]
    assert len(names) == len(set(names))
    # A replica that finds every due row locked by others looks again.
    while more := await timers.take_due(NOW + 10, NOW + 100, 3):
        names += [each.session_id for each in more]
    assert sorted(names) == sorted(f"s{number}" for number in range(20))
    assert len(await timers.take_due(NOW + 100, NOW + 200, 50)) == 20


async def test_of_two_firings_of_the_same_timers_one_is_kept(timers, database):
    session = await set_by_turn(database, new_session())
    [taken] = await timers.take_due(NOW + 10, NOW + 100, 1)
    store = SqlSessionStore(database)
    left = replace(taken, due_at=NOW + 50, plan="[2]", revision=2)
    second = after(session)
    await store.commit(session, second, turn(2, kind="timer"), begun=False, timers=Fired(taken, left))
    again = replace(second, stored=True)
    with pytest.raises(PreconditionFailed):
        await store.commit(again, after(again), turn(3, kind="timer"), begun=False, timers=Fired(taken, None))
    assert len(await rows(database, "turns")) == 2
    [row] = await rows(database, "timers")
    assert (row["plan"], row["revision"]) == ("[2]", 2)
    await store.commit(again, after(again), turn(3, kind="timer"), begun=False, timers=Fired(left, None))
    assert await rows(database, "timers") == []


async def test_only_timers_that_were_not_set_anew_are_ended(timers, database):
    session = await set_by_turn(database, new_session())
    [taken] = await timers.take_due(NOW + 10, NOW + 100, 1)
    await set_by_turn(database, session, 2)
    await timers.end(taken)
    assert len(await rows(database, "timers")) == 1
    [taken] = await timers.take_due(NOW + 10, NOW + 100, 1)
    await timers.end(taken)
    assert await rows(database, "timers") == []
