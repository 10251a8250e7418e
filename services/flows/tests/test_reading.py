"""Reading values and short answers, in English and Chinese."""

import time
from datetime import date

import pytest

from signalbox.common.reading import read_date, read_numbers, read_yes_no, wants_to_stop
from signalbox.contracts.config import EnumValue, Slot
from signalbox.flows.book import CompiledSlot
from signalbox.flows.choices import Choices
from signalbox.flows.slots import convert_slot, read_answer, read_slot

TODAY = date(2026, 11, 23)  # a Monday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01", "2026-12-01"), ("on 3.12.2026", "2026-12-03"), ("3.12.", "2026-12-03"),
        ("12/13/2026", "2026-12-13"), ("13/12/2026", "2026-12-13"), ("3/4/2026", None), ("31.02.2026", None),
        ("3 March", "2027-03-03"), ("March 3rd, 2028", "2028-03-03"), ("the 5th of May", "2027-05-05"),
        ("today", "2026-11-23"), ("tomorrow", "2026-11-24"), ("the day after tomorrow", "2026-11-25"),
        ("in 3 days", "2026-11-26"), ("2 weeks ago", "2026-11-09"), ("friday", "2026-11-27"),
        ("monday", "2026-11-30"), ("last friday", "2026-11-20"), ("明天", "2026-11-24"), ("后天", "2026-11-25"),
        ("大后天", "2026-11-26"), ("下周一", "2026-11-30"), ("周三", "2026-11-25"), ("上周五", "2026-11-20"),
        ("十二月五号", "2026-12-05"), ("2027年1月2日", "2027-01-02"), ("三天后", "2026-11-26"), ("soon", None),
        ("下週三", "2026-12-02"), ("十一月五號", "2027-11-05"), ("二〇二七年一月二日", "2027-01-02"),
        ("後天", "2026-11-25"),
        ("下個月五號", "2026-12-05"), ("五号", "2026-12-05"), ("31号", "2026-12-31"), ("这个月二十五号", "2026-11-25"),
        ("这个月31号", None), ("十一月三十一号", None), ("5号线", None), ("下下周一", "2026-12-07"),
        ("禮拜天", "2026-11-29"),
        ("今晚", "2026-11-23"), ("下月三十一号", "2026-12-31"),
    ],
)  # fmt: skip
def test_dates(text, expected):
    found = read_date(text, TODAY)
    assert (found.isoformat() if found else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is 1043", [1043]), ("order #1042, please", [1042]), ("SB1042", []), ("1,042", [1042]), ("3,5", [3.5]),
        ("2.75 or 3", [2.75, 3]), ("-5 degrees", [-5]), ("twenty-five", [25]), ("two hundred and six", [206]),
        ("订单１０４２", [1042]), ("一百零五", [105]), ("一零四二", [1042]), ("三个", [3]), ("看一下", []),
        ("9" * 30, []), ("一百二十三", [123]), ("一百五", [150]), ("三万五", [35000]), ("三萬零五", [30005]),
        ("一亿二千万", [120_000_000]), ("兩張", [2]), ("負三", [-3]), ("三点五", [3.5]), ("壹佰贰拾", [120]),
        ("1.5万", [15000]), ("二〇二六", [2026]), ("万一坏了", []), ("大陆个人", []), ("一千二百三十四", [1234]),
    ],
)  # fmt: skip
def test_numbers(text, expected):
    assert read_numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("Yes, please!", True), ("ok do it", True), ("go ahead", True), ("No", False),
        ("no thanks", False), ("don't do it", False), ("yes but later", None), ("yes no", None), ("maybe", None),
        ("where is it", None), ("I do not have it yet", None), ("是的", True), ("好的，谢谢", True), ("可以", True),
        ("不用了，谢谢", False), ("沒問題", True),
        ("不對", False), ("不", False), ("不可以", False), ("是的，取消吧", True), ("什么时候", None),
    ],
)  # fmt: skip
def test_yes_and_no(text, expected):
    assert read_yes_no(text) is expected


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("cancel", "", True), ("Never mind.", "", True), ("please stop", "", True), ("算了", "", True),
        ("取消吧", "", True), ("停，謝謝", "", False), ("放棄", "", True),
        ("cancel my order", "", False), ("1042", "", False),
        ("cancel", "Shall I cancel order 7?", False), ("取消", "确认取消订单吗？", False),
        ("never mind", "Shall I cancel order 7?", True),
    ],
)  # fmt: skip
def test_the_wish_to_stop(text, asked, expected):
    assert wants_to_stop(text, asked) is expected


def test_a_numbers_pattern_finds_chinese_numerals_too():
    slot = CompiledSlot(Slot(id="n", type="integer", pattern=r"订单(\d+)"))
    assert [read_slot(slot, text, TODAY) for text in ("訂單一零四二", "订单1042", "一零四二")] == [
        1042,
        1042,
        None,
    ]


def countries() -> Choices:
    values = [
        EnumValue(value="DE", label={"en": "Germany", "zh": "德国"}, synonyms=["Deutschland"]),
        EnumValue(value="IT", label={"en": "Italy", "zh": "意大利"}),
        EnumValue(value="FR", label={"en": "France", "zh": "法国"}),
    ]
    return Choices(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DE", "DE"), ("it", "IT"), ("Germany!", "DE"), ("to deutschland please", "DE"), ("寄到德国", "DE"),
        ("2", "IT"), ("the last one", "FR"), ("第一个", "DE"), ("send it there", None), ("Germany or France", None),
        ("7", None), ("0", None), ("Spain", None),
    ],
)  # fmt: skip
def test_choices(text, expected):
    assert countries().pick(text) == expected


def slot(**described) -> CompiledSlot:
    return CompiledSlot(Slot(id="x", **described))


def test_slots_by_type():
    assert read_slot(slot(type="integer"), "it is 1043", TODAY) == 1043
    assert read_slot(slot(type="integer"), "3.5", TODAY) is None
    assert read_slot(slot(type="number"), "3.5", TODAY) == 3.5
    assert read_slot(slot(type="boolean"), "不用", TODAY) is False
    assert read_slot(slot(type="date"), "tomorrow", TODAY) == "2026-11-24"
    assert (
        read_slot(slot(type="entity", pattern=r"\b([a-z]{3}-\d{4})\b"), "is JKT-1001 there", TODAY)
        == "JKT-1001"
    )
    assert read_slot(slot(type="entity", pattern=r"\d{4}"), "no", TODAY) is None
    assert read_slot(slot(type="text"), "  12 High Street ", TODAY) == "12 High Street"
    assert read_slot(slot(type="list", items="integer"), "1, 2 and 3", TODAY) == [1, 2, 3]
    assert read_slot(slot(type="list", items="integer"), "1 and more", TODAY) is None


def test_given_values_are_brought_into_the_slots_type():
    assert convert_slot(slot(type="integer"), "1042", TODAY) == 1042
    assert convert_slot(slot(type="integer"), 1042.0, TODAY) == 1042
    assert convert_slot(slot(type="integer"), True, TODAY) is None
    assert convert_slot(slot(type="text"), 7, TODAY) == "7"
    assert convert_slot(slot(type="boolean"), False, TODAY) is False
    assert convert_slot(slot(type="list", items="text"), ["a", "b"], TODAY) == ["a", "b"]
    assert convert_slot(slot(type="date"), "2026-12-01", TODAY) == "2026-12-01"
    assert convert_slot(slot(type="integer"), {"a": 1}, TODAY) is None


@pytest.mark.parametrize(
    ("source", "text", "value"),
    [
        (["message"], "make it two", 2), (["message", "model"], "make it two", 2), (["model", "message"], "2", 2),
        (["model"], "2", None), (["parameter", "model"], "2", None),
    ],
)  # fmt: skip
def test_what_an_answer_gives_by_rule(source, text, value):
    assert read_answer(slot(type="integer", source=source), text, TODAY) == value


def test_a_choice_that_was_made_needs_no_model():
    country = slot(
        type="enum", source=["model"], values=[{"value": "DE", "label": "Germany"}, {"value": "FR"}]
    )
    assert read_answer(country, "DE", TODAY) == "DE"
    assert read_answer(country, "where the Rhine ends, not Germany", TODAY) is None
    assert read_answer(slot(type="boolean", source=["model"]), "yes", TODAY) is True
    assert read_answer(slot(type="boolean", source=["model"]), "sure, why not", TODAY) is None


COLOURS = [
    EnumValue(value="red", label={"en": "Red", "zh": "红色"}),
    EnumValue(value="blue", synonyms=["navy"]),
    EnumValue(value="bw", label="black and white"),
    EnumValue(value="green"),
]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("red", ["red"]), ("Red and navy", ["red", "blue"]), ("blue, red, blue", ["blue", "red"]),
        ("black and white", ["bw"]), ("red, black and white and green", ["red", "bw", "green"]),
        ("the first and the third", ["red", "bw"]), ("1, 2", ["red", "blue"]), ("红色和green", ["red", "green"]),
        ("I would like red and then the green one", ["red", "green"]), ("red and purple", None), ("red, ", ["red"]),
        ("purple", None), (" , and ", None), ("", None),
    ],
)  # fmt: skip
def test_a_list_of_choices(message, expected):
    slot = CompiledSlot(Slot(id="c", type="list", items="enum", values=COLOURS))
    assert read_slot(slot, message, TODAY) == expected


def test_given_lists_of_choices_and_what_counts_as_choosing():
    slot = CompiledSlot(Slot(id="c", type="list", items="enum", values=COLOURS, source=["model"]))
    assert convert_slot(slot, ["Red", "navy"], TODAY) == ["red", "blue"]
    assert convert_slot(slot, ["Red", "purple"], TODAY) is None
    assert convert_slot(slot, "red and green", TODAY) == ["red", "green"]
    assert read_answer(slot, "red, 2", TODAY) == ["red", "blue"], "that was chosen, and needs no model"
    assert read_answer(slot, "something like red", TODAY) is None, "that is for the model"


@pytest.mark.parametrize("items", ["text", "number", "enum"])
@pytest.mark.parametrize("text", [" ", ",", "\n", "and ", ", ", "a ", "red and "])
def test_a_list_is_read_in_linear_time(items, text):
    slot = CompiledSlot(Slot(id="c", type="list", items=items, values=COLOURS))
    message = "x" + text * (50_000 // len(text)) + "y"
    begun = time.perf_counter()
    read_slot(slot, message, TODAY)
    assert time.perf_counter() - begun < 2
