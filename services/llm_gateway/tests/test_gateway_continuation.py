"""Streams that break after their begin, and what goes on with them."""

import pytest
from support.scripted_models import BUSY, DONE, END, ROLE, World, chunk, text_of, usage_chunk

from signalbox.contracts.identity import Scope
from signalbox.llm_gateway.errors import (
    ProviderBroke,
    ProviderTimeout,
)

CONTINUES = {"prefill": True}
HALF = [ROLE, chunk("one two"), chunk(" three"), ProviderBroke("cut")]


async def test_a_broken_answer_is_gone_on_with_as_if_nothing_had_happened():
    world = World(b=CONTINUES, rule={"max_attempts": 1})
    rest = [
        chunk("", role="assistant", by="2"),
        chunk(" four", role="assistant", by="2"),
        chunk(finish="stop", by="2"),
    ]
    world.script(a1=[HALF], b1=[[*rest, usage_chunk(), DONE]])
    events, ended = await world.read(max_tokens=50)
    assert (text_of(events), ended) == ("one two three four", True)
    assert {(event["id"], event["model"]) for event in events} == {("1", "a")}
    assert sum("role" in choice["delta"] for event in events for choice in event["choices"]) == 1
    _, asked = world.providers.asked[1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "one two three"}
    assert asked["max_tokens"] == 50 - 4
    broken, whole_one = world.row.attempts
    assert events[-1]["usage"]["completion_tokens"] == broken.tokens.output + 4
    assert events[-1]["usage"]["prompt_tokens"] == broken.tokens.input + 10
    assert (world.row.outcome, world.row.deployment) == ("ok", "b1")
    assert world.row.cost_pico == broken.cost_pico + whole_one.cost_pico
    assert world.providers.stopped == ["a1", "b1"]


async def test_our_services_are_told_what_all_attempts_cost():
    world = World(b=CONTINUES, rule={"max_attempts": 1}).script(a1=[BUSY], b1=[[chunk("x"), *END]])
    events, _ = await world.read(scopes=[Scope.SERVICE])
    assert events[-1]["signalbox_cost"] == "0.000018 USD"
    world = World(b=CONTINUES, rule={"max_attempts": 1}).script(a1=[HALF], b1=[[chunk("x"), *END]])
    events, _ = await world.read(scopes=[Scope.SERVICE])
    # What the broken one cost is an estimate, which is no price to be told.
    assert "signalbox_cost" not in events[-1]


async def test_space_at_the_seam_is_there_once():
    world = World(b=CONTINUES, rule={"max_attempts": 1})
    world.script(a1=[[chunk("one "), ProviderBroke("cut")]], b1=[[chunk(" two"), chunk(" three"), *END]])
    events, _ = await world.read()
    assert text_of(events) == "one two three"
    assert world.providers.asked[1][1]["messages"][-1]["content"] == "one"


async def test_an_answer_that_the_caller_began_is_gone_on_with_in_one_message():
    world = World(b=CONTINUES, rule={"max_attempts": 1}).script(a1=[HALF], b1=[[chunk(" four"), *END]])
    messages = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "zero "}]
    await world.read(messages=messages)
    assert world.providers.asked[1][1]["messages"][1:] == [
        {"role": "assistant", "content": "zero one two three"}
    ]


@pytest.mark.parametrize(
    ("provider", "message", "body"),
    [
        ("mistral", {"prefix": True}, {}),
        ("vllm", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
async def test_providers_are_asked_to_go_on_in_their_own_words(provider, message, body):
    world = World(b={**CONTINUES, "provider": provider}, rule={"max_attempts": 1})
    world.script(a1=[HALF], b1=[[chunk(" four"), *END]])
    await world.read()
    asked = world.providers.asked[1][1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "one two three", **message}
    assert body.items() <= asked.items()


async def test_a_continuation_that_breaks_too_is_gone_on_with_by_the_next():
    world = World(("a1", "a2", "a3"), prefill=True, rule={"max_attempts": 3})
    # Whoever it is that chance picks, the steps are given in this order.
    steps = [HALF, [chunk(" four", by="2"), ProviderTimeout("stalled")], [chunk(" five", by="3"), *END]]
    for name in ("a1", "a2", "a3"):
        world.providers.scripts[name] = steps
    events, ended = await world.read()
    assert (text_of(events), ended) == ("one two three four five", True)
    assert sorted(world.providers.names) == ["a1", "a2", "a3"]
    assert world.providers.asked[2][1]["messages"][-1]["content"] == "one two three four"
    assert {event["id"] for event in events} == {"1"}
    assert events[-1]["usage"]["completion_tokens"] == sum(one.tokens.output for one in world.row.attempts)


async def test_a_continuation_that_fails_before_it_begins_is_tried_again():
    world = World(b=CONTINUES, rule={"max_attempts": 1, "retry_backoff_s": 0})
    world.script(a1=[HALF], b1=[BUSY, [chunk(" four"), *END]])
    events, ended = await world.read()
    assert (text_of(events), ended) == ("one two three four", True)


LONG = ["The capital of France is Paris", ", and that of Italy is "]


@pytest.mark.parametrize(
    ("rest", "whole"),
    [
        # Started over, in pieces of its own.
        (["".join(LONG) + "Rome."], "Rome."),
        (["The", " capital of France", " is Paris, and that of Italy is Ro", "me."], "Rome."),
        (["".join(LONG)], ""),
        # Went on, though it began alike.
        (["The", " capital of Spain."], "The capital of Spain."),
        (["The"], "The"),
        (["Rome."], "Rome."),
    ],
)
@pytest.mark.parametrize("end", [END, [DONE]])
async def test_what_a_model_repeats_that_should_go_on_is_left_out(rest, whole, end):
    world = World(b=CONTINUES, rule={"max_attempts": 1})
    broken = [ROLE, *(chunk(piece) for piece in LONG), ProviderBroke("cut")]
    world.script(a1=[broken], b1=[[*(chunk(piece, by="2") for piece in rest), *end]])
    events, ended = await world.read()
    assert (text_of(events), ended) == ("".join(LONG) + whole, True)


async def test_a_text_that_was_repeated_is_gone_on_with_when_that_breaks_too():
    world = World(("a1", "a2", "a3"), prefill=True, rule={"max_attempts": 3})
    text = "".join(LONG)
    steps = [
        [chunk(text), ProviderBroke("cut")],
        [chunk(text + "Rome,"), ProviderBroke("cut")],
        [chunk(" I think."), *END],
    ]
    for name in ("a1", "a2", "a3"):
        world.providers.scripts[name] = steps
    events, _ = await world.read()
    assert text_of(events) == text + "Rome, I think."
    assert world.providers.asked[2][1]["messages"][-1]["content"] == text + "Rome,"


@pytest.mark.parametrize("text", ["ha ha ", "All work and no play makes Jack a dull boy.\n" * 2])
async def test_a_short_text_or_one_that_repeats_itself_may_be_said_again(text):
    world = World(b=CONTINUES, rule={"max_attempts": 1})
    world.script(a1=[[chunk(text), ProviderBroke("cut")]], b1=[[chunk(text, by="2"), *END]])
    events, _ = await world.read()
    assert text_of(events) == text + text


@pytest.mark.parametrize(
    ("broken", "asked"),
    [
        (HALF, {"response_format": {"type": "json_object"}}),
        (HALF, {"n": 2}),
        (HALF, {"logprobs": True}),
        ([chunk("x"), chunk(tool_calls=[{"index": 0}]), ProviderBroke("cut")], {}),
        ([chunk(reasoning_content="hm"), ProviderBroke("cut")], {}),
        ([chunk("x"), chunk(refusal="no"), ProviderBroke("cut")], {}),
    ],
)
async def test_what_cannot_be_gone_on_with_ends_with_the_break(broken, asked):
    world = World(b=CONTINUES, rule={"max_attempts": 1}).script(a1=[broken], b1=[])
    events, ended = await world.read(**asked)
    assert (events[-1]["error"]["code"], ended) == ("provider_broke_off", False)
    assert world.providers.names == ["a1"]
    assert world.row.outcome == "error"


@pytest.mark.parametrize("prefill", [False, True])
async def test_the_break_is_what_the_client_hears_of_not_why_it_could_not_be_mended(prefill):
    refused = (400, b'{"error":{"message":"no prefill","code":"invalid_prefill"}}')
    world = World(b={"prefill": prefill}, rule={"max_attempts": 1}).script(a1=[HALF], b1=[refused])
    events, ended = await world.read()
    assert (events[-1]["error"]["code"], ended) == ("provider_broke_off", False)
    assert world.providers.names == (["a1", "b1"] if prefill else ["a1"])


async def test_a_break_after_the_last_of_the_answer_is_none():
    world = World(rule={"max_attempts": 1}).script(
        a1=[[chunk("x"), chunk(finish="stop"), ProviderBroke("cut")]]
    )
    events, ended = await world.read()
    assert (text_of(events), ended, world.row.outcome) == ("x", True, "ok")


async def test_of_two_choices_both_must_be_whole():
    second = chunk("y").replace(b'"index":0', b'"index":1')
    world = World(rule={"max_attempts": 1}).script(a1=[[chunk("x"), second, chunk(finish="stop")]])
    events, ended = await world.read(n=2)
    assert ("error" in events[-1], ended) == (True, False)
