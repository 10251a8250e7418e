"""The port behind which rules are matched."""

from collections.abc import Sequence
from typing import Protocol

from signalbox.common.record import record
from signalbox.common.rules.pattern import PatternMatch


@record
class Rule:
    """One pattern under a number chosen by the caller.

    ``pattern`` is what the engine looks for. Where ``exact`` is given, ``pattern`` only narrows the search
    cheaply and ``exact`` decides, alone, whether the rule applies (keywords need this: see ``keyword_rule``).
    """

    id: int
    pattern: str
    exact: str | None = None


class CompiledRules(Protocol):
    """A set of rules, ready to match. Safe to use from several threads."""

    def match(self, text: str) -> list[int]:
        """Ids, ascending, of the rules found anywhere in a text that ``normalise`` returned.

        Raises:
            RulesOutOfMemory: the answer is not known; it is never "no match".
        """
        ...

    def find(self, rule_id: int, text: str) -> PatternMatch | None:
        """Where one rule matches the same text, and what its groups captured."""
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
