"""The stage that asks models: what they see, what is kept of what they say, and when the conversation is shown."""

import json
from dataclasses import replace

import pytest
from support.workflow_stage import (
    ALICE,
    RIVAL,
    GatewayStandIn,
    compiled,
    incoming,
    model_matcher,
    understood,
)

from signalbox.common.cache import CacheUnavailable, MemoryCache
from signalbox.common.transport import HopUnreachable
from signalbox.contracts.context import ChatMessage
from signalbox.workflow.allowance import Allowance
from signalbox.workflow.matching import Guess, Matcher
from signalbox.workflow.matching.gateway_vectors import GatewayVectors
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.matching.prompt import response_format

INTENTS = [
    {
        "id": "book",
        "description": "Books a table.",
        "then": {"reply": "{{ parameters | tojson }}"},
        "parameters": {
            "day": {"type": "date"},
            "seats": {"type": "integer"},
            "where": {"type": "enum", "values": ["inside", "outside"]},
            "name": {"type": "text"},
            "window": {"type": "boolean"},
            "dishes": {"type": "list"},
        },
    },
    {"id": "cancel", "description": "Cancels a table.", "then": {"reply": "Gone."}},
]
CONFIG = {
    "schema_version": "1",
    "workflow_id": "inn",
    "name": "Inn",
    "languages": ["en", "zh"],
    "intents": INTENTS,
}
NOON = 1_795_867_200_000  # 2026-11-28, a Saturday


class Roles:
    async def model_for(self, *_):
        return "fake"


def counted(stage, result, name="lookups"):
    return stage.metrics.registry.get_sample_value(f"signalbox_plan_cache_{name}_total", {"result": result})


async def matched(matcher, text, *earlier, config=CONFIG, tenant="acme", **context):
    message = incoming(
        compiled(config, tenant), text, *earlier, **{"now_ms": NOON, "tenant": tenant, **context}
    )
    return await matcher.match(message, "fake", (), earlier)


async def test_the_same_message_is_decided_once_and_costs_nothing_again(stage):
    stage.gateway.answers = [understood("advice")]
    first = await stage.ask("what should I do")
    again = await stage.ask("what  should I do", "s2")
    assert (first.decision.cached, again.decision.cached) == (False, True)
    assert (again.decision.stage, again.decision.intent, again.decision.score) == ("llm", "advice", 0.9)
    assert len(stage.gateway.asked) == 1
    assert (counted(stage, "miss"), counted(stage, "hit"), counted(stage, "kept", "writes")) == (1, 1, 1)
    turns = [*await stage.turns(), *await stage.turns("s2")]
    assert [turn["input_tokens"] for turn in turns] == [10, 0]


async def test_replicas_share_decisions_and_tenants_do_not(stage):
    stage.releases.publish(tenant="rival")
    stage.gateway.answers = [understood("advice")]
    other = stage.replica()
    other.gateway.answers = [understood("advice")]
    await stage.ask("what should I do")
    assert (await other.ask("what should I do", "s2")).decision.cached is True
    assert (await other.ask("what should I do", "s3", RIVAL)).decision.cached is False


@pytest.mark.parametrize(
    "changed",
    [
        {"config": {**CONFIG, "description": "An inn."}},
        {"config": {**CONFIG, "llm": {"match": {"model": "fake", "extra": {"seed": 1}}}}},
        {"tenant": "rival"},
        {"text": "two seats today!"},
    ],
)
async def test_whatever_the_model_would_see_differently_is_asked(changed):
    gateway = GatewayStandIn(understood("book"))
    matcher = model_matcher(gateway)
    await matched(matcher, "two seats today")
    assert (await matched(matcher, "two seats today")).cached is True
    assert (await matched(matcher, **{"text": "two seats today", **changed})).cached is False


async def test_values_are_read_again_from_the_message_on_a_hit():
    gateway = GatewayStandIn(
        understood(
            "book", day="明天", seats="4", name="陈伟", where="inside", window=True, dishes=["soup", "fish"]
        )
    )
    cache = MemoryCache()
    matcher = model_matcher(gateway, cache)
    text = "给陈伟订4个位子 明天 soup fish"
    today = (await matched(matcher, text)).candidates[0]
    later = await matched(matcher, text, now_ms=NOON + 86_400_000)
    assert later.cached is True
    assert today.parameters == {
        "day": "2026-11-29",
        "seats": 4,
        "where": "inside",
        "name": "陈伟",
        "window": True,
        "dishes": ["soup", "fish"],
    }
    # Tomorrow is another day by then.
    assert later.candidates[0].parameters == {**today.parameters, "day": "2026-11-30"}


async def test_nothing_that_a_user_wrote_is_in_the_cache():
    gateway = GatewayStandIn(understood("book", name="Zebedee", seats=31))
    cache = MemoryCache()
    await matched(model_matcher(gateway, cache), "31 seats for Zebedee")
    kept = repr(cache.values._values)
    assert "plan:acme" in kept
    assert "Zebedee" not in kept


@pytest.mark.parametrize("value", ["Zebedee the Third", 32, 1.5, ["soup"]])
async def test_a_decision_with_a_value_that_is_not_in_the_message_is_not_kept(value):
    name = {str: "name", int: "seats", float: "seats", list: "dishes"}[type(value)]
    gateway = GatewayStandIn(understood("book", **{name: value}))
    matcher = model_matcher(gateway)
    await matched(matcher, "for Zebedee, 320 seats")
    assert (await matched(matcher, "for Zebedee, 320 seats")).cached is False


@pytest.mark.parametrize(
    "answer", ["not json", understood("invented", 1.0), '{"intent": "book", "confidence": 7}']
)
async def test_nonsense_is_asked_about_again(answer):
    gateway = GatewayStandIn(answer)
    matcher = model_matcher(gateway)
    for _ in range(2):
        found = await matched(matcher, "hm")
        assert (found.candidates, found.cached) == ((), False)


async def test_that_nothing_fits_is_kept_too():
    matcher = model_matcher(GatewayStandIn(understood("none", 0.8)))
    await matched(matcher, "hm")
    assert (await matched(matcher, "hm")).cached is True


async def test_decisions_are_bounded_in_number():
    gateway = GatewayStandIn(understood("cancel"))
    cache = MemoryCache()
    matcher = model_matcher(gateway, cache, slots=8)
    for number in range(100):
        await matched(matcher, f"message {number}")
    assert len(cache.values._values) <= 8
    nothing = model_matcher(gateway, cache, slots=0)
    await matched(nothing, "message")
    assert (await matched(nothing, "message")).cached is False


async def test_a_cache_that_fails_is_a_miss():
    class Down:
        async def get(self, _):
            raise CacheUnavailable("x")

        async def put(self, *_):
            raise CacheUnavailable("x")

    class Cache:
        values = Down()

    matcher = model_matcher(GatewayStandIn(understood("cancel")), Cache())
    assert (await matched(matcher, "hm")).candidates[0].intent.id == "cancel"


async def test_what_was_decided_before_costs_no_budget_and_no_gateway():
    gateway = GatewayStandIn(understood("book", 0.9, seats=2), HopUnreachable("llm_gateway", "x"))
    models = model_matcher(gateway)
    matcher = Matcher(models, Roles(), MessageVectors(GatewayVectors(None)))
    snapshot = compiled(CONFIG)
    await matcher.by_model(incoming(snapshot, "2 seats"), Guess())
    spent = Allowance(refusal="budget_exceeded")
    again = await matcher.by_model(replace(incoming(snapshot, "2 seats"), allowance=spent), Guess())
    assert (again.stage, again.cached, again.failure, again.parameters) == ("llm", True, None, {"seats": 2})
    other = await matcher.by_model(replace(incoming(snapshot, "3 seats"), allowance=spent), Guess())
    assert (other.stage, other.failure) == ("none", "budget_exceeded")
    unreachable = await matcher.by_model(incoming(snapshot, "2 seats"), Guess())
    assert (unreachable.cached, len(gateway.asked)) == (True, 1)


async def test_the_parameters_of_every_intent_that_was_named_are_kept():
    other = {**INTENTS[1], "parameters": {"reason": {"type": "text"}}}
    config = {**CONFIG, "intents": [INTENTS[0], other]}
    matcher = model_matcher(
        GatewayStandIn(understood("book", 0.4, {"cancel": 0.39}, reason="illness", seats=2))
    )
    first = await matched(matcher, "2 seats or illness", config=config)
    again = await matched(matcher, "2 seats or illness", config=config)
    assert again.cached is True
    assert [entry.parameters for entry in again.candidates] == [{"seats": 2}, {"reason": "illness"}]
    assert again.candidates == first.candidates


async def test_the_conversation_is_shown_only_when_the_message_alone_is_unclear(stage):
    stage.gateway.answers = [understood("advice"), understood("none", 0), understood("advice", 0.8)]
    await stage.ask("what should I do")
    reply = await stage.ask("and the other one?")
    decision = reply.decision
    assert (decision.stage, decision.intent, decision.score, decision.cached) == ("llm", "advice", 0.8, False)
    alone, with_context = stage.gateway.asked[1:]
    assert alone.messages[-1].content == "and the other one?"
    shown = with_context.messages[-1].content
    assert "user: what should I do" in shown
    assert "assistant: Hello!" in shown
    assert shown.endswith("and the other one?")
    turn = (await stage.turns())[1]
    assert (turn["input_tokens"], turn["stage"]) == (20, "llm")
    kinds = [event["type"] for event in json.loads(turn["events"])]
    assert kinds.count("usage") == 2


async def test_what_was_decided_with_the_conversation_is_not_kept(stage):
    stage.gateway.answers = [understood("advice"), understood("none", 0), understood("advice", 0.8)]
    await stage.ask("what should I do")
    await stage.ask("and the other one?")
    stage.gateway.answers = [understood("hours", 0.7)]
    reply = await stage.ask("and the other one?")
    # Alone it was decided before: nothing fits. With the conversation a model is asked each time.
    assert (reply.decision.intent, reply.decision.cached, len(stage.gateway.asked)) == ("hours", False, 4)
    assert counted(stage, "hit") == 1


async def test_the_first_message_of_a_session_has_no_conversation_to_ask_about(stage):
    stage.gateway.answers = [understood("none", 0)]
    await stage.ask("hm")
    assert len(stage.gateway.asked) == 1


async def test_a_model_that_fails_the_second_time_leaves_what_it_said_the_first(stage):
    stage.gateway.answers = [
        understood("advice"),
        understood("hours", 0.4),
        HopUnreachable("llm_gateway", "x"),
    ]
    await stage.ask("what should I do")
    assert (await stage.ask("hm")).status == "clarify"


def test_the_form_of_the_answer_is_strict_and_has_every_parameter():
    snapshot = compiled(
        {**CONFIG, "intents": [*INTENTS, {**INTENTS[1], "id": "c", "parameters": {"day": {}}}]}
    )
    schema = response_format(snapshot.config.intents, 1)["json_schema"]["schema"]
    assert schema["properties"]["intent"]["enum"] == ["book", "cancel", "c", "none"]
    parameters = schema["properties"]["parameters"]
    assert set(parameters["required"]) == set(parameters["properties"]) == set(INTENTS[0]["parameters"])
    assert parameters["properties"]["where"]["anyOf"] == [
        {"type": "null"},
        {"type": "string", "enum": ["inside", "outside"]},
    ]
    assert parameters["properties"]["day"]["anyOf"] == [{"type": "null"}, {"type": "string"}]
    for part in (schema, parameters, schema["properties"]["alternatives"]["items"]):
        assert part["additionalProperties"] is False


async def test_a_long_conversation_is_shown_in_part():
    gateway = GatewayStandIn(understood("cancel"))
    earlier = [ChatMessage(role="user", text=f"{number} {'x' * 5000}") for number in range(50)]
    await matched(model_matcher(gateway), "and now?", *earlier)
    shown = gateway.asked[0].messages[-1].content
    assert len(shown) < 5000
    assert "user: 49 x" in shown
    assert "user: 43 x" not in shown


async def test_every_decision_counts_the_time_since_the_message(stage):
    stage.gateway.answers = [understood("advice")]
    for message in ("are you open?", "what should I do", "what should I do"):
        assert 0 < (await stage.ask(message, principal=ALICE)).decision.took_us < 5_000_000


@pytest.mark.parametrize("then", ["reply", "flow"])
async def test_what_an_intent_cannot_do_without_is_asked_for_by_a_flow_or_not_guessed(then):
    needs = {"size": {"type": "integer", "pattern": r"size (\d+)", "required": True}}
    slot = {"id": "size", "type": "number", "prompt": "Which size?"}
    flow = {"id": "order", "slots": [slot], "steps": [{"type": "ask", "slot": "size"}]}
    intent = {"id": "order", "then": {"reply": "Size {{ parameters.size }}."}, "parameters": needs}
    if then == "flow":
        intent = {**intent, "then": {"flow": "order"}}
    config = {**CONFIG, "intents": [intent, *INTENTS], "flows": [flow] if then == "flow" else []}
    gateway = GatewayStandIn(understood("order", 0.95))
    matcher = Matcher(model_matcher(gateway), Roles(), MessageVectors(GatewayVectors(None)))
    decided = await matcher.by_model(incoming(compiled(config), "one of those please"), Guess())
    assert (decided.intent.id if decided.intent else None) == ("order" if then == "flow" else None)
    whole = await matcher.by_model(incoming(compiled(config), "one of size 7 please"), Guess())
    assert (whole.intent.id, whole.parameters) == ("order", {"size": 7})
