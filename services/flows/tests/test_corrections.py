"""Corrections: an earlier slot changes, what depends on it is asked or checked again, and no effect happens twice."""

from typing import Any

import pytest
from support.flow_talk import FakeTools, Talk, failing

from signalbox.contracts.work import FlowState

BOOKING: dict[str, Any] = {
    "id": "booking",
    "slots": [
        {
            "id": "order_number", "type": "integer", "prompt": {"en": "Which order?", "zh": "哪个订单？"},
            "label": {"en": ["order"], "zh": ["订单", "订单号"]},
            "validation": {"json_schema": {"minimum": 1000}},
        },
        {
            "id": "colour", "type": "enum", "prompt": {"en": "Which colour?", "zh": "什么颜色？"},
            "label": {"en": "colour", "zh": "颜色"},
            "values": [
                {"value": "red", "label": {"en": "Red", "zh": "红色"}},
                {"value": "blue", "label": {"en": "Blue", "zh": "蓝色"}},
            ],
        },
        {
            "id": "street", "prompt": {"en": "Which street?", "zh": "哪条街？"},
            "label": {"en": ["street", "address"], "zh": ["街道", "地址"]},
        },
        {
            "id": "pieces", "type": "integer", "prompt": {"en": "How many?", "zh": "几件？"},
            "depends_on": ["order_number"],
        },
    ],
    "steps": [
        {"type": "ask", "slot": "order_number"},
        {"type": "call", "tool": "look", "arguments": {"n": "{{ slots.order_number }}"}, "save_as": "order"},
        {"type": "branch", "cases": [{"when": "not results.order", "next": "unknown"}]},
        {"type": "reply", "text": "Order {{ slots.order_number }} is {{ results.order.status }}."},
        {"type": "ask", "slot": "colour"},
        {"type": "ask", "slot": "street"},
        {"type": "ask", "slot": "pieces"},
        {
            "type": "confirm",
            "prompt": {
                "en": "{{ pieces }} {{ colour }} of {{ order_number }} to {{ street }}?",
                "zh": "把{{ order_number }}的{{ pieces }}件{{ colour }}寄到{{ street }}？",
            },
        },
        {"type": "call", "tool": "book", "arguments": {"n": "{{ slots.order_number }}", "c": "{{ slots.colour }}"}},
        {"type": "reply", "text": "Booked.", "next": "done"},
        {"id": "unknown", "type": "reply", "text": "No order {{ slots.order_number }}."},
        {"id": "done", "type": "end"},
    ],
}  # fmt: skip


def known(given: dict[str, Any]) -> Any:
    return None if given["n"] == 9999 else {"status": f"s{given['n']}"}


TO_CONFIRM = ["1042", "red", "1 High Street", "3"]


async def talk_until(
    *messages: str, language: str = "en", flow: dict[str, Any] = BOOKING, **tools: Any
) -> Talk:
    talk = Talk(flow, FakeTools(look=known, book=lambda _: {"id": 1}, **tools), language=language)
    await talk.say("start")
    for message in messages:
        await talk.say(message)
    return talk


@pytest.mark.parametrize(
    ("language", "message", "expected"),
    [
        ("en", "no, I meant order 1043", 1043),
        ("en", "No, I meant 1043.", 1043),
        ("en", "sorry, the order is 1043", 1043),
        ("en", "wait, 1043", 1043),
        ("en", "it's not 1042 but 1043", 1043),
        ("en", "1043, not 1042", 1043),
        ("en", "1043 instead of 1042", 1043),
        ("en", "change the order number to 1043 please", 1043),
        ("zh", "不对，是1043", 1043),
        ("zh", "不是1042，是1043", 1043),
        ("zh", "说错了，应该是1043", 1043),
        ("zh", "我是说1043", 1043),
        ("zh", "订单号改成1043", 1043),
        ("zh", "把订单换成1043吧", 1043),
    ],
)
async def test_an_earlier_slot_is_changed_and_the_open_question_asked_again(language, message, expected):
    talk = await talk_until("1042", language=language)
    question = {"en": "Which colour?\n1. Red\n2. Blue", "zh": "什么颜色？\n1. 红色\n2. 蓝色"}[language]
    changed = await talk.say(message)
    assert (changed.status, talk.state.slots["order_number"]) == ("waiting", expected)
    assert changed.message == f"Order {expected} is s{expected}.\n\n{question}"
    assert [call.arguments["n"] for call in talk.tools.calls] == [1042, expected]


@pytest.mark.parametrize(
    ("messages", "correction", "slot", "value", "asked"),
    [
        (["1042", "red"], "actually make it blue", "colour", "blue", "street"),
        (["1042", "red"], "change the colour to blue", "colour", "blue", "street"),
        (["1042", "red", "1 High Street"], "no, the street is 2 Low Road", "street", "2 Low Road", "pieces"),
        (["1042", "red", "1 High Street"], "I meant 2 Low Road", "street", "2 Low Road", "pieces"),
        (["1042", "red", "1 High Street"], "actually I want blue", "colour", "blue", "pieces"),
        (TO_CONFIRM, "yes but change the address to 2 Low Road", "street", "2 Low Road", "confirm:7"),
        (TO_CONFIRM, "no, 4", "pieces", 4, "confirm:7"),
        (TO_CONFIRM, "4", "pieces", 4, "confirm:7"),
        (TO_CONFIRM, "it should be 4", "pieces", 4, "confirm:7"),
        (TO_CONFIRM, "no, I want 4 not 3", "pieces", 4, "confirm:7"),
        (TO_CONFIRM, "是4件", "pieces", 4, "confirm:7"),
        (TO_CONFIRM, "wrong street, it is 2 Low Road", "street", "2 Low Road", "confirm:7"),
        (["1042", "red", "长安街1号"], "地址写错了，应该是南京路2号", "street", "南京路2号", "pieces"),
        (TO_CONFIRM, "no, make it blue", "colour", "blue", "confirm:7"),
        (TO_CONFIRM, "可以，不过颜色改成蓝色", "colour", "blue", "confirm:7"),
        (["1042", "red", "长安街1号"], "不对，街道应该是南京路2号", "street", "南京路2号", "pieces"),
    ],
)  # fmt: skip
async def test_the_slot_that_is_meant_is_found(messages, correction, slot, value, asked):
    talk = await talk_until(*messages)
    looked = len(talk.tools.calls)
    result = await talk.say(correction)
    assert (talk.state.slots[slot], talk.state.asked, result.status) == (value, asked, "waiting")
    assert len(talk.tools.calls) == looked, "a call whose arguments are the same is not made again"
    assert "is s1042" not in result.message, "what was said is not said again"


@pytest.mark.parametrize(
    ("messages", "answer", "slot", "value"),
    [
        (["1042"], "actually, blue", "colour", "blue"),
        (["1042", "red"], "actually, 12 Elm Street", "street", "actually, 12 Elm Street"),
        (["1042", "red"], "No 1050 Elm Street", "street", "No 1050 Elm Street"),
        (["1042", "red"], "the street is 12 Elm Street", "street", "12 Elm Street"),
        (["1042", "red", "1 High Street"], "sorry, 5", "pieces", 5),
        (["1042", "red", "1 High Street"], "其实是5", "pieces", 5),
    ],
)
async def test_an_answer_to_the_open_question_is_no_correction(messages, answer, slot, value):
    talk = await talk_until(*messages)
    before = dict(talk.state.slots)
    await talk.say(answer)
    assert talk.state.slots == before | {slot: value}


@pytest.mark.parametrize(
    "message", ["no", "No, thanks", "no, leave it", "不对", "no, not that one", "actually no"]
)
async def test_a_plain_no_declines(message):
    talk = await talk_until("1042", "red", "1 High Street", "3")
    assert (await talk.say(message)).reason == "declined"
    assert "book" not in talk.tools.names


async def test_a_slot_that_depends_on_the_changed_one_is_asked_again_and_the_others_are_kept():
    talk = await talk_until("1042", "red", "1 High Street", "3")
    result = await talk.say("no, I meant order 1043")
    assert result.message == "Order 1043 is s1043.\n\nHow many?"
    assert talk.state.slots == {"order_number": 1043, "colour": "red", "street": "1 High Street"}
    confirm = await talk.say("5")
    assert confirm.message == "5 red of 1043 to 1 High Street?"
    assert (await talk.say("yes")).message == "Booked."
    assert talk.tools.calls[-1].arguments == {"n": 1043, "c": "red"}


async def test_branches_are_taken_anew():
    talk = await talk_until("1042", "red")
    result = await talk.say("sorry, I meant order 9999")
    assert (result.status, result.message) == ("completed", "No order 9999.")


async def test_a_correction_may_come_from_outside():
    talk = await talk_until("1042", "red")
    result = await talk.go_on("hmm the other one", corrections={"colour": "blue"})
    assert (talk.state.slots["colour"], result.message) == ("blue", "Which street?")
    refused = await talk.go_on("x", corrections={"size": 5})
    assert (refused.message, talk.state.slots["colour"]) == (
        "Sorry, I cannot change that now.\n\nWhich street?",
        "blue",
    )


async def test_a_corrected_value_is_validated():
    talk = await talk_until("1042")
    result = await talk.go_on("x", corrections={"order_number": 12})
    assert result.message == "Sorry, that does not work here.\n\nWhich order?"
    assert (await talk.say("1043")).message == "Order 1043 is s1043.\n\nWhich colour?\n1. Red\n2. Blue"


async def test_a_value_that_was_checked_with_the_changed_one_is_checked_again():
    flow = {
        "id": "v",
        "slots": [
            {"id": "town", "prompt": "Town?", "label": "town"},
            {
                "id": "code", "prompt": "Code?",
                "validation": {
                    "tool": "check", "arguments": {"t": "{{ town }}", "c": "{{ code }}"}, "message": "Not there.",
                },
            },
            {"id": "name", "prompt": "Name?"},
        ],
        "steps": [{"type": "ask", "slot": name} for name in ("town", "code", "name")],
    }  # fmt: skip
    talk = Talk(flow, FakeTools(check=lambda given: given["t"][0] == given["c"]))
    for message in ("x", "Ulm", "U"):
        await talk.say(message)
    result = await talk.say("change the town to Bonn")
    assert (result.message, talk.state.slots) == ("Not there.\n\nCode?", {"town": "Bonn"})


def after_a_write(**write: Any) -> dict[str, Any]:
    return {
        "id": "w",
        "slots": [
            {"id": "day", "type": "integer", "prompt": "Day?", "label": "day"},
            {"id": "mail", "prompt": "Mail?", "label": "mail"},
            {"id": "name", "prompt": "Name?"},
        ],
        "steps": [
            {"type": "ask", "slot": "day"},
            {"type": "call", "tool": "book", "arguments": {"day": "{{ day }}"}, "save_as": "room", **write},
            {"type": "reply", "text": "Room {{ results.room.id }}."},
            {"type": "ask", "slot": "mail"},
            {"type": "ask", "slot": "name"},
            {"type": "reply", "text": "{{ day }} {{ mail }} {{ name }} {{ results.room.id }}."},
        ],
    }


UNDO = {"compensation": {"tool": "undo_book", "arguments": {"id": "{{ results.room.id }}"}}}


async def rooms(flow: dict[str, Any], *messages: str, undo: Any = lambda _: None) -> Talk:
    talk = Talk(flow, FakeTools(book=lambda given: {"id": given["day"] * 10}, undo_book=undo))
    for message in ("x", *messages):
        await talk.say(message)
    return talk


async def test_a_write_that_cannot_be_undone_stays_and_that_is_said():
    talk = await rooms(after_a_write(), "7")
    before = talk.state.model_copy(deep=True)
    refused = await talk.say("no, I meant day 8")
    assert refused.message == "That part is already done as it was, and I cannot undo it here.\n\nMail?"
    assert (refused.status, talk.tools.names) == ("waiting", ["book"])
    assert talk.state == before
    assert (await talk.say("me@x.example")).message == "Name?"


async def test_a_write_with_a_compensation_is_undone_and_made_anew():
    talk = await rooms(after_a_write(**UNDO), "7")
    changed = await talk.say("no, I meant day 8")
    assert changed.message == "I have undone what was done before.\n\nRoom 80.\n\nMail?"
    assert talk.tools.names == ["book", "undo_book", "book"]
    assert [call.arguments for call in talk.tools.calls] == [{"day": 7}, {"id": 70}, {"day": 8}]
    first, undone, second = (call.idempotency_key for call in talk.tools.calls)
    assert first.startswith("turn_1/w/1/")
    assert undone == f"{first}/undo"
    assert second.startswith("turn_1/w/1/")
    assert second != first
    assert [write["arguments"] for write in talk.state.done_writes] == [{"id": 80}]


async def test_a_compensation_that_fails_changes_nothing_more():
    talk = await rooms(after_a_write(**UNDO), "7", undo=failing("unreachable"))
    result = await talk.say("no, I meant day 8")
    assert (result.status, result.reason) == ("failed", "compensation_failed")
    assert talk.tools.names == ["book", "undo_book"]


@pytest.mark.parametrize("write", [{}, UNDO])
async def test_a_write_before_the_change_is_neither_repeated_nor_undone(write):
    talk = await rooms(after_a_write(**write), "7", "a@x.example")
    changed = await talk.say("change the mail to b@x.example")
    assert (changed.message, talk.tools.names) == ("Name?", ["book"])
    assert (await talk.say("Wren")).message == "7 b@x.example Wren 70."


async def test_a_write_whose_outcome_is_not_known_counts_as_done():
    flow = after_a_write(on_error={"reply": "Maybe.", "next": "mail"})
    flow["steps"][3]["id"] = "mail"
    talk = Talk(flow, FakeTools(book=failing("unknown_outcome")))
    for message in ("x", "7"):
        await talk.say(message)
    refused = await talk.say("no, I meant day 8")
    assert refused.message.startswith("That part is already done")
    assert talk.tools.names == ["book"]


async def test_a_state_of_an_older_release_is_not_run_again():
    talk = Talk(after_a_write(), FakeTools())
    talk.state = FlowState(flow="w", step=3, slots={"day": 7}, results={"room": {"id": 1}}, asked="mail")
    refused = await talk.say("no, I meant day 8")
    assert refused.message == "Sorry, I cannot change that now.\n\nMail?"
    assert talk.tools.calls == []


async def test_a_result_that_was_saved_over_is_asked_for_again():
    flow = {
        "id": "over",
        "slots": [{"id": "name", "prompt": "Name?", "label": "name"}, {"id": "day", "prompt": "Day?"}],
        "steps": [
            {"type": "call", "tool": "look", "arguments": {"n": 1}},
            {"type": "set", "values": {"first": "{{ result }}"}},
            {"type": "call", "tool": "check", "arguments": {"n": 2}},
            {"type": "ask", "slot": "name"},
            {"type": "ask", "slot": "day"},
            {"type": "reply", "text": "{{ first }} {{ result }} {{ name }}."},
        ],
    }
    talk = Talk(flow, FakeTools(look=lambda _: "A", check=lambda _: "B"))
    for message in ("x", "Wren", "change the name to Jorun"):
        await talk.say(message)
    assert talk.tools.names == ["look", "check", "look"], "B is still there, A is not"
    assert (await talk.say("Monday")).message == "A B Jorun."


async def test_answers_of_a_snapshot_whose_steps_have_moved_are_not_mixed_up():
    slots = [{"id": name, "prompt": f"{name}?", "label": name} for name in ("a", "b", "c")]
    older = {
        "id": "moved",
        "slots": slots,
        "steps": [{"type": "ask", "slot": name} for name in ("a", "b", "c")],
    }
    newer = {**older, "steps": [{"type": "ask", "slot": name} for name in ("b", "a", "c")]}
    talk = Talk(older)
    for message in ("x", "1", "2"):
        await talk.say(message)
    talk.book = Talk(newer).book
    assert (await talk.say("change the b to 3")).message == "b?"


NESTED = [
    {
        "id": "parent",
        "slots": [{"id": "who", "prompt": "Who?", "label": "name"}],
        "steps": [
            {"type": "ask", "slot": "who"},
            {"type": "subflow", "flow": "child", "save_as": "home", "arguments": {"kind": "home"}},
            {"type": "subflow", "flow": "child", "save_as": "work", "arguments": {"kind": "work"}},
            {
                "type": "reply",
                "text": "{{ who }}: {{ home.street }} {{ home.day }}, {{ work.street }} {{ work.day }}.",
            },
        ],
    },
    {
        "id": "child",
        "slots": [
            {"id": "kind"},
            {"id": "street", "prompt": "Street ({{ kind }})?", "label": "street"},
            {"id": "day", "type": "integer", "prompt": "Day?", "label": "day"},
        ],
        "steps": [{"type": "ask", "slot": "street"}, {"type": "ask", "slot": "day"}],
    },
]


async def test_subflows_keep_what_they_were_told():
    talk = Talk(NESTED)
    for message in ("x", "Wren", "1 High Street", "3", "2 Low Road"):
        await talk.say(message)
    outer = await talk.say("change the name to Jorun")
    assert (outer.message, talk.state.slots["street"], talk.state.parents[0].slots["who"]) == (
        "Day?", "2 Low Road", "Jorun",
    )  # fmt: skip
    inner = await talk.say("no, the street is 3 Mill Lane")
    assert (inner.message, talk.state.slots["street"]) == ("Day?", "3 Mill Lane")
    assert (await talk.say("4")).message == "Jorun: 1 High Street 3, 3 Mill Lane 4."


async def test_loops_are_run_again_with_each_answer():
    flow = {
        "id": "l",
        "slots": [
            {"id": "title", "prompt": "Title?", "label": "title"},
            {"id": "item", "prompt": "Item?"},
            {"id": "more", "type": "boolean", "prompt": "More?"},
        ],
        "steps": [
            {"type": "set", "values": {"all": "{{ [] }}"}},
            {"type": "ask", "slot": "title"},
            {"id": "again", "type": "ask", "slot": "item"},
            {"type": "ask", "slot": "more"},
            {"type": "set", "values": {"all": "{{ slots.all + [item] }}", "item": "{{ none }}"}},
            {"type": "branch", "cases": [{"when": "not more", "next": "end"}]},
            {"type": "set", "values": {"more": "{{ none }}"}, "next": "again"},
            {"id": "end", "type": "reply", "text": "{{ title }}: {{ slots.all | join(', ') }}."},
        ],
    }
    talk = Talk(flow)
    for message in ("x", "List", "tea", "yes", "milk"):
        await talk.say(message)
    assert (await talk.say("change the title to Shopping")).message == "More?"
    assert (await talk.say("no")).message == "Shopping: tea, milk."


@pytest.mark.parametrize(
    ("messages", "message", "fit", "stops", "asks"),
    [
        ([], "1042", "exact", False, False),
        ([], "it is order 1042", "exact", False, False),
        ([], "it is 1042, I ordered it last week", "within", False, False),
        ([], "where is 1042?", "within", False, True),
        ([], "no idea", "none", False, False),
        ([], "the one with the koala on it", "none", False, False),
        ([], "never mind", "none", True, False),
        ([], "订单1042", "exact", False, False),
        (["1042"], "blue", "exact", False, False),
        (["1042"], "第二个", "exact", False, False),
        (["1042"], "the blue one please", "within", False, False),
        (["1042", "red"], "12 Elm Street", "loose", False, False),
        (["1042", "red"], "by the way, do you ship to Japan", "loose", False, True),
        (["1042", "red"], "顺便问一下，运费多少", "loose", False, True),
        (["1042", "red", "x", "3"], "yes", "exact", False, False),
        (["1042", "red", "x", "3"], "what does it cost", "none", False, True),
    ],
)
async def test_what_a_message_is_to_the_open_question(messages, message, fit, stops, asks):
    talk = await talk_until(*messages)
    reading = talk.read(message)
    assert (reading.fit, reading.stops, reading.asks, reading.corrections) == (fit, stops, asks, {})


async def test_parameters_of_the_same_wish_are_corrections_where_they_differ():
    talk = await talk_until("1042", "red", "1 High Street", "3")
    assert talk.read("yes, order 1042", order_number=1042).corrections == {}
    assert talk.read("book order 1043", order_number="1043").corrections == {"order_number": 1043}


async def test_the_open_question_is_asked_again_without_counting():
    talk = await talk_until("1042")
    before = talk.state.model_copy(deep=True)
    for _ in range(5):
        again = await talk.go_on("something else", asking=True)
    assert (again.message, again.status, talk.state) == ("Which colour?\n1. Red\n2. Blue", "waiting", before)
    assert [choice.value for choice in again.parts[0].choices] == ["red", "blue"]


async def test_words_from_outside_stand_for_not_understood():
    talk = await talk_until("1042")
    result = await talk.go_on("what?", not_understood="I only do {{ colours }}.")
    assert result.message == "I only do {{ colours }}.\n\nWhich colour?\n1. Red\n2. Blue"
    assert (await talk.go_on("yes", not_understood="Hm.")).message == "Hm.\n\nWhich colour?\n1. Red\n2. Blue"
    assert (await talk.go_on("yes", not_understood="Hm.")).reason == "too_many_attempts"


@pytest.mark.parametrize(
    ("source", "fit"),
    [
        (["message"], "loose"),
        (["message", "model"], "loose"),
        (["model", "message"], "none"),
        (["model"], "none"),
    ],
)
async def test_a_slot_says_whether_a_model_is_to_read_the_answer(source, fit):
    flow = {
        "id": "m",
        "slots": [{"id": "wish", "prompt": "Wish?", "source": source}],
        "steps": [{"type": "ask", "slot": "wish"}, {"type": "reply", "text": "You wish {{ wish }}."}],
    }
    talk = Talk(flow)
    await talk.say("")
    assert talk.read("what I want is peace").fit == fit
    assert (
        await talk.go_on("what I want is peace", corrections={"wish": "peace"})
    ).message == "You wish peace."
