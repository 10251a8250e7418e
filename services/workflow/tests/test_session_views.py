"""What clients see of sessions and turns, and what they may do to them."""

import asyncio
import json

import pytest
from support.workflow_stage import (
    ALICE,
    BOB,
    CONFIG,
    RIVAL,
    Gate,
    flow_result,
    flow_waits,
    rows_of,
    without,
)

from signalbox.common.storage import PreconditionFailed
from signalbox.contracts.identity import Scope
from signalbox.contracts.query import FeedbackRequest, QueryRequest
from signalbox.workflow import views
from signalbox.workflow.errors import EventsGone, SessionBusy, SessionNotFound, TurnNotFound

READER = BOB.model_copy(update={"scopes": frozenset({Scope.SESSIONS_READ})})


async def view(stage, principal=ALICE, session_id="s1", user_id=None, after=0, limit=100):
    return await stage.views.session(principal, session_id, user_id, after, limit)


async def running(stage, message="where is order 1?", session_id="s1"):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    started = await stage.queries.stream(ALICE, QueryRequest(message=message, session_id=session_id), None)
    await asyncio.wait_for(gate.reached.wait(), 5)
    return gate, started


async def test_a_session_shows_where_it_stands(stage):
    stage.flows.answers = [flow_waits("Which?")]
    reply = await stage.ask("where is order 1?")
    shown = await view(stage)
    assert (shown.session_id, shown.agent_id, shown.message_count) == ("s1", "shop", 2)
    state = shown.workflow_state
    assert (state.status, state.need_greeting) == ("waiting", False)
    assert state.config_hash == stage.releases.release("acme", "shop").config_hash
    assert [(message.seq, message.role, message.text) for message in shown.messages] == [
        (1, "user", "where is order 1?"),
        (2, "assistant", "Hello!\n\nWhich?"),
    ]
    assert {message.turn_id for message in shown.messages} == {reply.turn_id}
    assert shown.expires_at - shown.created_at >= 3_600_000


async def test_messages_come_by_page_in_order_without_gap(stage):
    for number in range(7):
        await stage.ask(f"are you open? {number}")
    for limit in (1, 2, 3, 5, 14, 100):
        seen, after = [], 0
        while True:
            page = await view(stage, after=after, limit=limit)
            assert len(page.messages) <= limit
            seen += page.messages
            if page.next_after is None:
                break
            after = page.next_after
        assert [message.seq for message in seen] == list(range(1, 15))
        assert [message.role for message in seen] == ["user", "assistant"] * 7
    assert (await view(stage, after=99)).messages == []


async def test_an_expired_session_needs_a_greeting_again(stage, monkeypatch):
    await stage.ask("are you open?")
    later = (await view(stage)).expires_at + 1
    monkeypatch.setattr(views, "now_ms", lambda: later)
    state = (await view(stage)).workflow_state
    assert (state.need_greeting, state.status) == (True, "active")


async def test_to_all_others_there_is_no_session(stage):
    reply = await stage.ask("are you open?")
    for principal in (BOB, RIVAL, RIVAL.model_copy(update={"scopes": frozenset(Scope)})):
        with pytest.raises(SessionNotFound):
            await view(stage, principal)
        with pytest.raises(SessionNotFound):
            await stage.views.delete(principal, "s1", None)
        with pytest.raises(TurnNotFound):
            await stage.views.turn(principal, reply.turn_id, None)
        with pytest.raises(TurnNotFound):
            await stage.views.feedback(principal, reply.turn_id, None, FeedbackRequest(thumb="up"))
        with pytest.raises(TurnNotFound):
            await stage.views.cancel(principal, reply.turn_id, None)
    with pytest.raises(SessionNotFound):
        await view(stage, session_id="never")
    assert (await view(stage, READER)).message_count == 2
    elsewhere = READER.model_copy(update={"workflows": frozenset({"hr"})})
    with pytest.raises(SessionNotFound):
        await view(stage, elsewhere)


async def test_a_committed_turn_has_its_reply(stage):
    reply = await stage.ask("are you open?")
    shown = await stage.views.turn(ALICE, reply.turn_id, None)
    assert (shown.status, shown.seq, shown.reply) == ("committed", 1, reply)
    assert shown.committed_at >= shown.created_at
    with pytest.raises(TurnNotFound):
        await stage.views.turn(ALICE, "turn_never", None)


async def test_a_running_turn_is_seen_from_every_replica_by_its_owner_alone(stage):
    gate, started = await running(stage)
    for replica in (stage, stage.replica()):
        shown = await replica.views.turn(ALICE, started.turn_id, None)
        assert (shown.status, shown.session_id, shown.seq, shown.reply) == ("running", "s1", 1, None)
        assert (await replica.views.turn(READER, started.turn_id, None)).status == "running"
        for other in (BOB, RIVAL):
            with pytest.raises(TurnNotFound):
                await replica.views.turn(other, started.turn_id, None)
    gate.open.set()
    await started.task
    assert (await stage.views.turn(ALICE, started.turn_id, None)).status == "committed"


async def test_a_turn_in_a_session_that_was_someone_elses_is_its_own(stage):
    await stage.ask("are you open?", principal=BOB)
    await stage.views.delete(BOB, "s1", None)
    gate, started = await running(stage)
    assert (await stage.views.turn(ALICE, started.turn_id, None)).status == "running"
    with pytest.raises(TurnNotFound):
        await stage.views.turn(BOB, started.turn_id, None)
    gate.open.set()
    await started.task


async def test_a_turn_that_failed_does_not_look_as_if_it_ran(stage):
    stage.flows.answers = [KeyError("bug")]
    request = QueryRequest(message="where is order 1?", session_id="s1")
    started = await stage.queries.stream(ALICE, request, None)
    with pytest.raises(Exception, match="went wrong"):
        await started.task
    assert (await stage.views.turn(ALICE, started.turn_id, None)).status == "failed"


async def events(stage, turn_id, after=0):
    return [item async for item in stage.events.resume("acme", turn_id, after) if item is not None]


async def test_a_stream_is_resumed_on_any_replica_at_any_event(stage):
    whole = await stage.stream("are you open?")
    turn_id = whole[0]["data"]["turn_id"]
    other = stage.replica()
    for after in range(len(whole)):
        rest = await events(other, turn_id, after)
        assert [{"id": number, **json.loads(raw)} for number, raw in rest] == whole[after:]


async def test_a_resumed_stream_follows_a_turn_that_still_runs(stage):
    gate, started = await running(stage)
    following = asyncio.create_task(events(stage.replica(), started.turn_id))
    await asyncio.sleep(0)
    gate.open.set()
    received = await asyncio.wait_for(following, 5)
    assert [number for number, _ in received] == list(range(1, len(received) + 1))
    assert json.loads(received[-1][1])["type"] == "complete"


async def test_events_that_are_no_longer_kept_are_gone(stage):
    with pytest.raises(EventsGone) as gone:
        await stage.events.check_resumable("acme", "turn_x", 0)
    assert (gone.value.status, gone.value.code) == (410, "events_gone")
    assert "turn_x" in gone.value.detail
    with pytest.raises(EventsGone):
        await events(stage, "turn_x")


async def test_cancelling_a_turn_that_has_ended_changes_nothing(stage):
    reply = await stage.ask("are you open?")
    assert (await stage.views.cancel(ALICE, reply.turn_id, None)).status == "committed"


async def test_a_thumb_is_kept(stage):
    reply = await stage.ask("are you open?")
    await stage.views.feedback(ALICE, reply.turn_id, None, FeedbackRequest(thumb="down", comment="太慢"))
    [turn] = await stage.turns()
    assert (turn["thumb"], turn["comment"]) == ("down", "太慢")


PLANTED = "xyzzy-planted"


async def everything(stage):
    tables = ("sessions", "turns", "idempotency", "tasks", "outbox")
    rows = [row for table in tables for row in await rows_of(stage.database, f"workflow_{table}")]
    return json.dumps(rows, ensure_ascii=False)


async def test_delete_leaves_nothing_of_what_was_said(stage):
    stage.flows.answers = [flow_waits(f"Which {PLANTED}?")]
    await stage.ask(f"my name is {PLANTED.replace('-', '_')}", key="k1")
    await stage.ask(f"where is order 1? {PLANTED}", metadata={"note": PLANTED})
    await stage.ask(f"{PLANTED}", "other")
    assert (await everything(stage)).count(PLANTED) > 3
    await stage.views.delete(ALICE, "s1", None)
    await stage.views.delete(ALICE, "other", None)
    left = await everything(stage)
    assert PLANTED not in left
    assert PLANTED.replace("-", "_") not in left
    with pytest.raises(SessionNotFound):
        await view(stage)
    with pytest.raises(SessionNotFound):
        await stage.views.delete(ALICE, "s1", None)


async def test_a_deleted_session_starts_afresh_for_whoever_comes_first(stage):
    await stage.ask("my name is Kim", key="k1")
    await stage.views.delete(ALICE, "s1", None)
    reply = await stage.ask("are you open?", principal=BOB)
    assert reply.greeting == "Hello!"
    shown = await view(stage, BOB)
    assert shown.messages[0].text == "are you open?"
    session = await stage.store.load("acme", "s1")
    assert (session.subject, session.state.profile) == ("key:bob", {})
    assert session.epoch > 1
    with pytest.raises(SessionNotFound):
        await view(stage, ALICE)


async def test_the_turn_of_a_deleted_session_cannot_be_read_from_its_log(stage):
    whole = await stage.stream("are you open?")
    await stage.views.delete(ALICE, "s1", None)
    with pytest.raises(TurnNotFound):
        await stage.views.turn(ALICE, whole[0]["data"]["turn_id"], None)


async def test_a_session_that_keeps_moving_is_not_deleted_by_halves(stage):
    await stage.ask("are you open?")

    async def moved(*args):
        raise PreconditionFailed(0)

    stage.store.delete = moved
    with pytest.raises(SessionBusy):
        await stage.views.delete(ALICE, "s1", None)
    assert (await view(stage)).message_count == 2


async def test_health_counts_live_sessions_for_those_who_may_know(stage, monkeypatch):
    assert (await stage.views.health(None)).model_dump(exclude_none=True) == {"status": "healthy"}
    for name in ("s1", "s2", "s3"):
        await stage.ask("are you open?", name)
    await stage.views.delete(ALICE, "s3", None)
    shown = await stage.views.health(ALICE)
    assert (shown.status, shown.sessions_count) == ("healthy", 2)
    assert shown.config_hash == stage.releases.release("acme", None).config_hash
    assert (await stage.views.health(RIVAL)).sessions_count == 0
    await stage.ask("are you open?", "s4")
    assert (await stage.views.health(ALICE)).sessions_count == 2
    later = views.time.monotonic() + 11
    monkeypatch.setattr(views.time, "monotonic", lambda: later)
    assert (await stage.views.health(ALICE)).sessions_count == 3


async def test_without_a_greeting_there_is_none(stage):
    stage.releases.publish(without(CONFIG, "greeting"))
    reply = await stage.ask("are you open?")
    assert (reply.greeting, reply.message) == (None, "From 9 to 17.")
