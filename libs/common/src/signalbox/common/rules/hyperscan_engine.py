"""Compiling rules to a Hyperscan database, when a snapshot is published."""

import re
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from signalbox.common.rules.characters import Characters
from signalbox.common.rules.errors import DatabaseUnusable
from signalbox.common.rules.hyperscan_rules import (
    LEFT_OUT,
    HyperscanRules,
    hyperscan_builder,
    hyperscan_package,
    load_database,
    this_platform,
)
from signalbox.common.rules.ports import Rule
from signalbox.common.rules.re2_engine import DEFAULT_MEMORY, Re2Engine
from signalbox.common.rules.stored import StoredRules, pack
from signalbox.common.rules.table import RuleTable
from signalbox.common.rules.translation import Expression, Untranslatable, translate

# What Hyperscan may refuse: anchors inside, assertions between characters, counts and sheer size.
_SUSPECT = re.compile(r"(?s).\^|\\z.|\\B|[{,](?:[3-9]\d|\d{3,})|.{400}")


class HyperscanEngine:
    """Compiles rules to Hyperscan databases, and loads them; see RuleEngine.

    ``memory``, in bytes, bounds a database, and the RE2 set of the rules that Hyperscan refuses.
    """

    def __init__(self, memory: int = DEFAULT_MEMORY) -> None:
        self._memory = memory
        self._re2 = Re2Engine(memory)

    def compile(self, rules: Sequence[Rule]) -> HyperscanRules:
        """See RuleEngine. Takes 2 ms a rule: it is for publishing. Patterns must be ones that RE2 accepts.

        Raises:
            DatabaseUnusable: Hyperscan is not installed, or makes a database that does not fit.
        """
        hyperscan = hyperscan_package()
        characters = Characters()
        trial = _Trial(hyperscan)
        expressions = [
            _accepted(rule, characters, trial if entry is None or _SUSPECT.search(entry.source) else None)
            for rule, entry in ((rule, _expression(rule, characters)) for rule in rules)
        ]
        try:
            database = trial.database(expressions)
        except hyperscan.error:
            # It does not say which expression it refuses: every one is tried alone, which takes as long again.
            expressions = [_accepted(rule, characters, trial) for rule in rules]
            try:
                database = trial.database(expressions)
            except hyperscan.error as error:
                raise DatabaseUnusable(f"Hyperscan does not compile the rules: {error}") from error
        data: bytes = hyperscan.dumpb(database)
        if len(data) > self._memory:
            raise DatabaseUnusable(
                f"The database of {len(rules)} rules takes {len(data) // 1024} KiB, more than rules may."
            )
        known = [
            rule if entry is None else replace(rule, shortest=entry.shortest, longest=entry.longest)
            for rule, entry in zip(rules, expressions, strict=True)
        ]
        return HyperscanRules(
            StoredRules(
                columns=RuleTable.of(known).columns(),
                builder=hyperscan_builder(),
                platform=this_platform(),
                trusts=[LEFT_OUT if entry is None else int(entry.trust) for entry in expressions],
                size=len(data),
                packed=pack(data),
            ),
            hyperscan,
            self._re2,
        )

    def load(self, data: bytes) -> HyperscanRules:
        """See RuleEngine, and ``load_database``."""
        return load_database(data, self._re2)


class _Trial:
    """Compiles expressions, some of which may be refused."""

    def __init__(self, hyperscan: ModuleType) -> None:
        self._hyperscan = hyperscan
        self._flags = (
            hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
        )

    def accepts(self, expression: Expression) -> bool:
        """Whether Hyperscan compiles one expression."""
        try:
            self.database([expression])
        except self._hyperscan.error:
            return False
        return True

    def database(self, expressions: Sequence[Expression | None]) -> Any:
        """The database of those that are not None, by position. Raises ``hyperscan.error`` where one is refused."""
        positions = [position for position, entry in enumerate(expressions) if entry is not None]
        sources = [entry.source.encode() for entry in expressions if entry is not None]
        database = self._hyperscan.Database(mode=self._hyperscan.HS_MODE_BLOCK)
        database.compile(expressions=sources, ids=positions, flags=self._flags)
        return database


def _expression(rule: Rule, characters: Characters, *, loose: bool = False) -> Expression | None:
    """What to look for; None where RE2 alone knows."""
    try:
        found = translate(rule.pattern, characters, loose=loose)
    except Untranslatable:
        return None
    if rule.exact is None:
        return found
    return replace(found, trust=min(found.trust, rule.trust), shortest=rule.shortest, longest=rule.longest)


def _accepted(rule: Rule, characters: Characters, trial: _Trial | None) -> Expression | None:
    """The narrowest expression that Hyperscan accepts; without a trial, the narrowest."""
    for loose in (False, True):
        found = _expression(rule, characters, loose=loose)
        if found is not None and (trial is None or trial.accepts(found)):
            return found
    return None
