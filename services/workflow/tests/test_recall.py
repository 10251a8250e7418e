"""What models are shown of a conversation: whole turns within a budget, and a summary of those before them."""

import asyncio
import json
from typing import Any

from support.workflow_stage import ALICE, CONFIG, Gate, Stage, rows_of, skill_says

from signalbox.common.errors import Unavailable
from signalbox.common.text_sizes import clipped, tokens_of


def config(**context: Any) -> dict[str, Any]:
    chat = {"id": "chat", "when": {"patterns": [r"\d"]}, "then": {"skill": "advisor"}, "priority": 9}
    intents = [chat, *CONFIG["intents"]]
    return {**CONFIG, "greeting": None, "intents": intents, "policies": {"context": context}}


def prepare(stage: Stage, **context: Any) -> None:
    stage.releases.publish(config(**context))
    stage.gateway.roles = {"answer": "fake"}
    stage.gateway.answers = ["They talked."]
    stage.skills.answers = [skill_says("Well.")]


def shown(stage: Stage) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in stage.skills.asked[-1].history]


async def talk(stage: Stage, count: int, first: int = 0, text: str = "word {0}") -> None:
    for number in range(first, first + count):
        await stage.ask(text.format(number))
        await settle(stage)


async def settle(stage: Stage) -> None:
    for task in list(stage.recall._tasks.values()):
        await task


async def test_a_short_conversation_is_shown_whole_and_costs_no_summary(stage):
    prepare(stage, max_turns=6)
    await talk(stage, 5)
    assert shown(stage) == [
        line for n in range(4) for line in (("user", f"word {n}"), ("assistant", "Well."))
    ]
    assert stage.gateway.asked == []


async def test_each_message_says_of_which_turn_it_is_so_that_skills_find_what_they_left_in_it(stage):
    prepare(stage, max_turns=6)
    turns = [(await stage.ask(f"word {number}")).turn_id for number in range(3)]
    asked = stage.skills.asked[-1]
    assert [message.turn_id for message in asked.history] == [turns[0], turns[0], turns[1], turns[1]]
    assert asked.context.turn_id == turns[2]


async def test_turns_that_no_longer_fit_are_shown_as_a_summary_made_after_the_reply(stage):
    prepare(stage, max_turns=6)
    gate = Gate()
    stage.gateway.answers = [gate, "They talked of words 0 to 3."]
    await talk(stage, 6)
    reply = await stage.ask("word 6")
    assert reply.status == "success", "the reply came while the summary was being written"
    await asyncio.wait_for(gate.reached.wait(), 5)
    gate.open.set()
    await settle(stage)
    await stage.ask("word 7")
    assert shown(stage)[0] == ("system", "Earlier in this conversation: They talked of words 0 to 3.")
    assert [text for role, text in shown(stage) if role == "user"] == ["word 4", "word 5", "word 6"]
    [row] = await rows_of(stage.database, "workflow_summaries")
    assert (row["through_seq"], row["epoch"]) == (4, 1)
    prompt = stage.gateway.asked[0].messages[-1].content
    assert [f"word {number}" in prompt for number in range(5)] == [True, True, True, True, False]


async def test_a_summary_is_made_of_the_one_before_and_seldom(stage):
    prepare(stage, max_turns=6)
    await talk(stage, 40)
    assert len(stage.gateway.asked) <= 40 // 3
    assert "They talked." in stage.gateway.asked[1].messages[-1].content
    assert len([role for role, _ in shown(stage) if role == "user"]) <= 6


async def test_a_summary_that_a_turn_has_to_wait_for_is_of_its_own_cost(stage):
    prepare(stage, max_turns=4)
    stage.gateway.answers = [Unavailable("away")]
    await talk(stage, 6)
    assert [text for role, text in shown(stage) if role == "user"] == [f"word {n}" for n in range(1, 5)]
    stage.gateway.answers = ["They talked."]
    await stage.ask("word 6")
    assert shown(stage)[0] == ("system", "Earlier in this conversation: They talked.")
    turn = (await stage.turns())[-1]
    assert (turn["input_tokens"], turn["output_tokens"], turn["cost_pico"]) == (10, 2, 10**8)
    await settle(stage)
    assert len(await rows_of(stage.database, "workflow_summaries")) == 1
    assert sum(turn["input_tokens"] for turn in await stage.turns()) == 10


async def test_the_cost_of_a_summary_made_later_is_added_to_the_turn_before_it(stage):
    prepare(stage, max_turns=2)
    await talk(stage, 3)
    assert len(stage.gateway.asked) == 1
    first, _, second = await stage.turns()
    assert (first["input_tokens"], first["cost_pico"]) == (0, None)
    assert (second["input_tokens"], second["output_tokens"], second["cost_pico"]) == (10, 2, 10**8)
    assert second["currency"] == "USD"


async def test_summaries_made_later_count_in_the_cost_of_a_session(stage):
    # A turn costs nothing here, and each summary 0.0001.
    workflow = config(max_turns=2)
    stage.releases.publish({**workflow, "llm": {"limits": {"cost_per_session": "0.0002"}}})
    stage.gateway.roles = {"answer": "fake"}
    stage.gateway.answers = ["They talked."]
    stage.skills.answers = [skill_says("Well.")]
    await talk(stage, 4)
    made = len(stage.gateway.asked)
    assert (await stage.ask("word 4")).status == ("success" if made < 2 else "degraded")
    await talk(stage, 6, 5)
    capped = await stage.ask("word 11")
    assert (capped.status, capped.reason) == ("degraded", "session_cost_capped")
    [row] = await rows_of(stage.database, "workflow_summaries")
    assert row["cost_pico"] >= 2 * 10**8


async def test_without_compaction_older_turns_are_left_out(stage):
    prepare(stage, max_turns=3, compact=False)
    await talk(stage, 6)
    assert [text for role, text in shown(stage) if role == "user"] == ["word 2", "word 3", "word 4"]
    assert stage.gateway.asked == []


async def test_long_messages_count_by_their_tokens_and_never_pass_the_budget(stage):
    prepare(stage, max_turns=50, max_tokens=800)
    await talk(stage, 12, text="{0} " + "many a word " * 100)
    assert stage.gateway.asked != []
    assert sum(tokens_of(text) for _, text in shown(stage)) <= 800 + 20
    await talk(stage, 1, 12, text="{0}" + "x" * 7_900)
    await talk(stage, 1, 13)
    assert sum(tokens_of(text) for _, text in shown(stage)) <= 800 + 20
    prompt = max(len(request.messages[-1].content) for request in stage.gateway.asked)
    assert prompt < 800 * 2 * 4 + 5_000


async def test_a_summary_ends_with_its_epoch(stage):
    prepare(stage, max_turns=2)
    await talk(stage, 4)
    stage.releases.publish(config(max_turns=2))
    await stage.ask("bye")
    await stage.ask("word 0")
    await stage.ask("word 1")
    assert shown(stage) == [("user", "word 0"), ("assistant", "Well.")]


async def test_no_summary_is_stored_of_a_session_that_was_deleted_meanwhile(stage):
    prepare(stage, max_turns=2)
    gate = Gate()
    stage.gateway.answers = [gate, "They talked."]
    for number in range(3):
        await stage.ask(f"word {number}")
    await asyncio.wait_for(gate.reached.wait(), 5)
    await stage.views.delete(ALICE, "s1", None)
    gate.open.set()
    await settle(stage)
    assert await rows_of(stage.database, "workflow_summaries") == []


async def test_two_replicas_that_summarise_the_same_turns_do_so_under_one_key(stage):
    prepare(stage, max_turns=2)
    labels: list[Any] = []
    chat = stage.gateway.chat

    async def noting(request: Any, principal: Any, given: Any) -> Any:
        labels.append(given)
        return await chat(request, principal, given)

    stage.gateway.chat = noting
    await talk(stage, 3)
    turns = await stage.turns()
    assert [given.idempotency_key for given in labels] == [f"{turns[1]['turn_id']}/compaction"]
    assert (labels[0].purpose, labels[0].session_id, labels[0].workflow_id) == ("compaction", "s1", "shop")


def test_texts_are_cut_in_their_middle_within_their_tokens():
    for text in ("a" * 9_999, "订单" * 5_000, json.dumps({"x": "é" * 3_000})):
        cut = clipped(text, 100)
        assert tokens_of(cut) <= 100
        assert (cut[:5], cut[-5:]) == (text[:5], text[-5:])
    assert clipped("short", 100) == "short"
