"""Turns that go well: what is answered, what is stored, and what the session is afterwards."""

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
    skill_says,
    understood,
    with_policies,
)

from signalbox.common.errors import Forbidden
from signalbox.common.snapshots.feed import NoRelease
from signalbox.contracts.events import UsageData, UsageEvent
from signalbox.contracts.identity import Scope
from signalbox.contracts.query import LinkPart, QueryRequest
from signalbox.contracts.work import EventFrame, ToolCallReply, ToolError
from signalbox.workflow import turn as turn_module
from signalbox.workflow import turn_state
from signalbox.workflow.errors import SessionNotFound


async def session_of(stage, session_id="s1", tenant="acme"):
    return await stage.store.load(tenant, session_id)


async def test_the_greeting_comes_once_before_the_answer_and_never_instead(stage):
    first = await stage.ask("when are you open?")
    assert (first.greeting, first.message) == ("Hello!", "Hello!\n\nFrom 9 to 17.")
    second = await stage.ask("when are you open?")
    assert (second.greeting, second.message) == (None, "From 9 to 17.")
    other = await stage.ask("when are you open?", "s2")
    assert other.greeting == "Hello!"


async def test_a_rule_answers_and_the_turn_is_stored_with_what_it_did(stage):
    reply = await stage.ask("are you open?")
    assert (reply.status, reply.agent_id, reply.language) == ("success", "shop", "en")
    assert (reply.decision.stage, reply.decision.intent, reply.decision.score) == ("rule", "hours", 1.0)
    [turn] = await stage.turns()
    assert turn["turn_id"] == reply.turn_id
    assert (turn["seq"], turn["status"], turn["outcome"]) == (1, "committed", "success")
    assert (turn["stage"], turn["intent"], turn["release_number"]) == ("rule", "hours", 1)
    assert (turn["user_text"], json.loads(turn["reply"])["message"]) == ("are you open?", reply.message)
    assert [event["type"] for event in json.loads(turn["events"])] == ["start", "intent", "text"]
    assert turn["latency_ms"] > 0
    assert turn["cost_pico"] is None
    session = await session_of(stage)
    assert (session.last_seq, session.message_count, session.status) == (1, 2, "active")


async def test_everything_is_committed_before_complete_is_said(stage):
    seen = []
    commit = stage.store.commit

    async def committing(*args, **kwargs):
        seen.append([event["type"] for event in log])
        await commit(*args, **kwargs)

    stage.store.commit = committing
    log = []
    request = QueryRequest(message="are you open?", session_id="s1")
    started = await stage.queries.stream(ALICE, request, None)
    async for _, raw in started.log.follow():
        log.append(json.loads(raw))
        if log[-1]["type"] == "complete":
            assert len(await stage.turns()) == 1
    assert len(seen) == 1
    assert "complete" not in seen[0]
    assert log[-1]["type"] == "complete"


async def test_a_streamed_turn_is_the_same_turn(stage):
    events = await stage.stream("are you open?")
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events] == ["start", "intent", "text", "complete"]
    complete = events[-1]["data"]
    text = "".join(event["data"]["delta"] for event in events if event["type"] == "text")
    assert text == complete["message"] == "Hello!\n\nFrom 9 to 17."
    [turn] = await stage.turns()
    kept = json.loads(turn["events"])
    assert [event["type"] for event in kept] == ["start", "intent", "text"]
    assert kept[-1]["data"]["delta"] == text


async def test_start_is_sent_before_a_model_is_asked(stage):
    gate = Gate()
    stage.gateway.answers = [gate, understood("hours")]
    request = QueryRequest(message="tell me something", session_id="s1")
    started = await stage.queries.stream(ALICE, request, None)
    events = started.log.follow()
    first = json.loads((await anext(events))[1])
    assert (first["type"], first["data"]["turn_id"]) == ("start", started.turn_id)
    assert not gate.open.is_set()
    gate.open.set()
    await started.task


async def test_the_language_is_the_messages(stage):
    reply = await stage.ask("你们几点营业?")
    assert (reply.language, reply.message) == ("zh", "您好!\n\n九点到五点。")
    assert (await stage.ask("1", language="en")).language == "en"
    assert (await session_of(stage)).state.language == "en"


async def test_a_flow_gets_what_the_rule_found_and_its_parts_reach_the_client(stage):
    link = LinkPart(url="http://carrier/42")
    stage.flows.answers = [flow_result("It is on its way.", parts=[link])]
    reply = await stage.ask("where is order 1042?", user_id="ignored")
    assert (reply.status, reply.parts) == ("success", [link])
    assert reply.message.endswith("It is on its way.")
    [request] = stage.flows.asked
    assert (request.flow, request.arguments, request.message) == (
        "track",
        {"order_id": 1042},
        "where is order 1042?",
    )
    context = request.context
    assert (context.tenant, context.subject, context.session_id) == ("acme", "key:alice", "s1")
    assert (context.turn_id, context.epoch, context.user_id) == (reply.turn_id, 1, None)


async def test_a_flow_waits_resumes_and_ends(stage):
    stage.flows.answers = [flow_waits("Which parcel?"), flow_waits("Sure?"), flow_result("Done.")]
    waiting = await stage.ask("where is order 1?")
    assert (waiting.status, (await session_of(stage)).status) == ("waiting", "waiting")
    again = await stage.ask("the second")
    assert (again.status, again.decision.stage) == ("waiting", "flow")
    assert stage.flows.asked[1].state.asked == "which"
    done = await stage.ask("yes")
    assert (done.status, done.message) == ("success", "Done.")
    session = await session_of(stage)
    assert (session.status, session.state.flow, session.config_hash) == ("active", None, None)
    assert (await stage.ask("are you open?")).decision.stage == "rule"


async def test_an_open_flow_keeps_the_snapshot_that_it_began_with(stage):
    first_hash = stage.releases.release("acme", "shop").config_hash
    stage.flows.answers = [flow_waits(), flow_result()]
    await stage.ask("where is order 1?")
    newer = stage.releases.publish({**CONFIG, "name": "Newer"})
    await stage.ask("this one")
    assert [request.context.config_hash for request in stage.flows.asked] == [first_hash, first_hash]
    assert [turn["release_number"] for turn in await stage.turns()] == [1, None]
    await stage.ask("where is order 1?")
    assert stage.flows.asked[2].context.config_hash == newer.config_hash


async def test_a_flow_follows_new_releases_where_the_policy_says_so(stage):
    stage.releases.publish(with_policies(snapshot="follow"))
    stage.flows.answers = [flow_waits(), flow_result()]
    await stage.ask("where is order 1?")
    newer = stage.releases.publish({**with_policies(snapshot="follow"), "name": "Newer"})
    await stage.ask("this one")
    assert stage.flows.asked[1].context.config_hash == newer.config_hash


async def test_a_person_is_reached_from_the_middle_of_a_flow_and_the_session_is_silent_then(stage):
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    handed = await stage.ask("let me talk to a person")
    assert (handed.status, handed.message) == ("handoff", "A colleague takes over.")
    session = await session_of(stage)
    assert (session.status, session.state.flow) == ("transferred", None)
    silent = await stage.ask("are you open?")
    assert (silent.status, silent.message) == ("handoff", "")
    assert (await session_of(stage)).status == "transferred"
    assert (len(stage.flows.asked), stage.gateway.asked) == (1, [])


async def test_an_action_in_the_middle_of_a_flow_that_ends_nothing_leaves_it_open(stage):
    stage.flows.answers = [flow_waits(), flow_result("Done.")]
    await stage.ask("where is order 1?")
    await stage.ask("my name is Kim")
    session = await session_of(stage)
    assert (session.status, session.state.profile) == ("waiting", {"name": "Kim"})
    assert session.state.flow.asked == "which"
    assert (await stage.ask("the first")).message == "Done."
    assert stage.flows.asked[1].context.profile == {"name": "Kim"}


async def test_a_closed_session_starts_afresh_with_its_history_kept(stage):
    await stage.ask("my name is Kim")
    closed = await stage.ask("bye")
    assert (closed.status, (await session_of(stage)).status) == ("closed", "closed")
    again = await stage.ask("are you open?")
    assert again.greeting == "Hello!"
    session = await session_of(stage)
    assert (session.epoch, session.last_seq, session.message_count) == (2, 1, 6)
    assert session.state.profile == {}
    view = await stage.views.session(ALICE, "s1", None, 0, 100)
    assert [message.seq for message in view.messages] == [1, 2, 3, 4, 5, 6]
    stage.gateway.answers = [understood("advice")]
    await stage.ask("what do you advise?")
    assert stage.skills.asked[0].history[0].text == "are you open?"


async def test_an_expired_session_starts_afresh_and_drops_its_flow_and_pin(stage, monkeypatch):
    clock = [1_700_000_000_000]
    for module in (turn_module, turn_state):
        monkeypatch.setattr(module, "now_ms", lambda: clock[0])
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    clock[0] += 3_599_000
    assert (await stage.ask("hm")).decision.stage == "flow"
    clock[0] += 3_600_000
    newer = stage.releases.publish({**CONFIG, "name": "Newer"})
    late = await stage.ask("are you open?")
    assert (late.decision.stage, late.greeting) == ("rule", "Hello!")
    session = await session_of(stage)
    assert (session.epoch, session.state.flow, session.message_count) == (2, None, 6)
    assert (await stage.turns())[-1]["config_hash"] == newer.config_hash


async def test_a_skill_sees_the_conversation_and_streams(stage):
    stage.gateway.answers = [understood("advice")]
    used = UsageData(model="big", input_tokens=7, output_tokens=5, cost="0.5")
    stage.skills.answers = [[EventFrame(event=UsageEvent(data=used)), *skill_says("Take ", "the red one.")]]
    await stage.ask("are you open?")
    events = await stage.stream("which one?")
    assert [event["type"] for event in events] == ["start", "usage", "intent", "usage", "text", "complete"]
    assert events[4]["data"]["delta"] == "Take the red one."
    assert events[-1]["data"]["decision"]["stage"] == "llm"
    [request] = stage.skills.asked
    assert [(entry.role, entry.text) for entry in request.history] == [
        ("user", "are you open?"),
        ("assistant", "Hello!\n\nFrom 9 to 17."),
    ]
    assert request.run_id == f"{request.context.turn_id}/advisor"
    turn = (await stage.turns())[-1]
    assert (turn["input_tokens"], turn["output_tokens"]) == (17, 7)
    assert (turn["cost_pico"], turn["currency"]) == (500_100_000_000, "USD")


async def test_a_tool_is_called_and_its_result_said(stage):
    stage.tools.answers = [ToolCallReply(ok=True, output={"sky": "blue"}, took_ms=3)]
    events = await stage.stream("how is the weather?")
    call, result = (event for event in events if event["type"].startswith("tool_"))
    assert (call["data"]["tool"], result["data"]["ok"]) == ("weather", True)
    assert result["data"]["output"] == {"sky": "blue"}
    assert events[-1]["data"]["message"] == 'Hello!\n\n{"sky":"blue"}'
    assert stage.tools.asked[0].idempotency_key == f"{events[0]['data']['turn_id']}/tool"


async def test_a_tool_that_fails_is_an_answer_that_says_so(stage):
    error = ToolError(code="timeout", detail="No answer.")
    stage.tools.answers = [ToolCallReply(ok=False, error=error, took_ms=3)]
    reply = await stage.ask("how is the weather?")
    assert (reply.status, reply.reason) == ("error", "timeout")
    assert "try again" in reply.message
    assert (await stage.turns())[0]["outcome"] == "error"


async def test_a_flow_may_end_with_an_action(stage):
    stage.flows.answers = [flow_result("I cannot help.", "failed", action="handoff", reason="no_stock")]
    reply = await stage.ask("where is order 1?")
    assert reply.message == "Hello!\n\nI cannot help.\n\nA colleague takes over."
    assert (reply.status, reply.reason) == ("handoff", "no_stock")
    assert (await session_of(stage)).status == "transferred"


async def test_what_nothing_fits_falls_back_and_in_the_end_to_an_action(stage):
    stage.releases.publish(with_policies(fallback={"reply": "Pardon?", "action": "handoff", "after": 3}))
    replies = [await stage.ask(f"blah {number}") for number in range(3)]
    assert [reply.status for reply in replies] == ["success", "success", "handoff"]
    assert replies[1].message == "Pardon?"
    assert replies[1].decision.stage == "none"


async def test_an_answer_in_between_starts_the_count_anew(stage):
    stage.releases.publish(with_policies(fallback={"action": "handoff", "after": 2}))
    for message in ("blah", "are you open?", "blah"):
        assert (await stage.ask(message)).status == "success"
    assert (await stage.ask("blah")).status == "handoff"


async def test_a_model_that_is_not_sure_is_not_followed(stage):
    stage.gateway.answers = [understood("hours", 0.2)]
    reply = await stage.ask("tell me")
    assert (reply.decision.stage, reply.decision.score) == ("none", 0.2)
    assert reply.status == "success"


@pytest.mark.parametrize("answer", ["not json", "[]", '{"intent": 5}', understood("invented", 1.0), ""])
async def test_a_model_that_answers_nonsense_is_not_followed(stage, answer):
    stage.gateway.answers = [answer]
    assert (await stage.ask("tell me")).decision.stage == "none"


async def test_parameters_that_a_model_invents_do_not_count(stage):
    stage.gateway.answers = [understood("track", 0.9, order_id="1042", admin=True)]
    await stage.ask("my parcel")
    assert stage.flows.asked[0].arguments == {"order_id": 1042}


async def test_tenants_do_not_meet(stage):
    stage.releases.publish({**CONFIG, "greeting": "Rivals here."}, "rival")
    await stage.ask("my name is Kim")
    theirs = await stage.ask("are you open?", principal=RIVAL)
    assert theirs.greeting == "Rivals here."
    assert (await session_of(stage, tenant="rival")).message_count == 2
    assert (await session_of(stage)).message_count == 2


async def test_a_session_is_not_found_by_another_principal_of_the_tenant(stage):
    await stage.ask("are you open?")
    with pytest.raises(SessionNotFound):
        await stage.ask("are you open?", principal=BOB)
    assert (await session_of(stage)).message_count == 2


async def test_a_key_that_may_acts_for_users_and_keeps_them_apart(stage):
    agent = ALICE.model_copy(update={"scopes": frozenset({Scope.QUERY, Scope.ACT_FOR_USERS})})
    await stage.ask("are you open?", principal=agent, user_id="u1")
    assert (await session_of(stage)).user_id == "u1"
    other_key = agent.model_copy(update={"subject": "key:other"})
    assert (await stage.ask("are you open?", principal=other_key, user_id="u1")).greeting is None
    with pytest.raises(SessionNotFound):
        await stage.ask("are you open?", principal=agent, user_id="u2")
    with pytest.raises(SessionNotFound):
        await stage.ask("are you open?", principal=BOB, user_id="u1")


async def test_a_session_stays_with_its_workflow(stage):
    stage.releases.publish({**CONFIG, "workflow_id": "hr", "greeting": "HR here."}, default=False)
    assert (await stage.ask("are you open?", workflow_id="hr")).greeting == "HR here."
    assert (await stage.ask("are you open?")).agent_id == "hr"
    assert (await stage.ask("are you open?", "s2")).agent_id == "shop"


async def test_a_key_uses_its_workflows_and_no_others(stage):
    stage.releases.publish({**CONFIG, "workflow_id": "hr"}, default=False)
    limited = ALICE.model_copy(update={"workflows": frozenset({"hr"})})
    assert (await stage.ask("are you open?", principal=limited, workflow_id="hr")).agent_id == "hr"
    with pytest.raises(Forbidden):
        await stage.ask("are you open?", "s2", principal=limited)
    with pytest.raises(NoRelease):
        await stage.ask("are you open?", "s3", workflow_id="unpublished")
    assert await session_of(stage, "s2") is None
