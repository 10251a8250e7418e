"""Sessions, turns and idempotency records of the Workflow service, on both databases."""

import asyncio
from dataclasses import fields, replace

import pytest
from support.workflow_records import KEY, NOW, after, erasure, message, new_session, rows, running, task, turn

from signalbox.common.storage import DuplicateKey, PreconditionFailed
from signalbox.contracts.work import FlowState
from signalbox.workflow.background.task_repository import SqlTaskStore
from signalbox.workflow.records import IdempotencyRecord, SessionState, TimerSet, TurnRecord
from signalbox.workflow.repository import SqlIdempotencyStore, SqlSessionStore


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def sessions(database):
    return SqlSessionStore(database)


@pytest.fixture
def keys(database):
    return SqlIdempotencyStore(database)


@pytest.fixture
def tasks(database):
    return SqlTaskStore(database)


def ended(number, status, **changes):
    """A turn that was not committed."""
    return replace(running(number), seq=None, status=status, **changes)


async def commit_turns(sessions, count, **changes):
    """A stored session after ``count`` committed turns."""
    session = new_session(**changes)
    for number in range(1, count + 1):
        following = after(session)
        record = turn(number, session.tenant, session.session_id)
        await sessions.commit(session, following, record, begun=False)
        session = replace(following, stored=True)
    return session


async def test_a_session_comes_back_as_it_was(sessions):
    state = SessionState(
        greeted=True,
        language="zh",
        timezone="Asia/Shanghai",
        flow=FlowState(flow="f", step=3, slots={"订单": [1, None]}, parents=[FlowState(flow="g", step=1)]),
        profile={"name": "金"},
        fallbacks=2,
    )
    before = new_session()
    session = after(
        before, user_id="u1", status="waiting", config_hash="a" * 64, state=state, updated_at=NOW + 5
    )
    assert await sessions.load("acme", "s1") is None
    await sessions.commit(before, session, turn(), begun=False)
    assert await sessions.load("acme", "s1") == replace(session, stored=True)
    assert await sessions.load("rival", "s1") is None


async def test_a_turn_comes_back_as_it_was(sessions):
    full = turn(
        release_number=7,
        arm="b",
        reply='{"message": "好"}',
        events='[{"type": "text"}]',
        stage="llm",
        score=0.75,
        intent="x",
        outcome="success",
        latency_ms=12.5,
        input_tokens=10,
        output_tokens=3,
        cost_pico=10**15,
        currency="EUR",
        trace_id="t" * 32,
        thumb="up",
        comment="fine",
    )
    assert all(getattr(full, field.name) is not None for field in fields(TurnRecord))
    await sessions.commit(new_session(), after(new_session()), full, begun=False)
    assert await sessions.turn("acme", full.turn_id) == full
    assert await sessions.turn("rival", full.turn_id) is None


async def test_of_two_turns_from_the_same_state_one_is_committed(sessions):
    session = await commit_turns(sessions, 1)
    results = await asyncio.gather(
        *(
            sessions.commit(session, after(session), turn(2, turn_id=f"t{number}"), begun=False)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert all(isinstance(result, PreconditionFailed | DuplicateKey) for result in results if result)
    assert len(await sessions.turns(session, 0, 100)) == 2
    assert (await sessions.load("acme", "s1")).last_seq == 2


async def test_of_two_first_turns_one_is_committed(sessions):
    results = await asyncio.gather(
        *(
            sessions.commit(new_session(), after(new_session()), turn(1, turn_id=f"t{number}"), begun=False)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert all(isinstance(result, DuplicateKey) for result in results if result)
    assert (await sessions.load("acme", "s1")).last_seq == 1


async def test_a_commit_that_fails_writes_nothing_at_all(sessions, keys, database):
    session = await commit_turns(sessions, 1)
    stale = replace(session, last_seq=0)
    await keys.claim(IdempotencyRecord(KEY, "h", "t9", None, NOW + 1), NOW, 0)
    with pytest.raises(PreconditionFailed):
        await sessions.commit(
            stale, after(session), turn(2, turn_id="t9"), begun=False, idempotency=KEY, outbox=[message()]
        )
    assert await sessions.load("acme", "s1") == session
    assert await sessions.turn("acme", "t9") is None
    assert (await keys.find(KEY, 0)).reply is None
    assert await rows(database, "outbox") == []


async def test_a_commit_stores_the_reply_and_the_messages_with_the_turn(sessions, keys, database):
    await keys.claim(IdempotencyRecord(KEY, "h", "t1", None, NOW + 1), NOW, 0)
    record = turn(1, turn_id="t1", reply='{"message": "hi"}')
    await sessions.commit(
        new_session(),
        after(new_session()),
        record,
        begun=False,
        idempotency=KEY,
        outbox=[message(1), message(2)],
    )
    assert (await keys.find(KEY, 0)).reply == '{"message": "hi"}'
    assert len(await rows(database, "outbox")) == 2


async def test_a_commit_whose_key_was_taken_over_is_refused(sessions, keys):
    await keys.claim(IdempotencyRecord(KEY, "h", "other", None, NOW + 1), NOW, 0)
    with pytest.raises(PreconditionFailed):
        await sessions.commit(
            new_session(), after(new_session()), turn(1, turn_id="t1"), begun=False, idempotency=KEY
        )
    assert await sessions.load("acme", "s1") is None


async def test_a_running_turn_takes_the_place_of_the_next(sessions):
    session = await commit_turns(sessions, 1)
    await sessions.begin(session, running(2))
    assert (await sessions.turn("acme", "acme-s1-2")).status == "running"
    assert (await sessions.load("acme", "s1")).last_seq == 1
    with pytest.raises(DuplicateKey):
        await sessions.begin(session, running(2, turn_id="t2"))
    with pytest.raises(DuplicateKey):
        await sessions.commit(session, after(session), turn(2, turn_id="t2"), begun=False)
    assert await sessions.turn("acme", "t2") is None
    await sessions.commit(session, after(session), turn(2, reply='{"a": 1}', intent="x"), begun=True)
    committed = await sessions.turn("acme", "acme-s1-2")
    assert (committed.status, committed.reply, committed.intent) == ("committed", '{"a": 1}', "x")
    assert (await sessions.load("acme", "s1")).last_seq == 2


async def test_the_first_turn_of_a_session_may_begin_too(sessions):
    before = new_session()
    await sessions.begin(before, running(1))
    stored = await sessions.load("acme", "s1")
    assert (stored.last_seq, stored.message_count) == (0, 0)
    await sessions.commit(before, after(before), turn(1), begun=True)
    assert (await sessions.load("acme", "s1")).message_count == 2


async def test_a_turn_begins_only_where_the_session_still_is(sessions):
    session = await commit_turns(sessions, 2)
    with pytest.raises(PreconditionFailed):
        await sessions.begin(replace(session, last_seq=1), running(2, turn_id="late"))
    with pytest.raises(PreconditionFailed):
        await sessions.begin(replace(session, epoch=9), running(3, turn_id="late"))
    assert await sessions.turn("acme", "late") is None


async def test_a_failed_turn_has_no_place_and_the_next_one_takes_it(sessions):
    session = await commit_turns(sessions, 1)
    await sessions.begin(session, running(2))
    cancelled = ended(2, "cancelled", committed_at=NOW + 5, input_tokens=7, cost_pico=9)
    await sessions.fail(session, cancelled, begun=True)
    assert await sessions.turn("acme", "acme-s1-2") == cancelled
    with pytest.raises(PreconditionFailed):
        await sessions.commit(session, after(session), turn(2), begun=True)
    await sessions.begin(session, running(2, turn_id="t2"))
    await sessions.commit(session, after(session), turn(2, turn_id="t2"), begun=True)
    await sessions.begin(replace(after(session), stored=True), running(3))
    await sessions.fail(after(session), ended(3, "failed"), begun=True)
    history = await sessions.turns(session, 0, 100)
    assert [record.seq for record in history] == [1, 2]


async def test_failing_a_committed_turn_changes_nothing(sessions):
    session = await commit_turns(sessions, 1)
    await sessions.fail(session, ended(1, "failed"), begun=True)
    await sessions.fail(session, ended(1, "failed", tenant="rival"), begun=True)
    assert [record.status for record in await sessions.turns(session, 0, 10)] == ["committed"]


async def test_a_turn_that_had_not_begun_is_kept_only_where_its_session_still_is(sessions):
    first = ended(1, "cancelled", input_tokens=7)
    await sessions.fail(new_session(), first, begun=False)
    assert await sessions.turn("acme", first.turn_id) == first
    session = await sessions.load("acme", "s1")
    assert (session.last_seq, session.message_count) == (0, 0)
    with pytest.raises(DuplicateKey):
        await sessions.fail(new_session(), ended(1, "failed", turn_id="t2"), begun=False)
    await sessions.commit(session, after(session), turn(1, turn_id="t3"), begun=False)
    late = ended(1, "failed", turn_id="t4")
    with pytest.raises(PreconditionFailed):
        await sessions.fail(session, late, begun=False)
    assert await sessions.turn("acme", "t4") is None


async def test_who_was_taken_over_ends_nothing_of_the_turn_under_the_same_id(sessions):
    session = await commit_turns(sessions, 1)
    first, second = running(2), running(2, owner="b")
    await sessions.begin(session, first)
    await sessions.retake("acme", first.turn_id, NOW)
    assert await sessions.turn("acme", first.turn_id) == first, "it is alive"
    await sessions.retake("rival", first.turn_id, NOW + 1)
    assert await sessions.turn("acme", first.turn_id) == first
    await sessions.retake("acme", first.turn_id, NOW + 1)
    await sessions.begin(session, second)
    await sessions.heartbeat(first, NOW + 99)
    await sessions.fail(session, ended(2, "failed"), begun=True)
    with pytest.raises(PreconditionFailed):
        await sessions.commit(session, after(session), turn(2), begun=True)
    assert await sessions.turn("acme", first.turn_id) == second
    await sessions.commit(session, after(session), turn(2, owner="b"), begun=True)
    await sessions.retake("acme", first.turn_id, NOW + 1)
    assert (await sessions.turn("acme", first.turn_id)).status == "committed"


async def test_it_is_known_how_long_ago_a_running_turn_was_alive(sessions):
    session = await commit_turns(sessions, 1)
    assert await sessions.running_since(session) is None
    record = running(2)
    await sessions.begin(session, record)
    await sessions.heartbeat(record, NOW + 77)
    assert await sessions.running_since(session) == NOW + 77
    assert await sessions.running_since(replace(session, epoch=2)) is None
    assert await sessions.running_since(replace(session, tenant="rival")) is None


async def test_only_a_turn_without_a_heartbeat_is_given_up(sessions):
    session = await commit_turns(sessions, 1)
    await sessions.begin(session, running(2))
    assert not await sessions.abandon(session, NOW, NOW + 9)
    await sessions.heartbeat(running(2), NOW + 500)
    assert not await sessions.abandon(session, NOW + 500, NOW + 9)
    assert not await sessions.abandon(replace(session, tenant="rival"), NOW + 900, NOW + 9)
    assert not await sessions.abandon(replace(session, epoch=2), NOW + 900, NOW + 9)
    assert await sessions.abandon(session, NOW + 501, NOW + 9)
    assert not await sessions.abandon(session, NOW + 501, NOW + 9)
    given_up = await sessions.turn("acme", "acme-s1-2")
    assert (given_up.status, given_up.seq, given_up.heartbeat_at) == ("failed", None, NOW + 500)
    await sessions.heartbeat(running(2), NOW + 999)
    assert (await sessions.turn("acme", "acme-s1-2")).heartbeat_at == NOW + 500


async def test_history_comes_in_order_from_any_position_over_all_epochs(sessions):
    session = await commit_turns(sessions, 3)
    renewed = session.renewed(NOW, 1000)
    later = turn(1, epoch=2, first_message=7, turn_id="e2")
    await sessions.commit(session, after(renewed), later, begun=False)
    session = await sessions.load("acme", "s1")
    assert (session.epoch, session.last_seq, session.message_count) == (2, 1, 8)

    async def positions(after_message, limit=100):
        return [record.first_message for record in await sessions.turns(session, after_message, limit)]

    assert await positions(0) == [1, 3, 5, 7]
    assert await positions(0, 2) == [1, 3]
    assert await positions(3) == [3, 5, 7]
    assert await positions(4) == [5, 7]
    assert await positions(8) == []
    recent = await sessions.recent_turns(session, 10)
    assert [record.turn_id for record in recent] == ["e2"]
    first_epoch = replace(session, epoch=1)
    assert [record.seq for record in await sessions.recent_turns(first_epoch, 2)] == [2, 3]
    assert await sessions.recent_turns(first_epoch, 0) == []


async def test_tenants_and_sessions_are_apart(sessions):
    await commit_turns(sessions, 2)
    rival = await commit_turns(sessions, 1, tenant="rival")
    other = await commit_turns(sessions, 1, session_id="s2")
    assert [record.turn_id for record in await sessions.turns(rival, 0, 10)] == ["rival-s1-1"]
    await sessions.delete(other, erasure(tenant=other.tenant), NOW)
    assert (await sessions.load("acme", "s1")).message_count == 2 * 2
    assert (await sessions.load("rival", "s1")).message_count == 2


async def test_deleting_leaves_an_epoch_and_nothing_else(sessions, keys, tasks, database):
    await keys.claim(IdempotencyRecord(KEY, "h", "t1", None, NOW + 1), NOW, 0)
    start = new_session(user_id="u1", state=SessionState(profile={"name": "planted"}))
    await sessions.commit(
        start, after(start), turn(1, turn_id="t1", user_text="planted"), begun=False, idempotency=KEY
    )
    of_task = replace(KEY, key="k2")
    await tasks.add(task(request="planted"), IdempotencyRecord(of_task, "h", "task1", "planted", NOW))
    await tasks.add(task(2, session_id="s2"))
    session = await sessions.load("acme", "s1")
    outbox = [message(number, session_id=name, payload="planted") for number, name in ((1, "s1"), (2, "s2"))]
    timers = TimerSet("acme", "s1", 1, 2, NOW, "planted")
    await sessions.commit(session, after(session), turn(2), begun=False, outbox=outbox, timers=timers)
    session = await sessions.load("acme", "s1")
    await sessions.begin(session, running(3, user_text="planted"))

    with pytest.raises(PreconditionFailed):
        await sessions.delete(replace(session, last_seq=0), erasure(), NOW + 7)
    assert len(await rows(database, "turns")) == 3
    await sessions.delete(session, erasure(), NOW + 7)

    left = await sessions.load("acme", "s1")
    assert (left.status, left.epoch, left.last_seq, left.message_count) == ("deleted", 2, 0, 0)
    assert (left.user_id, left.config_hash, left.state, left.expires_at) == (
        None,
        None,
        SessionState(),
        NOW + 7,
    )
    assert await rows(database, "turns") == []
    assert await rows(database, "idempotency") == []
    assert [row["task_id"] for row in await rows(database, "tasks")] == ["task2"]
    assert [row["message_id"] for row in await rows(database, "outbox")] == ["m2"]
    assert await rows(database, "timers") == []
    assert [row["erasure_id"] for row in await rows(database, "erasures")] == ["erasure1"]
    assert "planted" not in repr([await rows(database, name) for name in ("sessions", "turns", "tasks")])
    with pytest.raises(PreconditionFailed):
        await sessions.commit(session, after(session), turn(3), begun=True)
    with pytest.raises(PreconditionFailed):
        await sessions.commit(session, after(session), turn(3), begun=False)


async def test_live_sessions_are_counted_by_tenant(sessions):
    await commit_turns(sessions, 1)
    await commit_turns(sessions, 1, session_id="s2", expires_at=NOW + 9000)
    await commit_turns(sessions, 1, tenant="rival")
    await sessions.delete(await commit_turns(sessions, 1, session_id="s3"), erasure(), NOW)
    assert (await sessions.count("acme", NOW), await sessions.count("acme", NOW + 5000)) == (2, 1)
    assert (await sessions.count("rival", NOW), await sessions.count("third", NOW)) == (1, 0)


async def test_feedback_is_the_last_one_given(sessions):
    await commit_turns(sessions, 1)
    await sessions.feedback("acme", "acme-s1-1", "up", "")
    await sessions.feedback("acme", "acme-s1-1", "down", "too 'slow'")
    await sessions.feedback("rival", "acme-s1-1", "up", "not theirs")
    stored = await sessions.turn("acme", "acme-s1-1")
    assert (stored.thumb, stored.comment) == ("down", "too 'slow'")


async def test_one_of_fifty_claims_wins_and_all_learn_who(keys):
    claims = [IdempotencyRecord(KEY, "hash", f"t{number}", None, NOW + 1000) for number in range(50)]
    held = await asyncio.gather(*(keys.claim(claim, NOW, 0) for claim in claims))
    winners = {record.target_id for record, _ in held}
    assert len(winners) == sum(taken for _, taken in held) == 1
    assert (await keys.find(KEY, 0)).target_id in winners


async def test_a_claim_shows_another_body_and_a_reply_that_is_there(keys, sessions):
    first = IdempotencyRecord(KEY, "hash", "t1", None, NOW + 1000)
    assert await keys.claim(first, NOW, 0) == (first, True)
    other = replace(first, request_hash="other", target_id="t2")
    assert await keys.claim(other, NOW, 0) == (first, False)
    await sessions.commit(
        new_session(), after(new_session()), turn(1, turn_id="t1", reply="R"), begun=False, idempotency=KEY
    )
    record, taken = await keys.claim(replace(first, target_id="t3"), NOW + 5000, 0)
    assert (record.reply, taken) == ("R", False)


async def test_an_abandoned_claim_is_taken_over_by_one_with_the_same_body(keys):
    first = IdempotencyRecord(KEY, "hash", "t1", None, NOW + 1000)
    await keys.claim(first, NOW, 0)
    second = replace(first, target_id="t2", locked_until=NOW + 9000)
    assert await keys.claim(second, NOW + 1000, 0) == (first, False)
    stranger = replace(second, request_hash="other", target_id="t9")
    assert await keys.claim(stranger, NOW + 1001, 0) == (first, False)
    heirs = [replace(second, target_id=f"h{number}") for number in range(10)]
    held = await asyncio.gather(*(keys.claim(heir, NOW + 1001, 0) for heir in heirs))
    assert sum(taken for _, taken in held) == 1
    assert {record for record, _ in held} == {replace(first, locked_until=NOW + 9000)}
    # Whose claim was taken over neither prolongs it nor gives it up.
    assert not await keys.keep(KEY, "t1", NOW + 1000, NOW + 30_000)
    await keys.forget(KEY, "t1", NOW + 1000)
    assert await keys.keep(KEY, "t1", NOW + 9000, NOW + 20_000)
    assert (await keys.find(KEY, 0)).locked_until == NOW + 20_000


async def test_a_key_whose_time_is_over_is_another_one(keys):
    first = IdempotencyRecord(KEY, "hash", "t1", None, NOW + 1000)
    await keys.claim(first, NOW, 0)
    later = replace(first, request_hash="other", target_id="t2")
    assert await keys.claim(later, NOW + 10, NOW) == (first, False)
    assert await keys.claim(later, NOW + 10, NOW + 1) == (later, True)


async def test_claims_belong_to_tenant_subject_route_and_key(keys):
    first = IdempotencyRecord(KEY, "hash", "t0", None, NOW + 1000)
    await keys.claim(first, NOW, 0)
    for number, change in enumerate(
        ({"tenant": "rival"}, {"subject": "key:2"}, {"route": "async"}, {"key": "k2"}), 1
    ):
        own = replace(first, name=replace(KEY, **change), target_id=f"t{number}")
        assert await keys.claim(own, NOW, 0) == (own, True)
    assert (await keys.find(KEY, 0)).target_id == "t0"


async def test_only_its_owner_forgets_a_claim_and_never_a_reply(keys, sessions):
    first = IdempotencyRecord(KEY, "hash", "t1", None, NOW + 1000)
    await keys.claim(first, NOW, 0)
    await keys.forget(KEY, "t2", NOW + 1000)
    assert await keys.find(KEY, 0) == first
    await keys.forget(KEY, "t1", NOW + 1000)
    assert await keys.find(KEY, 0) is None
    await keys.claim(first, NOW, 0)
    await sessions.commit(
        new_session(), after(new_session()), turn(1, turn_id="t1"), begun=False, idempotency=KEY
    )
    await keys.forget(KEY, "t1", NOW + 1000)
    assert (await keys.find(KEY, 0)).reply == "{}"


async def test_old_claims_are_pruned(keys):
    await keys.claim(IdempotencyRecord(KEY, "h", "t1", None, NOW), NOW, 0)
    newer = replace(KEY, key="k2")
    await keys.claim(IdempotencyRecord(newer, "h", "t2", None, NOW), NOW + 10, 0)
    old = [replace(KEY, key=f"old{number}") for number in range(4)]
    for name in old:
        await keys.claim(IdempotencyRecord(name, "h", name.key, None, NOW), NOW, 0)
    assert [await keys.prune(NOW + 10, 3) for _ in range(3)] == [3, 2, 0]
    assert await keys.find(KEY, 0) is None
    assert await keys.find(newer, 0) is not None
