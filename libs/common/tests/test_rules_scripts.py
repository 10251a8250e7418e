"""Traditional and simplified characters are the same to rules, and values are as they were written."""

import pytest

from signalbox.common.reading import in_digits
from signalbox.common.rules import Pattern, Re2Engine, Rule, is_traditional, keyword_rule, normalise, simplify
from signalbox.common.rules.hyperscan_engine import HyperscanEngine
from signalbox.common.rules.simplified import _SIMPLIFIED, _TRADITIONAL

ENGINES = [pytest.param(Re2Engine(), id="re2"), pytest.param(HyperscanEngine(), id="hyperscan")]


@pytest.fixture(params=ENGINES)
def engine(request):
    if isinstance(request.param, HyperscanEngine):
        pytest.importorskip("hyperscan", reason="there is no Hyperscan for this platform: RE2 serves")
    return request.param


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("訂單", "我的订单呢"),
        ("订单", "我的訂單呢"),
        ("[國单]+", "一单"),
        ("^退貨.*號$", "退货12号"),
        ("^退货.*号$", "退貨１２號"),
        ("[一-龥]{3}", "訂單號"),
        ("[丟-麵]", "訂"),
        ("[^國]", "国人"),
        (r"麵\]", "面]"),
    ],
)
def test_a_pattern_in_one_script_finds_the_other(engine, rule, text):
    rules = engine.load(engine.compile([Rule(1, rule)]).serialise())
    assert rules.match(normalise(text)) == [1]
    assert Pattern(rule).search(normalise(text)) is not None


@pytest.mark.parametrize(
    ("keyword", "text"), [("轉人工", "请转人工"), ("转人工", "請轉人工"), ("iPhone手機", "iphone手机壳")]
)
def test_a_keyword_in_one_script_finds_the_other(engine, keyword, text):
    assert engine.compile([keyword_rule(1, keyword)]).match(normalise(text)) == [1]


def test_what_is_captured_is_what_was_written(engine):
    rules = engine.compile([Rule(1, "我叫(?P<name>[一-龥]+)，住(?P<city>臺北|台南)?")])
    found = rules.find(1, normalise("Hé, 我叫陳偉，住台北"))
    assert found.groups == {"name": "陳偉", "city": "台北"}
    assert (found.value, found.text, found.start) == ("陳偉", "我叫陳偉,住台北", 4)
    assert rules.find(1, normalise("我叫陳偉，住")).groups == {"name": "陳偉"}


def test_the_longest_match_is_measured_in_either_script(engine):
    rules = engine.compile([Rule(1, "退貨.*"), Rule(2, "退货")])
    assert rules.longest([1, 2], "退貨單", [1, 2]) == 1


def test_the_table_keeps_the_place_of_every_character():
    assert len(_TRADITIONAL) == len(_SIMPLIFIED) > 2500
    assert {len(character.encode()) for character in _TRADITIONAL + _SIMPLIFIED} == {3}
    assert simplify(_TRADITIONAL) == simplify(_SIMPLIFIED) == _SIMPLIFIED
    assert simplify("Straße, où? 日本語のテスト") == "Straße, où? 日本语のテスト"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("訂單在哪裡", True), ("订单在哪里", False), ("你好", None), ("皇后", None), ("hello", None)],
)
def test_the_script_of_a_text(text, expected):
    assert is_traditional(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("訂單一零四二", "订单1042"), ("买三个", "买3个"), ("no numbers", "no numbers"), ("一萬二", "12000")],
)
def test_numerals_as_digits(text, expected):
    assert in_digits(text) == expected
