"""The port behind which rules are matched."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from signalbox.common.record import record
from signalbox.common.rules.pattern import PatternMatch


class Trust(IntEnum):
    """On which normalised texts a cheaper search finds exactly what the rule means; on others it finds more."""

    NEVER = 0
    ASCII = 1
    ASCII_WORDS = 2
    """Texts whose letters and digits, in scripts that separate words, are ASCII."""
    ALWAYS = 3


@record
class Rule:
    """One pattern under a number chosen by the caller.

    ``pattern`` is what the engine looks for. Where ``exact`` is given, ``pattern`` only narrows the search
    cheaply and ``exact`` decides, alone, whether the rule applies (keywords need this: see ``keyword_rule``);
    ``trust`` names the texts on which both say the same.
    """

    id: int
    pattern: str
    exact: str | None = None
    trust: Trust = Trust.NEVER
    shortest: int = 0
    longest: int | None = None
    """Characters that a match has, at least and, where there is a bound, at most. A keyword's match is the keyword,
    without what stands beside it."""


class CompiledRules(Protocol):
    """A set of rules, ready to match. Safe to use from several threads."""

    def __len__(self) -> int:
        """How many rules there are."""
        ...

    def match(self, text: str) -> list[int]:
        """Ids, ascending, of the rules found anywhere in a text that ``normalise`` returned.

        Raises:
            RulesOutOfMemory: the answer is not known; it is never "no match".
        """
        ...

    def find(self, rule_id: int, text: str) -> PatternMatch | None:
        """Where one rule matches the same text, and what its groups captured."""
        ...

    def longest(self, rule_ids: Sequence[int], text: str, outcomes: Sequence[int]) -> int:
        """Of rules that ``match`` gave for a text, in its order, the one with the longest match; of equals, the first.

        ``outcomes`` says for each what it leads to: another rule that leads to the same may be given in its place.
        """
        ...

    def serialise(self) -> bytes:
        """Data (no code) from which ``RuleEngine.load`` makes the same rules."""
        ...


class RuleEngine(Protocol):
    """Compiles sets of rules."""

    def compile(self, rules: Sequence[Rule]) -> CompiledRules:
        """Compile a set.

        Raises:
            BadPattern: a pattern is not RE2 syntax; ``errors`` has one entry per pattern.
            RulesTooLarge: the set does not fit the engine's memory; ``rules`` names those that do not fit.
        """
        ...

    def load(self, data: bytes) -> CompiledRules:
        """Make rules of what ``serialise`` returned. Raises ValueError for any other data."""
        ...
