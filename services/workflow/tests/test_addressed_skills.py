"""A client says which skill does the work: what may be addressed, and what becomes of the rest of the turn."""

import pytest
from support.workflow_stage import CONFIG, flow_waits, skill_says, understood

from signalbox.workflow.errors import FlowNotInterruptible, SkillNotDirect

KEPT = {"id": "clerk", "mode": "agent", "instructions": "Work for others."}
OPEN = {**CONFIG["skills"][0], "direct": True}
ADDRESSED = {**CONFIG, "skills": [OPEN, KEPT]}


async def test_an_addressed_skill_does_the_work_whatever_the_message_may_mean(stage):
    stage.releases.publish(ADDRESSED)
    reply = await stage.ask("are you open?", skill="advisor")
    assert (reply.greeting, reply.message) == ("Hello!", "Hello!\n\nWell, well.")
    assert (reply.status, reply.decision.stage, reply.decision.intent) == ("success", "choice", None)
    [asked] = stage.skills.asked
    assert (asked.skill, asked.message, asked.arguments) == ("advisor", "are you open?", {})
    assert stage.gateway.asked == [], "nothing had to be understood"
    assert (await stage.ask("are you open?")).message == "From 9 to 17.", "the next message is its own"
    assert [turn["stage"] for turn in await stage.turns()] == ["choice", "rule"]


async def test_events_name_the_skill_as_the_target(stage):
    stage.releases.publish(ADDRESSED)
    events = await stage.stream("hm", skill="advisor")
    intent = next(event["data"] for event in events if event["type"] == "intent")
    assert (intent["stage"], intent["target"]) == ("choice", {"kind": "skill", "id": "advisor"})


@pytest.mark.parametrize("name", ["clerk", "nobody", "track"])
async def test_what_the_workflow_keeps_to_itself_is_refused(stage, name):
    stage.releases.publish(ADDRESSED)
    with pytest.raises(SkillNotDirect) as refused:
        await stage.ask("hm", skill=name)
    assert (refused.value.status, refused.value.code) == (422, "skill_not_direct")
    assert [error.pointer for error in refused.value.errors] == ["/skill"]
    assert stage.skills.asked == []
    assert await stage.turns() == [], "nothing was committed"


async def test_no_model_decides_what_comes_after_it(stage):
    decides = {"instructions": {"procedure": "1. Find out. 2. Say it."}, "llm": {"decide": {"model": "fake"}}}
    stage.releases.publish({**ADDRESSED, **decides})
    stage.gateway.answers = [understood("none", 0.0)]
    reply = await stage.ask("hm", skill="advisor")
    assert reply.message.endswith("Well, well.")
    assert stage.gateway.asked == []


async def test_an_open_flow_goes_on_behind_it(stage):
    stage.releases.publish(ADDRESSED)
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    stage.skills.answers = [skill_says("As you like.")]
    reply = await stage.ask("the first", skill="advisor")
    assert reply.message.startswith("As you like.")
    assert reply.message.endswith("Which one?")
    assert (reply.status, len(stage.flows.read_requests)) == ("waiting", 0)
    assert (await stage.store.load("acme", "s1")).state.flow.asked == "which"


async def test_a_flow_that_may_not_be_interrupted_is_not(stage):
    flows = [{**flow, "interruptible": False} for flow in CONFIG["flows"]]
    stage.releases.publish({**ADDRESSED, "flows": flows})
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    with pytest.raises(FlowNotInterruptible):
        await stage.ask("hm", skill="advisor")
    assert stage.skills.asked == []
    assert (await stage.store.load("acme", "s1")).state.flow.asked == "which"


async def test_who_has_been_handed_to_a_person_stays_there(stage):
    stage.releases.publish(ADDRESSED)
    await stage.ask("a person please")
    assert (await stage.ask("hm", skill="advisor")).status == "handoff"
    assert stage.skills.asked == []
