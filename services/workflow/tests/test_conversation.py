"""While a flow is open: what is heard, what waits, and how the conversation goes back to it."""

from typing import Any

import pytest
from support.workflow_stage import CONFIG, Stage, flow_result, flow_waits, skill_says, understood

from signalbox.common.clients import ServiceCallFailed
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import Choice, ChoicesPart
from signalbox.contracts.work import FlowReading, FlowState, ToolCallReply

NOTHING = FlowReading(fit="none", question="Which one?")
LOOSE = FlowReading(fit="loose", question="Which street?")
ASKING = FlowReading(fit="loose", asks=True, question="Which street?")
WHOLE = FlowReading(fit="exact")


def config(**more: Any) -> dict[str, Any]:
    """The stage's config, its flows with labels, and with policies and the like."""
    labelled = [
        {
            **flow,
            "label": {"en": f"your {flow['id']}", "zh": "您的包裹" if flow["id"] == "track" else "您的退款"},
        }
        for flow in CONFIG["flows"]
    ]
    return {**CONFIG, "flows": labelled, **more}


async def opened(stage: Stage, published: dict[str, Any] | None = None, reading: Any = NOTHING) -> Stage:
    """A stage whose session has the flow ``track`` open."""
    stage.releases.publish(published or config())
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    stage.flows.reading = reading
    return stage


async def state_of(stage: Stage, session_id: str = "s1") -> Any:
    return (await stage.store.load("acme", session_id)).state


def stacked(state: Any) -> list[str]:
    return [flow.flow for flow in state.interrupted]


async def test_a_reply_in_the_middle_does_not_lose_the_flow(stage):
    await opened(stage)
    reply = await stage.ask("are you open?")
    assert reply.message == "From 9 to 17.\n\nBack to your track: Which one?"
    assert (reply.status, reply.decision.stage, reply.decision.intent) == ("waiting", "rule", "hours")
    state = await state_of(stage)
    assert (state.flow.asked, state.digressions, state.interrupted) == ("which", 1, [])
    stage.flows.answers = [flow_result("Done.")]
    assert (await stage.ask("the first")).message == "Done."
    assert stage.flows.asked[-1].state.asked == "which"
    state = await state_of(stage)
    assert (state.flow, state.digressions, state.digressed) == (None, 0, None)


async def test_the_way_back_is_said_in_the_language_of_the_message(stage):
    await opened(stage)
    stage.flows.question = "哪一个？"
    assert (await stage.ask("你们几点营业？")).message == "九点到五点。\n\n我们继续您的包裹：哪一个？"


async def test_the_workflow_may_say_it_in_its_own_words(stage):
    resume = {"en": "So, {{ flow }}.", "zh": "好，"}
    await opened(stage, config(policies={"repair": {"resume": resume}}))
    assert (await stage.ask("are you open?")).message == "From 9 to 17.\n\nSo, your track. Which one?"


async def test_what_is_streamed_is_what_is_said(stage):
    await opened(stage)
    events = await stage.stream("are you open?")
    text = "".join(event["data"]["delta"] for event in events if event["type"] == "text")
    assert text == events[-1]["data"]["message"] == "From 9 to 17.\n\nBack to your track: Which one?"


async def test_a_tool_and_a_skill_in_the_middle_do_not_lose_the_flow(stage):
    advice = {"id": "tips", "when": {"keywords": ["tips"]}, "then": {"skill": "advisor"}}
    await opened(stage, config(intents=[*CONFIG["intents"], advice]))
    stage.tools.answers = [ToolCallReply(ok=True, output="Sunny.", took_ms=1.0)]
    assert (await stage.ask("what is the weather?")).message == "Sunny.\n\nBack to your track: Which one?"
    stage.skills.answers = [skill_says("Pack ", "light.")]
    assert (await stage.ask("any tips?")).message == "Pack light.\n\nBack to your track: Which one?"
    assert (await state_of(stage)).digressions == 2


async def test_a_flow_that_ends_at_once_goes_back(stage):
    await opened(stage)
    stage.flows.answers = [flow_result("Paid back.")]
    reply = await stage.ask("what about my refund?")
    assert (reply.message, reply.status) == ("Paid back.\n\nBack to your track: Which one?", "waiting")
    assert (await state_of(stage)).flow.flow == "track"


async def test_a_flow_that_asks_leaves_the_other_waiting_until_it_is_over(stage):
    await opened(stage)
    stage.flows.answers = [flow_waits("Which account?", "refund"), flow_result("Paid back.")]
    first = await stage.ask("what about my refund?")
    assert (first.message, first.status) == ("Which account?", "waiting")
    state = await state_of(stage)
    assert (state.flow.flow, stacked(state)) == ("refund", ["track"])
    stage.flows.reading = WHOLE
    second = await stage.ask("the usual one")
    assert (second.message, second.status) == ("Paid back.\n\nBack to your track: Which one?", "waiting")
    state = await state_of(stage)
    assert (state.flow.flow, stacked(state)) == ("track", [])
    assert (await stage.store.load("acme", "s1")).config_hash is not None


@pytest.mark.parametrize("status", ["cancelled", "failed"])
async def test_giving_up_or_failing_goes_back_to_the_flow_below(stage, status):
    await opened(stage)
    stage.flows.answers = [flow_waits("Which account?", "refund"), flow_result("Stopped.", status)]
    await stage.ask("what about my refund?")
    stage.flows.reading = FlowReading(fit="none", stops=True)
    reply = await stage.ask("never mind")
    assert reply.message == "Stopped.\n\nBack to your track: Which one?"
    assert reply.status == ("waiting" if status == "cancelled" else "error")
    assert (await state_of(stage)).flow.flow == "track"


async def test_naming_the_flow_that_waits_goes_back_to_it_and_nothing_is_there_twice(stage):
    await opened(stage)
    stage.flows.answers = [flow_waits("Which account?", "refund")]
    await stage.ask("what about my refund?")
    reply = await stage.ask("where is order 1?")
    assert reply.message == "Which one?"
    state = await state_of(stage)
    assert (state.flow.flow, stacked(state)) == ("track", ["refund"])
    stage.flows.reading = lambda request: FlowReading(
        fit="none", corrections={"which": 2} if request.state.flow == "refund" else {}
    )
    stage.flows.answers = [flow_waits("Account 2?", "refund")]
    await stage.ask("my refund please")
    assert stage.flows.asked[-1].corrections == {}, "no parameters, no correction"


async def test_the_same_flow_again_is_not_stacked_but_asks_again(stage):
    await opened(stage)
    asked = len(stage.flows.asked)
    reply = await stage.ask("where is order 1?")
    assert (reply.message, reply.decision.stage) == ("Which one?", "flow")
    assert (len(stage.flows.asked), stacked(await state_of(stage))) == (asked, [])
    assert stage.flows.read_requests[-1].arguments == {"order_id": 1}


async def test_the_same_flow_with_another_value_corrects_it(stage):
    await opened(stage, reading=FlowReading(fit="none", corrections={"order_id": 2}))
    await stage.ask("where is order 2?")
    assert stage.flows.asked[-1].corrections == {"order_id": 2}


async def test_not_more_flows_wait_than_the_policy_says(stage):
    flows = [{"id": name, "steps": [{"type": "end"}]} for name in ("track", "refund", "c", "d")]
    intents = [
        *CONFIG["intents"],
        *({"id": name, "when": {"keywords": [f"go {name}"]}, "then": {"flow": name}} for name in ("c", "d")),
    ]
    await opened(stage, config(flows=flows, intents=intents, policies={"repair": {"max_interrupted": 2}}))
    for message, flow in (("my refund", "refund"), ("go c", "c"), ("go d", "d")):
        stage.flows.answers = [flow_waits("?", flow)]
        await stage.ask(message)
    state = await state_of(stage)
    assert (state.flow.flow, stacked(state)) == ("d", ["refund", "c"])


async def test_without_room_an_interrupted_flow_is_over(stage):
    await opened(stage, config(policies={"repair": {"max_interrupted": 0}}))
    stage.flows.answers = [flow_waits("?", "refund")]
    await stage.ask("my refund")
    assert stacked(await state_of(stage)) == []


async def test_after_too_many_digressions_the_flow_is_left(stage):
    await opened(stage, config(policies={"repair": {"max_digressions": 2}}))
    for _ in range(2):
        assert "Back to" in (await stage.ask("are you open?")).message
    left = await stage.ask("are you open?")
    assert left.message == ("From 9 to 17.\n\nI leave your track for now; ask again when you want to go on.")
    assert (left.status, (await state_of(stage)).flow) == ("success", None)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (WHOLE, "are you open?"),
        (FlowReading(fit="none", stops=True), "are you open?"),
        (FlowReading(fit="within"), "the second"),
        (LOOSE, "12 Elm Street"),
    ],
)
async def test_an_answer_goes_to_the_flow(stage, reading, message):
    await opened(stage, reading=reading)
    stage.flows.answers = [flow_result("Done.")]
    reply = await stage.ask(message)
    assert (reply.message, reply.decision.stage) == ("Done.", "flow")
    assert stage.gateway.asked == []


async def test_saying_it_again_makes_it_the_answer_to_a_free_question(stage):
    await opened(stage, reading=LOOSE)
    assert "Back to" in (await stage.ask("12 Open Street, open")).message
    stage.flows.answers = [flow_result("Noted.")]
    assert (await stage.ask("12 open street,  open")).message == "Noted."


async def test_saying_it_again_helps_also_where_another_flow_was_begun_by_mistake(stage):
    await opened(stage, reading=LOOSE)
    stage.flows.answers = [flow_waits("Which account?", "refund"), flow_result("Stopped.", "cancelled")]
    await stage.ask("12 Refund Street")
    stage.flows.reading = FlowReading(fit="none", stops=True)
    assert "Back to your track" in (await stage.ask("never mind")).message
    stage.flows.reading, stage.flows.answers = LOOSE, [flow_result("Noted.")]
    assert (await stage.ask("12 Refund Street")).message == "Noted."


async def test_a_flow_that_may_not_be_interrupted_hears_actions_alone(stage):
    flows = [{**flow, "interruptible": False} for flow in CONFIG["flows"]]
    await opened(stage, config(flows=flows))
    stage.flows.answers = [flow_waits("Which one?")]
    assert (await stage.ask("are you open?")).message == "Which one?"
    assert (await stage.ask("let me talk to a person")).status == "handoff"


async def test_a_certain_correction_wins_over_a_rule_and_another_does_not(stage):
    await opened(stage, reading=FlowReading(fit="none", corrections={"x": 1}, certain=True))
    await stage.ask("no, I meant the open one")
    assert stage.flows.asked[-1].corrections == {"x": 1}
    stage.flows.reading = FlowReading(fit="none", corrections={"x": 1})
    assert (await stage.ask("no, are you open?")).message.startswith("From 9 to 17.")


async def test_a_model_is_asked_with_the_open_question_in_view(stage):
    await opened(stage)
    stage.gateway.answers = [understood("hours")]
    reply = await stage.ask("until when can I come by")
    assert (reply.message, reply.decision.stage) == ("From 9 to 17.\n\nBack to your track: Which one?", "llm")
    prompt = "\n".join(message.content for message in stage.gateway.asked[0].messages)
    assert "Which one?" in prompt
    assert [turn["cost_pico"] for turn in await stage.turns()] == [None, 100_000_000]


async def test_a_model_names_values_of_slots_and_no_others(stage):
    slots = [{"id": "parcel", "type": "integer", "description": "Which parcel."}]
    flows = [{**CONFIG["flows"][0], "slots": slots}, CONFIG["flows"][1]]
    await opened(stage, config(flows=flows))
    stage.gateway.answers = [understood("open_question", parcel=2, secret=1)]
    stage.flows.answers = [flow_result("The second.")]
    reply = await stage.ask("the one after the first")
    assert (reply.message, stage.flows.asked[-1].corrections) == ("The second.", {"parcel": 2})
    assert (await stage.turns())[-1]["cost_pico"] == 100_000_000


async def test_what_nobody_understands_gets_the_fallback_and_the_question_again(stage):
    fallback = {"reply": {"en": "I only know {{ vars.what }}."}}
    await opened(stage, config(policies={"fallback": fallback}, variables={"what": "parcels"}))
    stage.flows.answers = [flow_waits("I only know parcels.\n\nWhich one?")]
    reply = await stage.ask("blub")
    assert (reply.status, reply.decision.stage) == ("waiting", "flow")
    assert stage.flows.asked[-1].not_understood == "I only know parcels."
    stage.gateway.roles = {}
    other = stage.replica()
    other.flows.reading, other.flows.answers = NOTHING, [flow_waits()]
    await other.ask("blub")
    assert other.flows.asked[-1].not_understood == "I only know parcels."
    await other.close()


async def test_a_question_that_no_intent_covers_goes_to_the_fallback_skill(stage):
    await opened(stage, config(policies={"fallback": {"skill": "advisor"}}), reading=ASKING)
    stage.skills.answers = [skill_says("Wool.")]
    stage.flows.answers = [flow_result("Taken.")]
    taken = await stage.ask("what is it made of?")
    assert taken.message == "Taken.", "free text takes what no model calls something else"
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    stage.flows.reading = FlowReading(fit="none", asks=True, question="Which one?")
    reply = await stage.ask("what is it made of?")
    assert (reply.message, reply.status) == ("Wool.\n\nBack to your track: Which one?", "waiting")


async def test_the_question_comes_with_its_choices(stage):
    await opened(stage)
    choices = ChoicesPart(choices=[Choice(label="First", value="1")])
    run = stage.flows.run

    async def with_choices(request: Any, principal: Any) -> Any:
        async for frame in run(request, principal):
            yield frame.model_copy(update={"result": frame.result.model_copy(update={"parts": [choices]})})

    stage.flows.run = with_choices
    assert (await stage.ask("are you open?")).parts == [choices]


async def test_when_flows_cannot_be_asked_the_flow_stays_open(stage):
    await opened(stage)
    down = ServiceCallFailed("flows", Problem(title="t", status=503, code="down", detail="d"), {})
    stage.flows.reading = down
    stage.flows.answers = [down]
    reply = await stage.ask("the first")
    assert (reply.status, reply.reason) == ("error", "down")
    assert (await state_of(stage)).flow.asked == "which"


@pytest.mark.parametrize("code", ["flow_state_invalid", "unknown_flow"])
async def test_a_flow_that_the_snapshot_has_no_more_is_left_for_the_one_below(stage, code):
    await opened(stage)
    stage.flows.answers = [
        flow_waits("Which account?", "refund"),
        ServiceCallFailed("flows", Problem(title="t", status=409, code=code, detail="d"), {}),
    ]
    await stage.ask("what about my refund?")
    stage.flows.reading = WHOLE
    reply = await stage.ask("the usual one")
    assert (reply.status, reply.reason) == ("error", code)
    assert reply.message.endswith("Back to your track: Which one?")
    assert (await state_of(stage)).flow.flow == "track"


async def test_handing_over_and_closing_leave_no_flow_behind(stage):
    await opened(stage)
    stage.flows.answers = [flow_waits("Which account?", "refund")]
    await stage.ask("what about my refund?")
    assert (await stage.ask("let me talk to a person")).message == "A colleague takes over."
    state = await state_of(stage)
    assert (state.flow, state.interrupted) == (None, [])


async def test_a_silent_action_says_nothing_and_the_flow_goes_on(stage):
    silent = [{**action, "silent": True} for action in CONFIG["actions"]]
    await opened(stage, config(actions=silent))
    reply = await stage.ask("my name is Kim")
    assert (reply.message, reply.status) == ("Back to your track: Which one?", "waiting")
    assert (await state_of(stage)).profile == {"name": "Kim"}


def test_a_state_of_an_older_release_is_read():
    assert FlowState.model_validate({"flow": "a", "step": 1, "asked": "x"}).done is None
