import random
import re
import string
import time
from collections.abc import Callable

import pytest

from signalbox.common.rules import (
    BadPattern,
    Pattern,
    Re2Engine,
    Rule,
    RulesOutOfMemory,
    RulesTooLarge,
    captures,
    normalise,
    normalise_pattern,
)

ENGINE = Re2Engine()


def test_patterns_are_found_anywhere_without_regard_to_case():
    rules = ENGINE.compile(
        [Rule(7, r"order (?P<number>\d+)"), Rule(3, "refund|退款"), Rule(9, "^hello$"), Rule(4, "ÉTÉ")]
    )
    assert rules.match("where is ORDER 1042, I want a Refund") == [3, 7]
    assert rules.match("我要退款") == [3]
    assert rules.match("Hello") == [9]
    assert rules.match("cet été") == [4]
    assert rules.match("nothing here") == []
    assert rules.match("") == []
    found = rules.find(7, "where is ORDER 1042")
    assert found is not None
    assert (found.start, found.end, found.text, found.value) == (9, 19, "ORDER 1042", "1042")
    assert found.groups == {"number": "1042"}
    assert rules.find(7, "no number") is None


def test_positions_are_characters_not_bytes():
    found = Pattern(r"\d+").search("订单号 1042 谢谢")
    assert found is not None
    assert (found.start, found.end) == (4, 8)


def test_the_engine_agrees_with_python_on_generated_cases():
    random.seed(11)
    atoms = ["ab", "b+", "[a-c]", "c?", "(?:ab|ba)", "a{2}", "^a", "b$", r"\bb", "a.c", "ca*b"]
    sources = ["".join(random.choices(atoms, k=random.randint(1, 4))) for _ in range(300)]
    rules = ENGINE.compile([Rule(number, source) for number, source in enumerate(sources)])
    for _ in range(200):
        text = "".join(random.choices("abc ", k=random.randint(0, 20)))
        # re.DOTALL off, ASCII words: the meaning that RE2 gives these patterns too.
        expected = [
            n for n, source in enumerate(sources) if re.search(source, text, re.IGNORECASE | re.ASCII)
        ]
        assert rules.match(text) == expected


def test_time_is_linear_in_the_text():
    rules = ENGINE.compile([Rule(1, "(a+)+$"), Rule(2, "(a|a)*b"), Rule(3, "(.*)*x")])
    text = "a" * 50_000 + "!"
    assert rules.match(text) == []
    assert Pattern("(a+)+$").search(text) is None
    # The least of several, because the machine may be busy with something else.
    assert min(_seconds(lambda: rules.match(text)) for _ in range(5)) < 0.01
    assert min(_seconds(lambda: Pattern("(a+)+$").search(text)) for _ in range(5)) < 0.01


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?=a)b", "no lookahead"),
        ("a(?!b)", "no lookahead"),
        ("(?<=a)b", "no lookbehind"),
        ("(?<!a)b", "no lookbehind"),
        (r"(a)\1", "no backreferences"),
        ("(?P=x)", "no backreferences"),
        ("[", "missing ]"),
        ("a{1001}", "repetition size"),
        (r"a\Z", r"\z"),
        ("(?>a)", "atomic"),
        ("\ud800", "Unicode"),
        ("((a{100}){100}){100}", "repetition"),
    ],
)
def test_what_re2_refuses_is_refused_in_words(pattern, said):
    with pytest.raises(BadPattern) as caught:
        Pattern(pattern)
    assert said in caught.value.detail
    assert caught.value.code == "bad_pattern"


def test_every_bad_pattern_of_a_set_is_named():
    with pytest.raises(BadPattern) as caught:
        ENGINE.compile([Rule(1, "ok"), Rule(2, "("), Rule(3, "fine"), Rule(4, "[")])
    assert [error.pointer for error in caught.value.errors] == ["/1/pattern", "/3/pattern"]


def test_a_set_that_does_not_fit_names_the_patterns_that_are_too_big():
    small = [Rule(number, f"word{number}") for number in range(20)]
    big = [Rule(100 + number, f"[a-z]{{1,{300 + number}}}x") for number in range(3)]
    engine = Re2Engine(memory=256 * 1024)
    engine.compile(small)
    with pytest.raises(RulesTooLarge) as caught:
        engine.compile([*small, *big])
    assert set(caught.value.rules) <= {100, 101, 102}
    assert caught.value.rules[0] == 102
    left_out = set(caught.value.rules)
    engine.compile([rule for rule in (*small, *big) if rule.id not in left_out])
    Re2Engine().compile([*small, *big])


def test_running_out_of_memory_is_an_error_and_never_no_match(monkeypatch):
    # Rules that match together make states that are larger than what compiling checks for.
    rules = [Rule(number, "a") for number in range(300)]
    refused = ran_out = 0
    for probed in (True, False):
        if not probed:
            monkeypatch.setattr(Re2Engine, "_survives_probe", lambda *_: True)
        for memory in range(8_000, 12_000, 200):
            try:
                compiled = Re2Engine(memory).compile(rules)
            except RulesTooLarge:
                refused += 1
                continue
            try:
                assert compiled.match("abc" * 100) == list(range(300))
            except RulesOutOfMemory:
                assert not probed, "compiling tries the memory out"
                ran_out += 1
    assert refused
    assert ran_out, "no limit was found at which matching runs out of memory"


def test_rules_survive_serialisation():
    rules = ENGINE.compile([Rule(5, "a(?P<n>\\d)"), Rule(2, "退款", "退(款)")])
    loaded = ENGINE.load(rules.serialise())
    for text in ("a1", "我要退款", "nothing"):
        assert loaded.match(text) == rules.match(text)
    assert loaded.serialise() == rules.serialise()
    for bad in (b"{}", b"[]", b'{"format": "other"}', b"\x80\x04."):
        with pytest.raises(ValueError, match=r".*"):
            ENGINE.load(bad)


def test_an_empty_set_matches_nothing():
    assert ENGINE.compile([]).match("anything") == []


def test_ids_must_be_unique():
    with pytest.raises(ValueError, match="unique"):
        ENGINE.compile([Rule(1, "a"), Rule(1, "b")])


def test_ten_thousand_rules_compile_and_match():
    random.seed(5)
    words = ["".join(random.choices(string.ascii_lowercase, k=7)) for _ in range(10_000)]
    started = time.perf_counter()
    rules = ENGINE.compile([Rule(number, rf"\b{word}\b") for number, word in enumerate(words)])
    assert time.perf_counter() - started < 3
    assert words.index("".join(words[77])) in rules.match(f"please find {words[77]} for me")


def test_captures_and_values():
    assert captures(r"(?P<a>\d+)-(?P<b>x)?", "12-") == {"a": "12"}
    assert captures(r"(?P<a>\d+)", "none") == {}
    found = Pattern(r"(?:no|nr) (\d+)|#(\d+)").search("order #77")
    assert found is not None
    assert found.value == "77"
    assert Pattern("ab").group_names == frozenset()
    assert Pattern("(?P<x>a)").group_names == {"x"}


def test_normalise():
    assert normalise("  ＡＢＣ１２３？\t\n x ") == "ABC123? x"
    assert normalise("订单　１０４２") == "订单 1042"
    assert normalise("e\u0301") == "é"
    assert normalise("half \ud83d pair") == "half \ufffd pair"
    assert normalise("") == ""


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("订单？", "订单?", True),
        ("订单？", "订", False),
        ("（退款）", "(退款)", True),
        ("ｏｒｄｅｒ", "order", True),
        ("[？！]", "!", True),
        ("a　b", "a b", True),
        ("①", "1", True),
        ("㈱+", "(株)(株)", True),
        ("cafe\u0301s?", "café", True),
    ],
)
def test_patterns_are_normalised_like_texts_without_becoming_syntax(pattern, text, found):
    rules = ENGINE.compile([Rule(1, pattern)])
    assert (rules.match(normalise(text)) == [1]) is found


def test_normalising_leaves_ascii_patterns_alone():
    assert normalise_pattern(r"(?P<a>\d{2,3})?$") == r"(?P<a>\d{2,3})?$"
