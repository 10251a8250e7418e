"""Flows run message by message: asking, calling, branching, confirming, failing."""

import json
from typing import Any

import pytest
from support.flow_talk import FakeTools, Talk, failing

from signalbox.contracts.work import FlowState, ToolError
from signalbox.flows.errors import FlowStateInvalid, UnknownFlow

ORDER = {
    "id": "order",
    "slots": [
        {
            "id": "number",
            "type": "integer",
            "prompt": {"en": "Which order?", "zh": "哪个订单？"},
            "validation": {"json_schema": {"minimum": 1000}, "message": {"en": "Too short.", "zh": "太短。"}},
        }
    ],
    "steps": [
        {"type": "ask", "slot": "number"},
        {"type": "call", "tool": "look", "arguments": {"n": "{{ slots.number }}"}, "save_as": "order"},
        {"type": "branch", "cases": [{"when": "not results.order", "next": "unknown"}]},
        {"type": "reply", "template": "found", "next": "done"},
        {"id": "unknown", "type": "reply", "text": "There is no order {{ slots.number }}.", "next": "done"},
        {"id": "done", "type": "end"},
    ],
    "templates": {"found": {"en": "It is {{ results.order.status }}.", "zh": "状态：{{ order.status }}。"}},
    "on_error": {"reply": {"en": "The shop is away."}},
}


async def test_a_parameter_saves_the_question():
    tools = FakeTools(look=lambda given: {"status": "sent", "n": given["n"]})
    talk = Talk(ORDER, tools)
    result = await talk.say("where is 1042?", number="1042")
    assert (result.status, result.message, result.state) == ("completed", "It is sent.", None)
    assert tools.calls[0].arguments == {"n": 1042}
    assert tools.calls[0].idempotency_key.startswith("turn_1/order/1/")
    assert [event.type for event in talk.events] == ["tool_call", "tool_result"]
    assert talk.events[1].data.output == {"status": "sent", "n": 1042}


async def test_a_missing_slot_is_asked_for_in_the_users_language():
    talk = Talk(ORDER, FakeTools(look=lambda _: {"status": "sent"}), language="zh")
    asked = await talk.say("我的订单呢")
    assert (asked.status, asked.message, asked.state.asked) == ("waiting", "哪个订单？", "number")
    assert (await talk.say("订单1042")).message == "状态：sent。"


async def test_a_bad_answer_is_told_and_asked_for_again_until_the_limit():
    talk = Talk(ORDER, FakeTools())
    await talk.say("where is it")
    assert (await talk.say("no idea")).message == "Sorry, I did not understand that.\n\nWhich order?"
    assert (await talk.say("12")).message == "Too short.\n\nWhich order?"
    ended = await talk.say("13")
    assert (ended.status, ended.message, ended.reason) == ("failed", "The shop is away.", "too_many_attempts")
    assert ended.state is None


async def test_a_parameter_that_is_refused_is_asked_for():
    result = await Talk(ORDER).say("where is 12", number=12)
    assert (result.status, result.message) == ("waiting", "Too short.\n\nWhich order?")


async def test_a_parameter_is_validated_when_its_turn_comes_after_a_question():
    slots = [{"id": "name", "prompt": "Name?"}, *ORDER["slots"]]
    flow = {
        "id": "late",
        "slots": slots,
        "steps": [{"type": "ask", "slot": "name"}, {"type": "ask", "slot": "number"}],
    }
    talk = Talk(flow)
    assert (await talk.say("12", number=12)).message == "Name?"
    assert (await talk.say("Wren")).message == "Too short.\n\nWhich order?"


async def test_an_empty_result_takes_the_other_branch():
    assert (
        await Talk(ORDER, FakeTools(look=lambda _: None)).say("1042", number=1042)
    ).message == "There is no order 1042."


async def test_a_failed_call_ends_with_the_flows_reply():
    result = await Talk(ORDER, FakeTools(look=failing("unreachable"))).say("x", number=1042)
    assert (result.status, result.message, result.reason) == ("failed", "The shop is away.", "unreachable")


async def test_giving_up_in_the_middle():
    talk = Talk(ORDER)
    await talk.say("where is it")
    result = await talk.say("never mind")
    assert (result.status, result.reason, result.state) == ("cancelled", "cancelled_by_user", None)
    stubborn = Talk({**ORDER, "cancellable": False})
    await stubborn.say("where is it")
    assert (await stubborn.say("never mind")).status == "waiting"


def confirmed(**step: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "steps": [
            {"type": "confirm", "prompt": {"en": "Cancel it at {{ vars.shop }}?"}, **step},
            {"type": "call", "tool": "book"},
            {"type": "reply", "text": "Cancelled."},
            {"type": "end"},
            {"id": "kept", "type": "reply", "text": "Kept."},
        ],
    }


async def test_confirmation_offers_choices_and_takes_yes_and_no():
    talk = Talk(confirmed(on_no="kept"), FakeTools(book=lambda _: 1))
    asked = await talk.say("cancel")
    assert (asked.message, asked.state.asked) == ("Cancel it at Ridge?", "confirm:0")
    assert [(choice.label, choice.value) for choice in asked.parts[0].choices] == [
        ("Yes", "yes"),
        ("No", "no"),
    ]
    assert (await talk.say("hm")).message == "Please answer yes or no.\n\nCancel it at Ridge?"
    assert (await talk.say("yes")).message == "Cancelled."
    assert talk.tools.writes == [True]
    for answer, options, said in (
        ("no", {"on_no": "kept"}, "Kept."),
        ("不用了", {}, "All right, I leave it as it is."),
    ):
        other = Talk(confirmed(**options))
        await other.say("cancel")
        assert (await other.say(answer)).message == said
        assert other.tools.calls == []


async def test_cancel_answers_a_question_about_cancelling_with_a_question():
    talk = Talk(confirmed())
    await talk.say("x")
    assert (await talk.say("cancel")).status == "waiting"


async def test_enum_slots_offer_their_labels_and_take_their_values():
    flow = {
        "id": "e",
        "slots": [
            {
                "id": "c", "type": "enum", "prompt": "Where to?",
                "values": [{"value": "DE", "label": {"en": "Germany", "zh": "德国"}}, {"value": "FR"}],
            }
        ],
        "steps": [{"type": "ask", "slot": "c"}, {"type": "reply", "text": "To {{ c }}."}],
    }  # fmt: skip
    talk = Talk(flow, language="zh")
    asked = await talk.say("x")
    assert [(choice.label, choice.value) for choice in asked.parts[0].choices] == [
        ("德国", "DE"),
        ("FR", "FR"),
    ]
    assert asked.message == "Where to?\n1. 德国\n2. FR"
    assert (await talk.say("DE")).message == "To DE."


async def test_a_question_that_names_its_choices_lists_them_no_second_time():
    slot = {
        "id": "c",
        "type": "enum",
        "prompt": "Red or blue?",
        "values": [{"value": "Red"}, {"value": "Blue"}],
    }
    talk = Talk({"id": "e", "slots": [slot], "steps": [{"type": "ask", "slot": "c"}]})
    asked = await talk.say("x")
    assert (asked.message, [choice.value for choice in asked.parts[0].choices]) == (
        "Red or blue?",
        ["Red", "Blue"],
    )


async def test_set_defaults_profile_and_the_first_message():
    flow = {
        "id": "s",
        "slots": [
            {"id": "name", "source": ["profile"]},
            {"id": "colour", "default": "blue"},
            {"id": "day", "type": "date", "source": ["message"]},
            {"id": "unread", "type": "date"},
        ],
        "steps": [
            {"type": "set", "values": {"total": "{{ 2 * 3 }}", "colour": "{{ slots.colour | upper }}"}},
            {
                "type": "reply",
                "text": "{{ name }} {{ slots.colour }} {{ slots.total + 1 }} {{ day }} {{ unread }}",
            },
        ],
    }
    result = await Talk(flow, profile={"name": "Wren"}, timezone="Asia/Shanghai").say("tomorrow please")
    assert result.message == "Wren BLUE 7 2026-11-25"


async def test_a_slot_is_validated_by_a_tool():
    flow = {
        "id": "v",
        "slots": [
            {
                "id": "code", "prompt": "Code?",
                "validation": {
                    "tool": "check", "arguments": {"c": "{{ code }}"}, "accept": "result.ok", "message": "No.",
                },
            }
        ],
        "steps": [{"type": "ask", "slot": "code"}, {"type": "reply", "text": "Got {{ code }}."}],
    }  # fmt: skip
    talk = Talk(flow, FakeTools(check=lambda given: {"ok": given["c"] == "right"}))
    await talk.say("x")
    assert (await talk.say("wrong")).message == "No.\n\nCode?"
    assert (await talk.say("right")).message == "Got right."
    assert len({call.idempotency_key for call in talk.tools.calls}) == 2


def trip(**second: Any) -> dict[str, Any]:
    return {
        "id": "trip",
        "steps": [
            {"type": "call", "tool": "book", "arguments": {}, "save_as": "room",
             "compensation": {"tool": "undo_book", "arguments": {"id": "{{ results.room.id }}"}}},
            {"type": "call", "tool": "charge", "save_as": "paid",
             "compensation": {"tool": "undo_charge", "arguments": {"id": "{{ paid.id }}"}}},
            {"type": "call", "tool": "look", **second},
            {"type": "reply", "text": "Done."},
        ],
    }  # fmt: skip


async def test_what_was_done_is_undone_in_reverse_when_a_later_step_fails():
    tools = FakeTools(
        book=lambda _: {"id": 1}, charge=lambda _: {"id": 2}, look=failing("upstream_error", 409),
        undo_book=lambda _: None, undo_charge=failing("unreachable"),
    )  # fmt: skip
    result = await Talk(trip(), tools).say("book it")
    assert (result.status, result.reason) == ("failed", "upstream_error")
    assert tools.names == ["book", "charge", "look", "undo_charge", "undo_book"]
    assert [call.arguments for call in tools.calls[3:]] == [{"id": 2}, {"id": 1}]
    assert tools.calls[4].idempotency_key == f"{tools.calls[0].idempotency_key}/undo"


async def test_nothing_is_undone_when_the_flow_goes_on():
    tools = FakeTools(book=lambda _: {"id": 1}, charge=lambda _: {"id": 2}, look=failing("timeout"))
    flow = trip(on_error={"reply": "Almost.", "next": "rest"})
    flow["steps"].append({"id": "rest", "type": "reply", "text": "The rest."})
    result = await Talk(flow, tools).say("x")
    assert (result.status, result.message) == ("completed", "Almost.\n\nThe rest.")
    assert tools.names == ["book", "charge", "look"]


async def test_a_turn_that_came_to_nothing_is_made_up_for_by_the_same_call():
    """The turn's commit failed after the write: the session has the state from before, and the user says it again."""
    slots = [{"id": "day", "type": "integer", "prompt": "Which day?"}]
    steps = [
        {"type": "ask", "slot": "day"},
        {"type": "call", "tool": "book", "arguments": {"day": "{{ slots.day }}"}, "save_as": "booked"},
    ]
    talk = Talk({"id": "w", "slots": slots, "steps": steps}, FakeTools(book=lambda _: {"id": 1}))
    await talk.say("book a room")
    before = talk.state
    for day in ("7", "7", "8"):
        talk.state = before
        assert (await talk.say(day)).status == "completed"
    first, again, other = (call.idempotency_key for call in talk.tools.calls)
    assert first == again
    # What is another call has another key: a backend that honours keys would take it for the first one.
    assert other != first


async def test_only_what_is_safe_is_repeated():
    answers = iter([ToolError(code="timeout", detail="slow"), {"status": "sent"}])
    tools = FakeTools(look=lambda _: next(answers))
    flow = {**ORDER, "on_error": {"retries": 2}}
    assert (await Talk(flow, tools).say("x", number=1042)).message == "It is sent."
    assert len({call.idempotency_key for call in tools.calls}) == 1
    write = {"id": "w", "steps": [{"type": "call", "tool": "book", "on_error": {"retries": 3}}]}
    tools = FakeTools(book=failing("unknown_outcome"))
    assert (await Talk(write, tools).say("x")).reason == "unknown_outcome"
    assert tools.names == ["book"]


async def test_an_error_may_take_an_action():
    flow = {
        "id": "a",
        "steps": [
            {"type": "call", "tool": "look", "on_error": {"action": "handoff", "reply": "A person helps."}}
        ],
    }
    result = await Talk(flow, FakeTools(look=failing("refused"))).say("x")
    assert (result.status, result.action, result.message) == ("failed", "handoff", "A person helps.")


CHILD = {
    "id": "child",
    "slots": [{"id": "street", "prompt": "Street?"}, {"id": "town"}],
    "steps": [{"type": "ask", "slot": "street"}, {"type": "reply", "text": "Noted."}],
}


def parent(**step: Any) -> dict[str, Any]:
    return {
        "id": "parent",
        "steps": [
            {"type": "reply", "text": "First."},
            {
                "type": "subflow",
                "flow": "child",
                "arguments": {"town": "{{ 'Ulm' }}"},
                "save_as": "at",
                **step,
            },
            {"type": "reply", "text": "{{ results.at.street }} in {{ at.town }}."},
        ],
    }


async def test_a_subflow_asks_and_gives_back_its_slots():
    talk = Talk([parent(), CHILD])
    asked = await talk.say("go")
    assert (asked.message, asked.state.flow, [flow.flow for flow in asked.state.parents]) == (
        "First.\n\nStreet?", "child", ["parent"],
    )  # fmt: skip
    assert (await talk.say("12 High Street")).message == "Noted.\n\n12 High Street in Ulm."


async def test_a_subflow_that_fails_undoes_its_own_writes_then_its_parents():
    child = {**trip(), "id": "child"}
    top = {
        "id": "parent",
        "steps": [
            {"type": "call", "tool": "book", "save_as": "room",
             "compensation": {"tool": "undo_book", "arguments": {"id": "outer"}}},
            {"type": "subflow", "flow": "child", "on_error": {"reply": "No trip."}},
        ],
    }  # fmt: skip
    tools = FakeTools(
        book=lambda _: {"id": 1}, charge=lambda _: {"id": 2}, look=failing("timeout"), undo_book=lambda _: 0,
        undo_charge=lambda _: 0,
    )  # fmt: skip
    result = await Talk([top, child], tools).say("x")
    assert (result.status, result.reason) == ("failed", "subflow_failed")
    assert result.message.endswith("No trip.")
    assert tools.names == ["book", "book", "charge", "look", "undo_charge", "undo_book", "undo_book"]
    assert tools.calls[-1].arguments == {"id": "outer"}


async def test_a_circle_ends():
    flow = {"id": "c", "steps": [{"id": "a", "type": "set", "values": {"n": 1}, "next": "a"}]}
    result = await Talk(flow).say("x")
    assert (result.status, result.reason) == ("failed", "step_limit")
    deep = {"id": "d", "steps": [{"type": "subflow", "flow": "d"}]}
    assert (await Talk(deep).say("x")).status == "failed"


async def test_the_same_step_twice_has_two_keys():
    flow = {
        "id": "l",
        "steps": [
            {"type": "set", "values": {"n": 0}},
            {"id": "again", "type": "call", "tool": "book"},
            {"type": "set", "values": {"n": "{{ n + 1 }}"}},
            {"type": "branch", "cases": [{"when": "n < 2", "next": "again"}]},
        ],
    }
    talk = Talk(flow, FakeTools(book=lambda _: 1))
    assert (await talk.say("x")).message == "Done."
    first, second = (call.idempotency_key for call in talk.tools.calls)
    assert first != second


async def test_rich_parts_and_variations():
    flow = {
        "id": "p",
        "steps": [
            {"type": "reply", "text": ["One.", "Two."],
             "parts": [{"type": "link", "url": "https://x.example/{{ 1 + 1 }}", "title": "T"}]},
            {"type": "end", "action": "close"},
        ],
    }  # fmt: skip
    talk = Talk(flow)
    results = [await talk.say("x") for _ in range(12)]
    assert {result.message for result in results} == {"One.", "Two."}
    assert (results[0].parts[0].url, results[0].action) == ("https://x.example/2", "close")
    bad = {"id": "b", "steps": [{"type": "reply", "parts": [{"type": "hologram"}]}]}
    assert (await Talk(bad).say("x")).reason == "bad_part"


async def test_a_template_over_something_that_is_not_there_is_an_error_of_the_flow():
    flow = {
        "id": "t",
        "steps": [{"type": "reply", "text": "{{ results.x.y }}"}],
        "on_error": {"reply": "Oops."},
    }
    result = await Talk(flow).say("x")
    assert (result.status, result.message, result.reason) == ("failed", "Oops.", "template_error")


async def test_a_state_that_does_not_fit_is_refused():
    talk = Talk(ORDER)
    talk.state = FlowState(flow="order", step=99)
    with pytest.raises(FlowStateInvalid):
        await talk.say("x")
    talk.state = FlowState(flow="gone", step=0)
    with pytest.raises(UnknownFlow):
        await talk.say("x")


async def test_the_state_that_goes_out_is_plain_json():
    talk = Talk(ORDER)
    await talk.say("where")
    assert json.loads(talk.state.model_dump_json())["asked"] == "number"
