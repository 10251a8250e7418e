"""Timers: fired in silence, in the session's order, once; cancelled by the user's next message."""

import asyncio
import json
from typing import Any

import pytest
from support.workflow_stage import ALICE, CONFIG, Stage, flow_waits, rows_of

from signalbox.workflow.session_log import session_log_name
from signalbox.workflow.timers import firing

WEBHOOK = {"url": "http://crm/idle", "secret": "secret:crm"}
TIMERS: list[dict[str, Any]] = [
    {"id": "there", "delay_seconds": 60, "max_triggers": 2, "reply": {"en": "Still there?", "zh": "还在吗?"}},
    {"id": "end", "delay_seconds": 300, "action": "close"},
]


def with_timers(*timers: dict[str, Any], **policies: Any) -> dict[str, Any]:
    """The config with timers, and an action that tells another system."""
    actions = [*CONFIG["actions"], {"id": "tell", "type": "webhook", "silent": True, "webhook": WEBHOOK}]
    return {**CONFIG, "timers": list(timers), "actions": actions, "policies": policies}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Moves the ticker's clock; turns of users keep the real one."""
    real = firing.now_ms

    def move(seconds: float) -> None:
        monkeypatch.setattr(firing, "now_ms", lambda: real() + int(seconds * 1000))

    return move


async def history(stage: Stage, session_id: str = "s1") -> list[tuple[int, str, str]]:
    view = await stage.views.session(ALICE, session_id, None, 0, 100)
    assert view.message_count == len(view.messages)
    return [(message.seq, message.role, message.text) for message in view.messages]


async def test_a_silent_user_is_asked_as_often_as_the_timer_says_and_then_no_more(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("are you open?")
    before = await stage.store.load("acme", "s1")
    assert await stage.timers.fire_due() == 0
    for seconds in (61, 122):
        clock(seconds)
        assert await stage.timers.fire_due() == 1
        assert await stage.timers.fire_due() == 0
    clock(100_000)
    assert await stage.timers.fire_due() == 0
    assert await rows_of(stage.database, "workflow_timers") == []
    assert await history(stage) == [
        (1, "user", "are you open?"),
        (2, "assistant", "Hello!\n\nFrom 9 to 17."),
        (3, "assistant", "Still there?"),
        (4, "assistant", "Still there?"),
    ]
    turns = await stage.turns()
    assert [(turn["seq"], turn["kind"]) for turn in turns] == [(1, "message"), (2, "timer"), (3, "timer")]
    session = await stage.store.load("acme", "s1")
    assert session.expires_at == before.expires_at


async def test_what_a_timer_says_is_in_the_log_of_its_session_under_its_place_in_the_history(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("你们营业吗?")
    clock(61)
    await stage.timers.fire_due()
    [(number, raw)] = await stage.cache.logs.read(session_log_name("acme", "s1"), 0)
    event = json.loads(raw)
    assert (number, event["type"]) == (3, "message")
    assert (event["data"]["text"], event["data"]["role"]) == ("还在吗?", "assistant")
    assert event["data"]["turn_id"] == (await stage.turns())[1]["turn_id"]


async def test_the_next_message_cancels_what_was_set_and_sets_it_anew(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("are you open?")
    [old] = await stage.timer_store.take_due(2**62, 2**62, 10)
    await stage.ask("are you open?")
    # Another replica took the timers just before the message came.
    await stage.timers._fire(old, firing.now_ms())
    assert len(await history(stage)) == 4
    clock(61)
    assert await stage.timers.fire_due() == 1
    assert [text for _, _, text in await history(stage)][4:] == ["Still there?"]


async def test_timers_of_one_session_fire_in_their_order_and_closing_ends_them(stage, clock):
    stage.releases.publish(with_timers(*TIMERS, {"id": "late", "delay_seconds": 600, "reply": "Never said."}))
    await stage.ask("are you open?")
    for seconds in (61, 122, 301, 601):
        clock(seconds)
        await stage.timers.fire_due()
    texts = [text for _, _, text in await history(stage)]
    assert texts[2:] == ["Still there?", "Still there?", "Goodbye."]
    assert (await stage.store.load("acme", "s1")).status == "closed"
    assert await rows_of(stage.database, "workflow_timers") == []


async def test_of_two_replicas_that_took_the_same_timer_one_fires_it(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("are you open?")
    other = stage.replica()
    clock(61)
    now = firing.now_ms()
    [taken] = await stage.timer_store.take_due(now, now, 10)
    await asyncio.gather(*(each.timers._fire(taken, now) for each in (stage, other, stage, other)))
    assert len(await history(stage)) == 3
    await other.close()


async def test_a_timer_whose_replica_died_comes_again(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("are you open?")
    clock(61)
    now = firing.now_ms()
    assert len(await stage.timer_store.take_due(now, now + firing._AGAIN_MS, 10)) == 1
    assert await stage.timers.fire_due() == 0
    clock(61 + 16)
    assert await stage.timers.fire_due() == 1
    assert len(await history(stage)) == 3


async def test_a_silent_action_is_taken_with_its_turn_and_says_nothing(stage, clock):
    stage.releases.publish(with_timers({"id": "t", "delay_seconds": 5, "action": "tell"}))
    await stage.ask("are you open?")
    clock(6)
    await stage.timers.fire_due()
    [message] = await rows_of(stage.database, "workflow_outbox")
    turn = (await stage.turns())[1]
    assert json.loads(message["payload"])["data"]["turn_id"] == turn["turn_id"]
    assert (message["session_id"], turn["kind"]) == ("s1", "timer")
    assert len(await history(stage)) == 2
    await stage.ask("are you open?")
    assert [seq for seq, _, _ in await history(stage)] == [1, 2, 3, 4]


async def test_an_open_flow_stays_open(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    stage.flows.answers = [flow_waits()]
    await stage.ask("order 5")
    clock(61)
    await stage.timers.fire_due()
    session = await stage.store.load("acme", "s1")
    assert (session.status, session.state.flow.flow) == ("waiting", "track")
    reply = await stage.ask("the second")
    assert reply.decision.stage == "flow"


async def test_nobody_is_asked_whose_session_has_expired_was_closed_or_has_a_person(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0], session_ttl_seconds=60))
    await stage.ask("are you open?", "expired")
    await stage.ask("are you open?", "closed")
    await stage.ask("bye", "closed")
    await stage.ask("person", "handed")
    clock(61)
    assert await stage.timers.fire_due() == 2
    for session in ("expired", "closed", "handed"):
        assert "Still there?" not in [text for _, _, text in await history(stage, session)]
    assert await rows_of(stage.database, "workflow_timers") == []


async def test_a_timer_that_the_config_no_longer_has_is_over(stage, clock):
    stage.releases.publish(with_timers(TIMERS[0]))
    await stage.ask("are you open?")
    stage.releases.publish()
    clock(61)
    await stage.timers.fire_due()
    assert len(await history(stage)) == 2
    assert await rows_of(stage.database, "workflow_timers") == []


async def test_models_are_shown_what_a_timer_said_without_a_message_before_it(stage, clock):
    config = with_timers(TIMERS[0])
    stage.releases.publish({**config, "policies": {"fallback": {"skill": "advisor"}}})
    await stage.ask("are you open?")
    clock(61)
    await stage.timers.fire_due()
    await stage.ask("hm")
    shown = [(message.role, message.text) for message in stage.skills.asked[-1].history]
    assert shown[1:] == [("assistant", "Hello!\n\nFrom 9 to 17."), ("assistant", "Still there?")]
