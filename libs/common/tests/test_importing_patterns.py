"""Patterns of Python's ``re``, brought into RE2's syntax: the same messages match, or the pattern is refused."""

import random
import re

import pytest

from signalbox.common.importing.patterns import Untranslatable, translate
from signalbox.common.rules import Pattern, normalise

SAME = [
    r"(?<!\d)(\d{6})(?!\d)",
    r"订单号?[::]?\s*(\d{4,9})(?!\d)",
    r"(?:查|看)[\u4e00-\u9fa5]{0,4}订单",
    r"(?=.*取消)(?=.*订单)",
    r"^(?=.*refund)(?=.*status).*$",
    r"(\w+)怎么用",
    r"退款\Z",
    r"a{,3}b",
    r"cancel(?=ling|led)",
    r"(?<=order )\d+",
    r"(?<![a-z])id(?![a-z0-9])|单号",
    r"refund(?#any kind)s?",
    r"(?:我要|我想)(?!$)",
    r"[^\w]order",
]
WORDS = (
    "订单",
    "订单号",
    "取消",
    "退款",
    "查",
    "看",
    "我的",
    "怎么用",
    "我要",
    "单号",
    "order ",
    "order",
    "refund",
    "refunds",
    "status",
    "cancelled",
    "cancelling",
    "cancel",
    "id",
    "x",
    "aaab",
    "ab",
    "123456",
    "1234567",
    "12",
    "order 12",
    " ",
    ":",
    "。",
    "É",
    "_",
)


@pytest.mark.parametrize("source", SAME)
def test_what_is_translated_matches_the_same_messages(source: str) -> None:
    chance = random.Random(source)
    before = re.compile(source, re.IGNORECASE)
    after = Pattern(translate(source, {}, {}, {}).pattern)
    seen = set()
    for _ in range(600):
        message = normalise("".join(chance.choices(WORDS, k=chance.randint(0, 5))))
        matches = before.search(message) is not None
        assert (after.search(message) is not None) == matches, message
        seen.add(matches)
    assert seen == {True, False}


@pytest.mark.parametrize(
    "source",
    [
        r"(a)\1",
        r"(?P<word>\w+) (?P=word)",
        r"我的订单(?!.*取消)",
        r"^(?!.*not).*refund",
        r"a(?=b)c",
        r"x(?<=ab)y",
        r"(?=.*退)(?=.*退款)",
        r"(?>a+)b",
        r"(?x) a b",
        r"[\W]a",
        r"(?<!\D)1",
        r"(?=(\d+))x?",
        r"(",
        r"a{1,2000}",
    ],
)
def test_what_has_no_equal_is_refused(source: str) -> None:
    with pytest.raises(Untranslatable):
        translate(source, {}, {}, {})


def test_groups_get_the_names_of_what_they_fill() -> None:
    made = translate(r"(?P<单号>\d{4})-(?:x)(\w)(y)?", {"单号": "order"}, {2: "letter"}, {})
    assert made.groups == ("letter", "order")
    found = Pattern(made.pattern).search("1234-xAy")
    assert found is not None
    assert found.groups == {"order": "1234", "letter": "A"}


def test_two_groups_for_one_value_are_refused() -> None:
    with pytest.raises(Untranslatable):
        translate(r"(a)|(b)", {}, {1: "x", 2: "x"}, {})


def test_patterns_of_javascript_and_placeholders_are_read() -> None:
    assert translate(r"/a\/b/i", {}, {}, {}).pattern == "a/b"
    made = translate("查询{order_id}", {"order_id": "order_id"}, {}, {"order_id": r"\d+"})
    assert made.pattern == r"查询(?P<order_id>\d+)"
    assert translate("x{3}", {}, {}, {"order_id": r"\d+"}).pattern == "x{3}"
