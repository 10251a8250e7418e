"""Taking sessions for turns: in line here, by lease against other replicas."""

import asyncio
from itertools import pairwise

import orjson
import pytest
from support.async_waiting import until
from support.workflow_cache import BrokenCache

from signalbox.common.cache import MemoryCache
from signalbox.common.context import Deadline
from signalbox.workflow.errors import SessionBusy
from signalbox.workflow.records import Session, SessionState, TurnRecord
from signalbox.workflow.repository import SqlSessionStore
from signalbox.workflow.sessions import SessionKeeper, _pack, _unpack
from signalbox.workflow.settings import WorkflowSettings

LEASE = "lease:acme:s1"


class Turn:
    """A turn that takes a session and keeps it until it is released or asked to stop."""

    def __init__(self, keeper, number, policy="queue", seconds=10, session_id="s1"):
        self.taken = asyncio.Event()
        self.release = asyncio.Event()
        self.held = None
        self.after = None
        self.asked_to_stop = 0
        self.asked_with = []
        self._keeper = keeper
        self._number = number
        self._policy = policy
        self._deadline = Deadline.after(seconds)
        self._session_id = session_id
        self.task = asyncio.create_task(self._run())

    def _stop(self):
        self.asked_to_stop += 1
        self.release.set()

    def _choose(self, session):
        self.asked_with.append(session)
        return self._policy

    async def _run(self):
        name = f"turn_{self._number}"
        async with self._keeper.take(
            "acme", self._session_id, name, self._deadline, self._choose, self._stop
        ) as held:
            self.held = held
            self.taken.set()
            await self.release.wait()
            held.after = self.after

    async def end(self, after=None):
        self.after = after
        self.release.set()
        await self.task


def session(**changes):
    fields = {
        "tenant": "acme",
        "session_id": "s1",
        "subject": "key:alice",
        "user_id": None,
        "workflow_id": "shop",
        "created_at": 1,
        "expires_at": 2**45,
        "updated_at": 1,
        "last_seq": 1,
        "message_count": 2,
        "stored": True,
    }
    return Session(**{**fields, **changes})


def stands(keeper):
    """Whether somebody waits in this replica for the lease that another one has."""
    line = keeper._lines.get(("acme", "s1"))
    return line is not None and line.standing


def turn_record(seq):
    return TurnRecord(
        tenant="acme",
        turn_id=f"t{seq}",
        session_id="s1",
        epoch=1,
        seq=seq,
        status="committed",
        owner="a",
        first_message=1,
        user_text="hi",
        workflow_id="shop",
        config_hash="0" * 64,
        created_at=1,
        heartbeat_at=1,
    )


@pytest.fixture
def cache():
    return BrokenCache(MemoryCache())


@pytest.fixture
def make(database, cache):
    def build(owner="a", **settings):
        return SessionKeeper(
            SqlSessionStore(database), cache, WorkflowSettings(**{"lease_renew_ms": 200, **settings}), owner
        )

    return build


@pytest.fixture
async def stored(database):
    """A session that the database has, after its first turn."""
    before = session(stored=False, last_seq=0, message_count=0)
    await SqlSessionStore(database).commit(before, session(), turn_record(1), begun=False)
    return session()


async def test_those_who_came_first_are_answered_first(make):
    keeper = make()
    order = []
    turns = [Turn(keeper, number) for number in range(50)]

    async def note(turn, number):
        await turn.taken.wait()
        order.append(number)
        turn.release.set()
        await turn.task

    async with asyncio.timeout(10):
        await asyncio.gather(*(note(turn, number) for number, turn in enumerate(turns)))
    assert order == list(range(50))
    assert keeper._lines == {}


async def test_sessions_do_not_wait_for_each_other(make):
    keeper = make()
    first, other = Turn(keeper, 1), Turn(keeper, 2, session_id="s2")
    async with asyncio.timeout(5):
        await first.taken.wait()
        await other.taken.wait()
    await first.end()
    await other.end()


async def test_a_queue_that_is_full_refuses_with_a_time_to_come_back(make):
    keeper = make(session_queue=2)
    turns = [Turn(keeper, number) for number in range(4)]
    await until(turns[3].task.done)
    with pytest.raises(SessionBusy) as busy:
        await turns[3].task
    assert (busy.value.status, busy.value.code, busy.value.headers) == (
        409,
        "session_busy",
        {"Retry-After": "1"},
    )
    for turn in turns[:3]:
        await turn.end()
    late = Turn(keeper, 5)
    await asyncio.wait_for(late.taken.wait(), 5)
    await late.end()


async def test_nobody_waits_past_its_deadline(make):
    keeper = make()
    first = Turn(keeper, 1)
    await first.taken.wait()
    hurried = Turn(keeper, 2, seconds=0.02)
    with pytest.raises(SessionBusy):
        await asyncio.wait_for(hurried.task, 5)
    patient = Turn(keeper, 3)
    await first.end()
    await asyncio.wait_for(patient.taken.wait(), 5)
    await patient.end()


async def test_the_policy_may_refuse_a_second_message(make):
    keeper = make()
    first = Turn(keeper, 1)
    await first.taken.wait()
    second = Turn(keeper, 2, "reject")
    with pytest.raises(SessionBusy):
        await asyncio.wait_for(second.task, 5)
    assert first.asked_to_stop == 0
    await first.end()
    assert keeper._lines == {}


async def test_the_policy_is_that_of_the_session_that_is_held(make, stored):
    keeper = make()
    first = Turn(keeper, 1)
    await first.taken.wait()
    second = Turn(keeper, 2)
    await until(lambda: second.asked_with)
    assert second.asked_with[0].workflow_id == "shop"
    await first.end()
    await second.taken.wait()
    await second.end()


async def test_the_policy_may_stop_the_turn_in_front_at_once(make):
    keeper = make()
    first = Turn(keeper, 1)
    await first.taken.wait()
    second = Turn(keeper, 2, "interrupt")
    # Long before the lease is renewed and its flag read.
    await asyncio.wait_for(second.taken.wait(), 0.15)
    assert (first.asked_to_stop, second.asked_to_stop) == (1, 0)
    await second.end()


async def test_one_who_gives_up_leaves_the_line(make):
    keeper = make()
    first, second, third = (Turn(keeper, number) for number in range(3))
    await first.taken.wait()
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    await first.end()
    await asyncio.wait_for(third.taken.wait(), 5)
    await third.end()
    assert keeper._lines == {}


async def test_another_replica_waits_for_the_lease(make):
    here, there = make("a"), make("b")
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2)
    await until(lambda: second.asked_with)
    assert not second.taken.is_set()
    await first.end()
    await asyncio.wait_for(second.taken.wait(), 5)
    await second.end()


async def test_another_replica_refuses_where_the_policy_says_so(make):
    here, there = make("a"), make("b")
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2, "reject")
    with pytest.raises(SessionBusy):
        await asyncio.wait_for(second.task, 5)
    await first.end()


async def test_a_lease_that_is_being_given_back_refuses_nobody(make, cache):
    here, there = make("a"), make("b")
    go_on = asyncio.Event()
    release = cache.leases.release

    async def slowly(*args):
        await go_on.wait()
        return await release(*args)

    cache.leases.release = slowly
    first = Turn(here, 1)
    await first.taken.wait()
    await first.end()
    second = Turn(there, 2, "reject")
    await until(lambda: second.asked_with)
    go_on.set()
    await asyncio.wait_for(second.taken.wait(), 5)
    await second.end()


async def test_a_turn_elsewhere_is_asked_to_stop_through_its_lease(make):
    here, there = make("a"), make("b")
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2, "interrupt")
    await asyncio.wait_for(second.taken.wait(), 5)
    assert first.asked_to_stop == 1
    await second.end()


async def test_a_turn_elsewhere_hears_at_once_that_it_is_to_stop(make):
    here, there = make("a", lease_renew_ms=60_000), make("b")
    here.start()
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2, "interrupt")
    await asyncio.wait_for(second.taken.wait(), 5)
    assert first.asked_to_stop == 1
    await second.end()
    await here.drain()


async def test_replicas_take_turns(make):
    keepers = [make("a"), make("b"), make("c")]
    first = Turn(keepers[2], 0)
    await first.taken.wait()
    order = []

    async def note(turn, owner):
        await turn.taken.wait()
        order.append(owner)
        turn.release.set()
        await turn.task

    turns = [(Turn(keepers[number % 2], number + 1), "ab"[number % 2]) for number in range(10)]
    noted = [asyncio.create_task(note(*one)) for one in turns]
    await until(lambda: all(stands(keeper) for keeper in keepers[:2]))
    await first.end()
    async with asyncio.timeout(10):
        await asyncio.gather(*noted)
    # Ten at random change hands 4.5 times, one replica after the other once; a busy machine may miss a turn or two.
    assert sum(one != other for one, other in pairwise(order)) >= 6, order


async def test_no_more_wait_in_all_replicas_than_may(make):
    keepers = [make(name, session_queue=3) for name in "abc"]
    first = Turn(keepers[0], 0)
    await first.taken.wait()
    turns = [Turn(keeper, number) for number, keeper in enumerate((*keepers, *keepers), 1)]
    await until(lambda: sum(turn.task.done() for turn in turns) == 3)
    for turn in [turn for turn in turns if turn.task.done()]:
        with pytest.raises(SessionBusy):
            await turn.task
    await first.end()
    waiting = [turn for turn in turns if not turn.task.done()]
    for turn in waiting:
        turn.release.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*(turn.task for turn in waiting))
    assert all(keeper._lines == {} for keeper in keepers)
    last = Turn(keepers[2], 9)
    await asyncio.wait_for(last.taken.wait(), 5)
    await last.end()


async def test_who_is_cancelled_while_it_stands_in_line_holds_nobody_up(make):
    here, there, third = make("a"), make("b"), make("c")
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2)
    await until(lambda: stands(there))
    last = Turn(third, 3)
    await until(lambda: stands(third))
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)
    await first.end()
    await asyncio.wait_for(last.taken.wait(), 0.8)
    await last.end()


async def test_cancelling_a_session_reaches_whoever_holds_it_and_nobody_else(make):
    here, there = make("a"), make("b")
    assert not await there.request_cancel("acme", "s1")
    first = Turn(here, 1)
    await first.taken.wait()
    assert await there.request_cancel("acme", "s1")
    assert not await there.request_cancel("rival", "s1")
    await asyncio.wait_for(first.release.wait(), 5)
    await first.task


async def test_what_a_turn_leaves_is_what_the_next_one_takes_from_the_cache(make, stored):
    keeper = make()
    first = Turn(keeper, 1)
    await first.taken.wait()
    assert (first.held.session, first.held.fresh, first.held.leased) == (stored, True, True)
    after = session(last_seq=2, state=SessionState(greeted=True, profile={"name": "金"}))
    await first.end(after)
    await keeper.drain()
    second = Turn(make("b"), 2)
    await second.taken.wait()
    assert (second.held.session, second.held.fresh) == (after, False)
    await second.end()


async def test_a_turn_that_leaves_nothing_leaves_the_copy_as_it_was(make, stored):
    keeper = make()
    for number, after in enumerate((stored, None)):
        turn = Turn(keeper, number)
        await turn.taken.wait()
        await turn.end(after)
    await keeper.drain()
    third = Turn(keeper, 3)
    await third.taken.wait()
    assert third.held.session == stored
    await third.end()


async def test_forgetting_makes_the_next_turn_read_the_database(make, stored):
    keeper = make()
    turn = Turn(keeper, 1)
    await turn.taken.wait()
    await turn.end(session(last_seq=9))
    await keeper.drain()
    await keeper.forget("acme", "s1")
    turn = Turn(keeper, 2)
    await turn.taken.wait()
    assert (turn.held.session, turn.held.fresh) == (stored, True)
    await turn.end()


async def test_without_the_cache_sessions_come_from_the_database(make, cache, stored, caplog):
    keeper = make()
    cache.down = True
    for number in range(3):
        turn = Turn(keeper, number)
        await asyncio.wait_for(turn.taken.wait(), 5)
        assert (turn.held.session, turn.held.fresh, turn.held.leased) == (stored, True, False)
        await turn.end(session(last_seq=5))
    await keeper.forget("acme", "s1")
    cache.down = False
    turn = Turn(keeper, 9)
    await turn.taken.wait()
    assert turn.held.leased
    await turn.end()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cache is down" in said[0]
    assert "answers again" in said[1]


async def test_a_cache_that_goes_down_while_somebody_waits_lets_it_go_on(make, cache):
    here, there = make("a"), make("b")
    first = Turn(here, 1)
    await first.taken.wait()
    second = Turn(there, 2)
    await until(lambda: "wait" in cache.calls)
    cache.down = True
    await asyncio.wait_for(second.taken.wait(), 5)
    assert not second.held.leased
    await first.end()
    await second.end()


async def test_a_lease_is_renewed_while_its_turn_runs(make, cache):
    keeper = make(lease_ttl_ms=1000)
    turn = Turn(keeper, 1)
    await turn.taken.wait()
    await until(lambda: cache.calls.count("renew") >= 2)
    await turn.end()
    await keeper.drain()
    renewed = cache.calls.count("renew")
    await asyncio.sleep(0.25)
    assert cache.calls.count("renew") == renewed


async def test_every_field_of_a_session_survives_the_cache():
    full = session(
        user_id="u",
        status="waiting",
        epoch=3,
        config_hash="0" * 64,
        state=SessionState.model_validate(
            {
                "greeted": True,
                "language": "zh",
                "timezone": "Asia/Shanghai",
                "flow": {"flow": "f", "step": 2, "slots": {"a": [1]}, "parents": [{"flow": "g", "step": 1}]},
                "profile": {"x": None},
                "fallbacks": 2,
            }
        ),
    )
    assert _unpack(_pack(full)) == full


def test_what_a_later_release_has_put_in_the_cache_is_read():
    kept = session(state=SessionState(language="en"))
    more = {**orjson.loads(_pack(kept)), "of_a_later_release": 1}
    assert _unpack(orjson.dumps(more)) == kept
