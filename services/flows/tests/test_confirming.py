"""A write whose tool says ``confirm: always`` is not made in a flow without the user's yes."""

from typing import Any

import pytest
from support.flow_talk import FakeTools, Talk

CALL = {"type": "call", "tool": "close", "arguments": {"account_id": "{{ account }}"}}
ACCOUNT = {"id": "account", "prompt": "Which?", "label": "account"}


def closing(*before: dict[str, Any], after: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "id": "c",
        "slots": [ACCOUNT, {"id": "why", "prompt": "Why?"}],
        "steps": [{"type": "ask", "slot": "account"}, *before, CALL, *(after or [])],
    }


def talk_of(flow: Any, **more: Any) -> Talk:
    return Talk(flow, FakeTools(close=lambda _: 1, undo_book=lambda _: 1), **more)


async def test_the_flow_asks_where_the_workflow_does_not():
    talk = talk_of(closing(after=[{"type": "reply", "text": "Closed."}]))
    await talk.say("close it")
    asked = await talk.say("A {{ 1 + 1 }}")
    assert asked.message == "Shall I go ahead? Close the account. (account id: A {{ 1 + 1 }})"
    assert [choice.value for choice in asked.parts[0].choices] == ["yes", "no"]
    assert (asked.state.asked, talk.tools.names) == ("confirm:1", [])
    assert talk.read("yes").fit == "exact"
    assert talk.read("what is that?").question == asked.message
    assert (await talk.say("hm")).message.startswith("Please answer yes or no.\n\nShall I go ahead?")
    assert (await talk.go_on("by the way", asking=True)).message == asked.message
    done = await talk.say("yes")
    assert (done.message, talk.tools.names) == ("Closed.", ["close"])


@pytest.mark.parametrize(("language", "no", "said"), [("en", "no", "All right"), ("zh", "不要", "好的")])
async def test_a_no_ends_the_flow_without_the_write(language, no, said):
    talk = talk_of(closing(), language=language)
    await talk.say("x", account="A1")
    result = await talk.say(no)
    assert (result.status, result.reason, talk.tools.calls) == ("cancelled", "declined", [])
    assert result.message.startswith(said)


async def test_a_yes_to_the_workflows_own_question_is_enough_for_all_that_follows_it():
    talk = talk_of(closing({"type": "confirm", "prompt": "Close {{ account }}?"}, after=[CALL]))
    await talk.say("x", account="A1")
    assert (await talk.say("yes")).status == "completed"
    assert talk.tools.names == ["close", "close"]


async def test_a_yes_counts_until_the_next_answer():
    confirm = {"type": "confirm", "prompt": "Really?"}
    talk = talk_of(closing(confirm, {"type": "ask", "slot": "why"}))
    for message in ("A1", "A1", "yes"):
        await talk.say(message)
    asked = await talk.say("tired")
    assert (asked.state.asked, talk.tools.calls) == ("confirm:3", [])


async def test_a_no_that_goes_on_is_no_yes():
    confirm = {"type": "confirm", "prompt": "Keep a copy?", "on_no": "go"}
    flow = closing(confirm)
    flow["steps"][-1] = {**CALL, "id": "go"}
    talk = talk_of(flow)
    await talk.say("x", account="A1")
    assert (await talk.say("no")).state.asked == "confirm:2"
    assert talk.tools.calls == []


async def test_a_yes_of_the_parent_counts_in_a_subflow_and_back():
    inner = {"id": "i", "slots": [ACCOUNT], "steps": [CALL]}
    outer = {
        "id": "o",
        "steps": [
            {"type": "confirm", "prompt": "Close?"},
            {"type": "subflow", "flow": "i", "arguments": {"account": "A1"}},
            {**CALL, "arguments": {"account_id": "A2"}},
        ],
    }
    talk = talk_of([outer, inner])
    await talk.say("x")
    assert (await talk.say("yes")).status == "completed"
    assert [call.arguments for call in talk.tools.calls] == [{"account_id": "A1"}, {"account_id": "A2"}]
    bare = talk_of([{**outer, "steps": outer["steps"][1:]}, inner])
    assert (await bare.say("x")).message.endswith("(account id: A1)")


async def test_a_correction_is_confirmed_anew_and_what_was_said_yes_to_is_not():
    undo = {"compensation": {"tool": "undo_book"}}
    flow = closing(after=[{"type": "ask", "slot": "why"}])
    flow["steps"][1] = {**CALL, **undo}
    talk = talk_of(flow)
    for message in ("x", "A1", "yes"):
        await talk.say(message)
    assert talk.tools.names == ["close"]
    asked = await talk.say("change the account to B2")
    assert asked.message.endswith("Shall I go ahead? Close the account. (account id: B2)")
    assert (await talk.say("yes")).message == "Why?"
    assert [call.tool for call in talk.tools.calls] == ["close", "undo_book", "close"]
    assert talk.tools.calls[-1].arguments == {"account_id": "B2"}


async def test_a_yes_does_not_cover_what_a_model_finds_in_a_later_answer():
    flow = closing({"type": "confirm", "prompt": "Really?"}, {"type": "ask", "slot": "why"})
    talk = talk_of(flow)
    for message in ("A1", "A1", "yes"):
        await talk.say(message)
    asked = await talk.go_on("well, tired of it", corrections={"why": "tired"})
    assert (asked.state.asked, talk.tools.calls) == ("confirm:3", [])
