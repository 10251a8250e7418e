"""Rules on RE2: one automaton for all patterns, linear in the length of the text."""

import itertools
from collections.abc import Mapping, Sequence

import re2

from signalbox.common.rules.errors import BadPattern, RulesOutOfMemory, RulesTooLarge
from signalbox.common.rules.keywords import least_trust
from signalbox.common.rules.normalise import normalise_pattern
from signalbox.common.rules.pattern import Pattern, PatternMatch, options
from signalbox.common.rules.ports import Rule, Trust
from signalbox.common.rules.simplified import simplify
from signalbox.common.rules.stored import StoredRules
from signalbox.common.rules.table import RuleTable
from signalbox.contracts.problem import ProblemError

DEFAULT_MEMORY = 64 * 1024 * 1024
# Found in every text, so an empty answer means that the automaton gave up (RE2 tells Python nothing else).
_SENTINEL = r"\A"
_PROBE_CHARACTERS = 20_000


class Re2Rules:
    """A compiled set; see CompiledRules."""

    def __init__(self, table: RuleTable, compiled: re2.Set) -> None:
        self._table = table
        self._set = compiled

    def __len__(self) -> int:
        return len(self._table)

    def match(self, text: str) -> list[int]:
        """See CompiledRules."""
        positions = self._set.Match(simplify(text))
        if not positions:
            raise RulesOutOfMemory(
                "The memory for rules ran out while matching: raise the rules' memory limit or split the workflow."
            )
        needed = least_trust(text)
        # Position 0 is the sentinel's.
        return sorted(
            self._table.ids[position - 1]
            for position in positions
            if position and self._applies(position - 1, text, needed)
        )

    def find(self, rule_id: int, text: str) -> PatternMatch | None:
        """See CompiledRules."""
        return self._table.find(rule_id, text)

    def longest(self, rule_ids: Sequence[int], text: str, outcomes: Sequence[int]) -> int:
        """See CompiledRules."""
        return self._table.longest(rule_ids, text, outcomes)

    def serialise(self) -> bytes:
        """See CompiledRules. RE2 has no format for compiled programs, so these are the rules themselves."""
        return StoredRules(self._table.columns()).to_bytes()

    def _applies(self, position: int, text: str, needed: Trust) -> bool:
        return self._table.settled(position, needed) or self._table.confirms(position, text)


class Re2Engine:
    """Compiles rules into RE2 sets; see RuleEngine. ``memory`` is the limit of one set in bytes."""

    def __init__(self, memory: int = DEFAULT_MEMORY) -> None:
        self._memory = memory

    def compile(self, rules: Sequence[Rule]) -> Re2Rules:
        """See RuleEngine."""
        table = RuleTable.of(rules)
        compiled = self._compile(rules)
        if compiled is None:
            patterns = self._checked(rules)
            raise self._too_large(rules, patterns)
        if not self._survives_probe(rules, compiled):
            raise self._too_large(rules, self._checked(rules))
        return Re2Rules(table, compiled)

    def load(self, data: bytes) -> Re2Rules:
        """See RuleEngine. Compiles the rules; a database beside them is not looked at."""
        return self.compile(RuleTable(StoredRules.from_bytes(data).columns).rules())

    def _compile(self, rules: Sequence[Rule]) -> re2.Set | None:
        """The compiled set, or None where a pattern is bad or the memory is too small."""
        compiled = re2.Set.SearchSet(options(self._memory))
        try:
            compiled.Add(_SENTINEL)
            for rule in rules:
                compiled.Add(normalise_pattern(rule.pattern))
            compiled.Compile()
        except (re2.error, UnicodeEncodeError):
            return None
        return compiled

    def _checked(self, rules: Sequence[Rule]) -> dict[int, Pattern]:
        patterns: dict[int, Pattern] = {}
        errors: list[ProblemError] = []
        for index, rule in enumerate(rules):
            try:
                patterns[rule.id] = Pattern(rule.pattern)
            except BadPattern as error:
                errors.append(ProblemError(pointer=f"/{index}/pattern", code=error.code, detail=error.detail))
        if errors:
            raise BadPattern(f"{len(errors)} of {len(rules)} patterns are refused.", errors=errors)
        return patterns

    def _survives_probe(self, rules: Sequence[Rule], compiled: re2.Set) -> bool:
        """Whether the automaton has room to run over a text that touches as many patterns as possible."""
        characters = itertools.chain.from_iterable(f"{rule.pattern} " for rule in rules)
        return bool(compiled.Match("".join(itertools.islice(characters, _PROBE_CHARACTERS))))

    def _fits(self, rules: Sequence[Rule]) -> bool:
        compiled = self._compile(rules)
        return compiled is not None and self._survives_probe(rules, compiled)

    def _too_large(self, rules: Sequence[Rule], patterns: Mapping[int, Pattern]) -> RulesTooLarge:
        """Drop the biggest patterns, as few as possible, until the rest fits; those dropped are named."""
        by_size = sorted(rules, key=lambda rule: patterns[rule.id].size, reverse=True)
        low, high = 1, len(by_size)
        while low < high:
            middle = (low + high) // 2
            if self._fits(by_size[middle:]):
                high = middle
            else:
                low = middle + 1
        dropped = [rule.id for rule in by_size[:low]]
        return RulesTooLarge(
            f"{len(rules)} rules do not fit {self._memory // 1024} KiB: without the {len(dropped)} biggest they "
            "would; shorten their repetitions and character classes, or raise the rules' memory limit.",
            dropped,
        )
