"""Rules by position, as both engines hold them and as they are serialised."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

from signalbox.common.rules.pattern import Pattern, PatternMatch
from signalbox.common.rules.ports import Rule, Trust
from signalbox.common.rules.simplified import simplify

_PATTERNS_KEPT = 8192
"""Compiled single patterns, some 4 KB each, that a set of rules keeps."""


class RuleTable:
    """The rules of a set, in columns: ten thousand objects would slow down every garbage collection.

    Single patterns are compiled when they are asked for; most never are.
    """

    def __init__(self, columns: Sequence[list[Any]]) -> None:
        """``columns`` are those that ``columns()`` returned. Raises ValueError where an id is there twice."""
        self.ids, self._patterns, self._exact, self._trusts, self._shortest, self._longest = columns
        self._positions = {rule_id: position for position, rule_id in enumerate(self.ids)}
        if len(self._positions) < len(self.ids):
            raise ValueError("rule ids must be unique")
        self._compiled = lru_cache(_PATTERNS_KEPT)(Pattern)

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Self:
        """The table of some rules."""
        return cls(
            (
                [rule.id for rule in rules],
                [rule.pattern for rule in rules],
                [rule.exact for rule in rules],
                [int(rule.trust) for rule in rules],
                [rule.shortest for rule in rules],
                [rule.longest for rule in rules],
            )
        )

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self) -> list[list[Any]]:
        """The fields of Rule, in their order, as JSON values."""
        return [self.ids, self._patterns, self._exact, self._trusts, self._shortest, self._longest]

    def rules(self) -> list[Rule]:
        """The rules themselves."""
        return [
            Rule(rule_id, pattern, exact, Trust(trust), shortest, longest)
            for rule_id, pattern, exact, trust, shortest, longest in zip(*self.columns(), strict=True)
        ]

    def settled(self, position: int, needed: Trust) -> bool:
        """Whether finding a rule's ``pattern`` settles that it applies, on a text that needs this much trust."""
        return self._exact[position] is None or self._trusts[position] >= needed

    def confirms(self, position: int, text: str) -> bool:
        """Whether RE2 finds the pattern that decides."""
        return self._deciding(position).search(text) is not None

    def find(self, rule_id: int, text: str) -> PatternMatch | None:
        """See CompiledRules."""
        return self._deciding(self._positions[rule_id]).search(text)

    def longest(self, rule_ids: Sequence[int], text: str, outcomes: Sequence[int]) -> int:
        """See CompiledRules. RE2 measures only rules that may be longer than one of another outcome."""
        leader, best, outcome = rule_ids[0], -1, outcomes[0]
        if len(set(outcomes)) == 1:
            return leader
        varying: list[tuple[int, int, int, int]] = []
        for rule_id, leads_to in zip(rule_ids, outcomes, strict=True):
            position = self._positions[rule_id]
            least, most = self._shortest[position], self._longest[position]
            if least != most:
                varying.append((rule_id, position, len(text) if most is None else most, leads_to))
            elif least > best:
                leader, best, outcome = rule_id, least, leads_to
        data = simplify(text).encode() if varying else b""
        while True:
            for entry in varying:
                rule_id, position, most, leads_to = entry
                if (best < 0 or leads_to != outcome) and (most, -rule_id) > (best, -leader):
                    break
            else:
                return leader
            varying.remove(entry)
            length = self._deciding(position).length(data)
            if (length, -rule_id) > (best, -leader):
                leader, best, outcome = rule_id, length, leads_to

    def _deciding(self, position: int) -> Pattern:
        return self._compiled(self._exact[position] or self._patterns[position])
