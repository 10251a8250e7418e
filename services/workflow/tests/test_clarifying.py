"""Between routing and falling back: asking which of several intents was meant, and understanding the answer."""

import pytest
from support.workflow_stage import CONFIG, flow_result, understood

from signalbox.workflow.clarifying import picked
from signalbox.workflow.records import Option, Question

INTENTS = [
    {
        "id": "track",
        "label": {"en": "Track order {{ vars.shop }}", "zh": "查询订单"},
        "then": {"flow": "track"},
        "parameters": {"order_id": {"type": "integer", "pattern": r"no\. (\d+)"}},
    },
    {"id": "refund", "label": {"en": "Get a refund", "zh": "退款"}, "then": {"flow": "refund"}},
    {"id": "opening_hours", "description": "When we are open.", "then": {"reply": "From 9 to 17."}},
    {"id": "say_hello", "then": {"reply": "Hi."}},
    {"id": "rule", "when": {"keywords": ["goodbye"]}, "then": {"reply": "Bye."}},
]
ASKING = {**CONFIG, "variables": {"shop": "here"}, "greeting": None, "intents": INTENTS}
UNSURE = understood("track", 0.45, {"refund": 0.4}, order_id="12")


def asking(**policies):
    return {**ASKING, "policies": policies}


async def test_an_unsure_model_leads_to_a_question_with_choices(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE]
    reply = await stage.ask("the thing with no. 12")
    assert (reply.status, reply.decision.stage, reply.decision.intent) == ("clarify", "llm", None)
    assert reply.decision.score == 0.45
    assert reply.message == "Which of these do you mean?\n1. Track order here\n2. Get a refund"
    [part] = reply.parts
    assert [(choice.label, choice.value) for choice in part.choices] == [
        ("Track order here", "track"),
        ("Get a refund", "refund"),
    ]
    [turn] = await stage.turns()
    assert (turn["stage"], turn["outcome"], turn["intent"]) == ("llm", "clarify", None)


@pytest.mark.parametrize("answer", ["track", "Track order here!", "1", "the first one", "第一个"])
async def test_its_answer_goes_on_with_the_message_and_asks_no_model(stage, answer):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE]
    stage.flows.answers = [flow_result("On its way.")]
    await stage.ask("the thing with no. 12")
    reply = await stage.ask(answer)
    assert (reply.message, reply.status) == ("On its way.", "success")
    decision = reply.decision
    assert (decision.stage, decision.intent, decision.score) == ("choice", "track", 0.45)
    assert decision.took_us > 0
    assert len(stage.gateway.asked) == 1
    [request] = stage.flows.asked
    assert (request.arguments, request.message) == ({"order_id": 12}, "the thing with no. 12")
    assert (await stage.turns())[1]["user_text"] == answer


async def test_patterns_read_the_unclear_message_for_every_option(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [understood("refund", 0.45, {"track": 0.4})]
    await stage.ask("the thing with no. 77")
    await stage.ask("2")
    assert (stage.flows.asked[0].flow, stage.flows.asked[0].arguments) == ("track", {"order_id": 77})


async def test_another_message_is_matched_afresh_and_the_question_is_over(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE]
    await stage.ask("the thing")
    assert (await stage.ask("goodbye")).decision.stage == "rule"
    stage.gateway.answers = [understood("none", 0)]
    assert (await stage.ask("1")).decision.stage == "none"


async def test_neither_falls_back_without_a_model(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE]
    await stage.ask("the thing")
    reply = await stage.ask("neither of them")
    assert (reply.decision.stage, reply.decision.intent, len(stage.gateway.asked)) == ("choice", None, 1)
    assert "did not understand" in reply.message


async def test_the_question_is_in_the_language_of_the_turn(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE]
    reply = await stage.ask("那个东西")
    assert (reply.language, reply.message) == ("zh", "请问您指的是哪一个?\n1. 查询订单\n2. 退款")
    stage.flows.answers = [flow_result("好。")]
    assert (await stage.ask("退款")).decision.intent == "refund"


async def test_a_label_that_is_not_translated_is_told(stage):
    named = [{**INTENTS[0], "label": {"en": "Track"}}, *INTENTS[1:]]
    stage.releases.publish({**ASKING, "intents": named})
    stage.gateway.answers = [UNSURE]
    reply = await stage.ask("那个东西")
    assert (reply.language, reply.untranslated) == ("zh", ["en"])
    assert "1. Track\n2. 退款" in reply.message


async def test_a_prompt_of_the_workflow_and_labels_that_it_lacks(stage):
    stage.releases.publish(asking(disambiguation={"prompt": {"en": "Sorry, which one?"}}))
    stage.gateway.answers = [understood("opening_hours", 0.4, {"say_hello": 0.35, "refund": 0.34})]
    reply = await stage.ask("hm")
    assert reply.message == "Sorry, which one?\n1. When we are open\n2. say hello"


async def test_more_than_two_are_named_when_they_are_about_as_good(stage):
    stage.releases.publish(asking(disambiguation={"max_options": 4}, thresholds={"margin": 0.1}))
    others = {"refund": 0.1, "opening_hours": 0.38, "say_hello": 0.2}
    stage.gateway.answers = [understood("track", 0.45, others)]
    values = [choice.value for choice in (await stage.ask("hm")).parts[0].choices]
    assert values == ["track", "refund", "opening_hours"]


async def test_one_candidate_is_asked_with_yes_or_no(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [understood("opening_hours", 0.4)]
    reply = await stage.ask("hm")
    assert reply.message == "Is this what you mean?\n1. When we are open"
    assert (await stage.ask("yes please")).message == "From 9 to 17."
    await stage.ask("hm")
    assert (await stage.ask("不是")).decision.stage == "choice"


async def test_two_that_are_equally_sure_are_asked_about_though_each_would_do(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [
        understood("track", 0.9, {"refund": 0.85}),
        understood("track", 0.9, {"refund": 0.7}),
    ]
    assert (await stage.ask("hm")).status == "clarify"
    assert (await stage.ask("hm hm")).decision.intent == "track"


async def test_without_disambiguation_the_unsure_falls_back(stage):
    stage.releases.publish(asking(disambiguation={"enabled": False}))
    stage.gateway.answers = [UNSURE]
    reply = await stage.ask("the thing")
    assert (reply.status, reply.decision.stage, reply.parts) == ("success", "none", [])


async def test_below_clarify_nothing_is_asked(stage):
    stage.releases.publish(asking(thresholds={"clarify": 0.5, "accept": 0.8}))
    stage.gateway.answers = [understood("track", 0.49, {"refund": 0.4})]
    assert (await stage.ask("the thing")).decision.stage == "none"


async def test_who_is_asked_again_and_again_gets_the_fallbacks_action(stage):
    stage.releases.publish(asking(fallback={"action": "handoff", "after": 2}))
    stage.gateway.answers = [UNSURE]
    assert [(await stage.ask(f"hm {number}")).status for number in range(3)] == [
        "clarify",
        "clarify",
        "handoff",
    ]


async def test_an_intent_that_a_release_took_away_is_not_picked(stage):
    stage.releases.publish(ASKING)
    stage.gateway.answers = [UNSURE, understood("none", 0)]
    await stage.ask("the thing")
    stage.releases.publish({**ASKING, "intents": INTENTS[1:]})
    assert (await stage.ask("1")).decision.stage == "none"


@pytest.mark.parametrize(
    ("message", "chosen"),
    [
        ("the second, please", "b"), ("2.", "b"), ("最后一个", "b"), ("我选第一个", "a"), ("OPEN HOURS", "a"),
        ("b", "b"), ("都不是", "neither"), ("no", "neither"), ("No!", "neither"),
        ("no, I want my money back", None), ("yes", None), ("3", None), ("open", None), ("不要退款我要换货", None),
    ],
)  # fmt: skip
def test_what_picks_an_option(message, chosen):
    options = [
        Option(intent=intent, label=label, score=0.4)
        for intent, label in (("a", "Open hours"), ("b", "退款"))
    ]
    found = picked(Question(message="m", options=options), message)
    assert (found.intent if isinstance(found, Option) else found) == chosen
