"""Turns of several acts: what the ``decide`` model is shown, what it may have done, and where it stops."""

import asyncio
import json
from typing import Any

import pytest
from support.workflow_stage import CONFIG, calls, flow_result, flow_waits, skill_says, understood

from signalbox.common.clients import ServiceCallFailed
from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.contracts.problem import Problem
from signalbox.contracts.work import ToolCallReply

PROCEDURE = {"procedure": "1. Find out. 2. Say it.", "constraints": ["Never guess."]}
DECIDING: dict[str, Any] = {
    **CONFIG,
    "greeting": None,
    "instructions": PROCEDURE,
    "llm": {"decide": {"model": "planner", "max_output_tokens": 50}},
}
FLOWS = [
    {"id": "track", "description": "Tracks.", "steps": [{"type": "call", "tool": "look_up"}]},
    {
        "id": "refund", "description": "Pays back.",
        "slots": [{"id": "amount", "type": "number", "description": "How much."}],
        "steps": [{"type": "call", "tool": "pay_back"}],
    },
]  # fmt: skip


@pytest.fixture
def deciding(stage):
    stage.releases.publish({**DECIDING, "flows": FLOWS})
    return stage


def decisions(stage: Any) -> list[Any]:
    return [request for request in stage.gateway.asked if request.model == "planner"]


async def test_after_a_flow_the_model_decides_and_sees_what_came_of_it(deciding):
    deciding.flows.answers = [flow_result("It is lost."), flow_result("Paid back.")]
    deciding.gateway.answers = [calls("flow_refund", amount=5), calls("done")]
    reply = await deciding.ask("where is order 1?")
    assert (reply.message, reply.status) == ("It is lost.\n\nPaid back.", "success")
    first, second = decisions(deciding)
    assert [message.role for message in first.messages] == ["system", "system", "user", "assistant", "tool"]
    assert "1. Find out." in first.messages[0].content
    assert "Never guess." in first.messages[0].content
    assert first.messages[2].content == "where is order 1?"
    assert first.messages[3].tool_calls[0].function.name == "flow_track"
    assert json.loads(first.messages[4].content)["said_to_the_user"] == "It is lost."
    assert json.loads(second.messages[-1].content)["said_to_the_user"] == "Paid back."
    assert (first.max_tokens, first.parallel_tool_calls) == (50, False)
    started = deciding.flows.asked[1]
    assert (started.flow, started.arguments, started.place) == ("refund", {"amount": 5}, "act2")


async def test_each_decision_is_an_event_and_its_cost_is_the_turns(deciding):
    deciding.gateway.answers = [calls("tool_weather", place="{{ 7 * 7 }}"), "Bring a coat."]
    deciding.tools.answers = [ToolCallReply(ok=True, output={"rain": True}, took_ms=1.0)]
    events = await deciding.stream("where is order 1?")
    intents = [event["data"] for event in events if event["type"] == "intent"]
    assert [(data["iteration"], data["target"]["kind"], data["stage"]) for data in intents] == [
        (1, "flow", "rule"), (2, "tool", "llm"), (3, "reply", "llm"),
    ]  # fmt: skip
    assert intents[1]["parameters"] == {"place": "{{ 7 * 7 }}"}, "what a model says is no template"
    text = "".join(event["data"]["delta"] for event in events if event["type"] == "text")
    assert text == events[-1]["data"]["message"] == "Done.\n\nBring a coat."
    assert [request.tool for request in deciding.tools.asked] == ["weather"]
    assert deciding.tools.asked[0].arguments == {"place": "{{ 7 * 7 }}"}
    assert '"rain":true' in decisions(deciding)[1].messages[-1].content
    [turn] = await deciding.turns()
    assert (turn["cost_pico"], turn["input_tokens"]) == (2 * 100_000_000, 20)
    assert (turn["stage"], turn["intent"]) == ("rule", "track")


async def test_a_reply_of_a_rule_is_the_end_and_costs_nothing(deciding):
    reply = await deciding.ask("are you open?")
    assert (reply.message, deciding.gateway.asked) == ("From 9 to 17.", [])


@pytest.mark.parametrize(
    "config",
    [
        {**DECIDING, "llm": {}},
        {**DECIDING, "instructions": {}},
        {**DECIDING, "policies": {"max_iterations": 1}},
    ],
)
async def test_it_is_for_those_who_ask_for_it(stage, config):
    stage.gateway.roles = {"match": "fake", "decide": "planner"}
    stage.releases.publish(config)
    assert (await stage.ask("where is order 1?")).message == "Done."
    assert stage.gateway.asked == []


async def test_where_nothing_fits_the_model_is_asked_before_the_fallback(deciding):
    deciding.gateway.answers = [
        understood("none", 0.0),
        calls("skill_advisor", message="Advise."),
        calls("done"),
    ]
    reply = await deciding.ask("hm")
    assert (reply.message, reply.status) == ("Well, well.", "success")
    deciding.gateway.answers = [understood("none", 0.0), calls("done")]
    reply = await deciding.ask("hm")
    assert reply.message.startswith("Sorry, I did not understand")


async def test_a_flow_that_asks_ends_the_turn_and_the_next_message_answers_it(deciding):
    deciding.flows.answers = [flow_result("Lost."), flow_waits("How much?", "refund"), flow_result("Paid.")]
    deciding.gateway.answers = [calls("flow_refund"), calls("done")]
    reply = await deciding.ask("where is order 1?")
    assert (reply.message, reply.status) == ("Lost.\n\nHow much?", "waiting")
    assert (await deciding.ask("5")).message == "Paid."
    assert len(decisions(deciding)) == 2


async def test_an_action_may_be_decided(deciding):
    deciding.gateway.answers = [calls("action_handoff")]
    reply = await deciding.ask("where is order 1?")
    assert (reply.message, reply.status) == ("Done.\n\nA colleague takes over.", "handoff")
    assert (await deciding.store.load("acme", "s1")).status == "transferred"
    assert len(decisions(deciding)) == 1


async def test_it_ends_at_the_limit(deciding):
    numbers = iter(range(100))
    deciding.gateway.answers = [lambda _: calls("tool_weather", number=next(numbers))]
    await deciding.ask("where is order 1?")
    assert len(decisions(deciding)) == 3, "four acts, the first of which a rule has decided"


@pytest.mark.parametrize(
    ("limits", "asked"),
    [({"calls_per_turn": 2}, 2), ({"tokens_per_turn": 12}, 1), ({"calls_per_turn": 0}, 0)],
)
async def test_it_ends_at_the_budget(stage, limits, asked):
    stage.releases.publish({**DECIDING, "llm": {**DECIDING["llm"], "limits": limits}})
    numbers = iter(range(100))
    stage.gateway.answers = [lambda _: calls("tool_weather", number=next(numbers))]
    assert (await stage.ask("where is order 1?")).message == "Done."
    assert len(decisions(stage)) == asked


async def test_it_ends_when_time_is_up(deciding):
    numbers = iter(range(100))
    deciding.gateway.answers = [lambda _: calls("tool_weather", number=next(numbers))]

    async def hurried() -> Any:
        enter_request(RequestContext("r", Deadline.after(0.9)))
        return await deciding.ask("where is order 1?")

    reply = await asyncio.create_task(hurried())
    assert (reply.message, decisions(deciding)) == ("Done.", [])


async def test_nothing_is_decided_where_the_session_has_spent_its_budget(stage):
    limits = {"cost_per_session": "0.0001"}
    stage.releases.publish({**DECIDING, "llm": {**DECIDING["llm"], "limits": limits}})
    stage.gateway.answers = [calls("done")]
    await stage.ask("where is order 1?")
    await stage.ask("where is order 1?")
    assert len(decisions(stage)) == 1


async def test_the_same_act_again_is_the_end(deciding):
    deciding.gateway.answers = [calls("tool_weather", a=1)]
    await deciding.ask("where is order 1?")
    assert len(deciding.tools.asked) == 1


async def test_writes_are_offered_where_nobody_has_to_confirm_them(stage):
    tools = [*CONFIG["tools"], {**CONFIG["tools"][1], "id": "ping", "confirm": "never"}]
    stage.releases.publish({**DECIDING, "tools": tools})
    stage.gateway.answers = [calls("tool_pay_back")]
    await stage.ask("where is order 1?")
    names = {tool["function"]["name"] for tool in decisions(stage)[0].tools}
    assert names == {
        "flow_track", "flow_refund", "skill_advisor", "tool_look_up", "tool_weather", "tool_ping",
        "action_handoff", "action_close", "action_remember", "done",
    }  # fmt: skip
    assert stage.tools.asked == [], "what is not offered is not called"


async def test_what_is_secret_in_the_arguments_of_a_tool_is_not_kept_with_the_decision(stage):
    secret = {"type": "object", "properties": {"pin": {"type": "string", "writeOnly": True}}}
    tools = [*CONFIG["tools"], {**CONFIG["tools"][0], "id": "unlock", "parameters": secret}]
    stage.releases.publish({**DECIDING, "tools": tools})
    stage.gateway.answers = [calls("tool_unlock", pin="1234"), calls("done")]
    await stage.ask("where is order 1?")
    assert stage.tools.asked[0].arguments == {"pin": "1234"}
    [turn] = await stage.turns()
    assert "unlock" in turn["events"]
    assert "1234" not in turn["events"]


async def test_a_model_that_fails_leaves_what_was_done(deciding):
    deciding.gateway.answers = [
        ServiceCallFailed("llm_gateway", Problem(title="t", status=503, code="x", detail="d"), {})
    ]
    reply = await deciding.ask("where is order 1?")
    assert (reply.message, reply.status) == ("Done.", "success")


async def test_a_turn_that_may_write_is_written_down_before_it_does(deciding):
    begun = []
    begin = deciding.store.begin

    async def noted(*args: Any) -> None:
        begun.append(args[1].turn_id)
        await begin(*args)

    deciding.store.begin = noted
    deciding.gateway.answers = [calls("done")]
    reply = await deciding.ask("where is order 1?")
    assert begun == [reply.turn_id]


async def test_a_skill_streams_apart_from_what_was_said_before(deciding):
    deciding.skills.answers = [skill_says("Take ", "care.")]
    deciding.gateway.answers = [calls("skill_advisor", message="x"), calls("done")]
    events = await deciding.stream("where is order 1?")
    text = "".join(event["data"]["delta"] for event in events if event["type"] == "text")
    assert text == events[-1]["data"]["message"] == "Done.\n\nTake care."
    assert deciding.skills.asked[0].run_id.endswith("/act2/advisor")
