"""Rules in a Hyperscan database: the same hits as RE2's, for one built here and for one that was loaded."""

import threading
import time
import unicodedata
import zlib
from dataclasses import replace

import pytest
import re2
from support.pattern_cases import PatternCases

from signalbox.common.rules import (
    DatabaseUnusable,
    Re2Engine,
    Rule,
    RulesOutOfMemory,
    ServingEngine,
    Trust,
    hyperscan_rules,
    keyword_rule,
    normalise,
)
from signalbox.common.rules.characters import _UNCASED, Characters
from signalbox.common.rules.hyperscan_engine import HyperscanEngine
from signalbox.common.rules.stored import StoredRules
from signalbox.common.rules.translation import Untranslatable, translate

pytest.importorskip("hyperscan", reason="there is no Hyperscan for this platform: RE2 serves")

ENGINE = HyperscanEngine()


@pytest.mark.parametrize("seed", range(10))
def test_both_engines_give_the_same_hits_on_generated_cases(seed):
    cases = PatternCases(seed)
    rules = cases.rules(40)
    exact = Re2Engine(memory=1 << 30).compile(rules)
    database = ENGINE.load(ENGINE.compile(rules).serialise())
    hits = 0
    for _ in range(1000):
        text = cases.text()
        expected = exact.match(text)
        assert database.match(text) == expected, text
        if expected:
            assert database.longest(expected, text, expected) == exact.longest(expected, text, expected), text
        hits += len(expected)
    assert hits > 1000, "the cases are too far from the rules to show anything"


def test_most_of_what_people_write_needs_no_second_look():
    characters = Characters()
    for pattern in (
        r"\border (?P<n>\d+)\b",
        "退款|refund",
        r"^where .*\bcard",
        "[一-龥]{2,4}号",
        "café",
        "привет",
    ):
        assert translate(pattern, characters).trust == Trust.ALWAYS, pattern
    assert translate(r"\pL+x", characters).trust == Trust.ASCII
    assert translate(r"(?m)^x", characters).trust == Trust.NEVER
    for pattern in ("(?-i:a)", r"\Qa.b\E", r"\141", "(" * 900 + "a" + ")" * 900):
        with pytest.raises(Untranslatable):
            translate(pattern, characters)


def test_the_lengths_of_matches_are_known_where_they_are_fixed():
    characters = Characters()
    for pattern, bounds in {
        "退款": (2, 2),
        "a{2,4}b?": (2, 5),
        "(?:ab|c)d+": (2, None),
        r"^\bx$": (1, 1),
        "": (0, 0),
        "é|👍👍": (1, 2),
    }.items():
        found = translate(pattern, characters)
        assert (found.shortest, found.longest) == bounds, pattern


def test_characters_of_the_blocks_taken_for_uncased_have_no_case():
    for first, last in _UNCASED:
        block = "".join(
            chr(code) for code in range(first, min(last, 0x3FFFF) + 1) if not 0xD800 <= code <= 0xDFFF
        )
        options = re2.Options()
        options.case_sensitive = False
        changed = {character for character in block if character.lower() + character.upper() != character * 2}
        for character in changed:
            folded = re2.compile(re2.escape(character), options).findall(block)
            assert folded == [character], unicodedata.name(character, hex(ord(character)))


def test_what_hyperscan_refuses_or_cannot_say_is_left_to_re2():
    rules = [
        Rule(4, "a^b"),
        Rule(5, r"a\bb"),
        Rule(6, "(?-i:Case)"),
        Rule(7, r"(?:a{1,200}b{1,200}){3}"),
        Rule(8, "(?:[^x]{1,200}y){4}"),
        Rule(9, "plain"),
    ]
    database = ENGINE.compile(rules)
    exact = Re2Engine().compile(rules)
    for text in ("ab", "a b", "plain Case", "plain case", "ab" * 3, "zy" * 4, ""):
        assert database.match(text) == exact.match(text), text
    with pytest.raises(DatabaseUnusable):
        ENGINE.compile([rules[2]])


def test_a_text_that_was_not_normalised_has_re2s_hits_too():
    rules = [Rule(1, "kelvin"), Rule(2, "mass"), keyword_rule(3, "mass")]
    database = ENGINE.compile(rules)
    exact = Re2Engine().compile(rules)
    for text in ("\u212aelvin", "ma\u017fs", "ma\u017f\u017f"):
        assert database.match(text) == exact.match(text) != []
        assert normalise(text).isascii()


def test_ids_are_the_callers():
    database = ENGINE.compile([Rule(70, "退款"), Rule(3, "order (?P<n>[0-9]+)")])
    assert database.match("order 12 退款") == [3, 70]
    found = database.find(3, "退款 order 12")
    assert found is not None
    assert (found.start, found.end, found.groups) == (3, 11, {"n": "12"})
    assert len(database) == 2


def test_the_longest_match_wins_and_of_equals_the_first():
    rules = [Rule(1, "a.*c"), Rule(2, "abcd"), Rule(3, "[a-d]{4}"), keyword_rule(4, "abcd e"), Rule(5, "b.?")]
    for compiled in (ENGINE.compile(rules), Re2Engine().compile(rules)):
        for ids, text, wins in (
            ([1, 2, 3, 5], "abcd", 2),
            ([1, 3, 5], "abcdc", 1),
            ([1, 2, 3, 4, 5], "abcd e", 4),
        ):
            assert compiled.longest(ids, text, ids) == wins
            # Rules of one outcome stand in for each other, and for no other.
            for outcomes in ([rule % 2 for rule in ids], [rule == wins for rule in ids], [0] * len(ids)):
                assert outcomes[ids.index(compiled.longest(ids, text, outcomes))] == outcomes[ids.index(wins)]


def test_outcomes_do_not_change_what_wins():
    cases = PatternCases(99)
    rules = cases.rules(60)
    compiled = Re2Engine().compile(rules)
    database = ENGINE.compile(rules)
    for _ in range(500):
        text = cases.text()
        ids = compiled.match(text)
        if ids:
            outcomes = [rule % 3 for rule in ids]
            wins = compiled.longest(ids, text, ids) % 3
            assert compiled.longest(ids, text, outcomes) % 3 == wins
            assert database.longest(ids, text, outcomes) % 3 == wins


def test_a_database_of_another_version_or_platform_is_left_alone(caplog):
    rules = [Rule(number, f"word{number}x") for number in range(140)]
    stored = StoredRules.from_bytes(ENGINE.compile(rules).serialise())
    for other in (
        replace(stored, builder="hyperscan/0.1"),
        replace(stored, platform="linux-other"),
        replace(stored, size=0, packed=b""),
        # Hyperscan itself refuses bytes that are no database of its own.
        replace(stored, packed=zlib.compress(bytes(stored.size))),
    ):
        with pytest.raises(DatabaseUnusable):
            ENGINE.load(other.to_bytes())
        caplog.clear()
        served = ServingEngine().load(other.to_bytes())
        assert served.match("a word7x word39x") == [7, 39]
        assert "matched by RE2" in caplog.text
    caplog.clear()
    ServingEngine().load(stored.to_bytes())
    ServingEngine().load(Re2Engine().compile(rules[:5]).serialise())
    assert caplog.text == "", "few rules need no database, and nobody has to hear of it"


def test_a_release_of_hyperscan_that_misses_matches_is_not_used(monkeypatch):
    rules = [Rule(number, f"word{number}x") for number in range(3)]
    data = ENGINE.compile(rules).serialise()
    assert ENGINE.load(data).match("word2x") == [2]
    monkeypatch.setattr(hyperscan_rules, "_MISSED", (([b"never"], b"matches"),))
    with pytest.raises(DatabaseUnusable, match="misses"):
        ENGINE.load(data)
    assert ServingEngine().load(data).match("word2x") == [2]


def test_damaged_data_is_refused():
    data = ENGINE.compile([Rule(1, "a")]).serialise()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    for bad in (flipped, data[:-1], b"", b"{}", b"\0" * 100):
        with pytest.raises(ValueError, match=r".*"):
            ENGINE.load(bad)


def test_a_database_may_not_take_more_memory_than_rules_may():
    with pytest.raises(DatabaseUnusable, match="KiB"):
        HyperscanEngine(memory=100).compile([Rule(1, "abc")])


def test_a_failing_scan_is_an_error_and_never_no_match():
    database = ENGINE.compile([Rule(1, "abc")])

    class Failing:
        def scan(self, *_, **__):
            raise database._failure("no memory")

    database._database, whole = Failing(), database._database
    with pytest.raises(RulesOutOfMemory):
        database.match("abc")
    database._database = whole
    assert database.match("abc") == [1]


def test_threads_match_at_the_same_time():
    database = ENGINE.compile([Rule(number, f"word{number} .*end") for number in range(50)])
    failures = []

    def work(number):
        text = f"a word{number} {'x' * 2000} end"
        failures.extend(number for _ in range(300) if database.match(text) != [number])

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 7, 23, 42)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_time_is_bounded_for_the_longest_message():
    rules = [Rule(number, rf"word{number % 7} .*\bend{number}\b|(a+)+{number}$") for number in range(500)]
    database = ENGINE.compile(rules)
    text = ("word1 aaaa end3 " * 6250)[:100_000]
    database.match(text)
    started = time.process_time()
    database.match(text)
    assert time.process_time() - started < 1
