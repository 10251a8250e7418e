"""Rules: every pattern and keyword of a snapshot in one compiled set."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from signalbox.common.record import record
from signalbox.common.rules import CompiledRules, Rule, RuleEngine, keyword_rule
from signalbox.contracts.config import Intent
from signalbox.workflow.matching.parameters import ParameterReader

Today = Callable[[], date]
"""The date that relative dates in a message count from."""


def utc_today() -> date:
    """Today's date in UTC, where nobody says where the user is."""
    return datetime.now(UTC).date()


@record
class RuleHit:
    """The intent whose rule won, and the parameters that the message gave."""

    intent: Intent
    parameters: dict[str, Any]


class RuleMatcher:
    """Matches a message against all rules of a snapshot.

    Of several hits the highest priority wins, then the longest match, then the first in the document.
    """

    def __init__(self, intents: Sequence[Intent], engine: RuleEngine, compiled: bytes | None = None) -> None:
        """Load ``compiled``, which is serialised rules of the same intents, else compile.

        Raises:
            ValueError: ``compiled`` is not what it should be.
        """
        self._intents = list(intents)
        self._owners: list[int] = []
        self._priorities: list[int] = []
        self._capturing: set[int] = set()
        for index, intent in enumerate(intents):
            for number, pattern in enumerate(intent.when.patterns, len(self._owners)):
                if "(?P<" in pattern or "(?<" in pattern:
                    self._capturing.add(number)
            count = len(intent.when.patterns) + len(intent.when.keywords)
            self._owners += [index] * count
            self._priorities += [intent.priority] * count
        self._rules: CompiledRules = (
            engine.compile(rules_of(intents)) if compiled is None else engine.load(compiled)
        )
        if len(self._rules) != len(self._owners):
            raise ValueError("these rules were compiled for other intents")
        self._readers: dict[str, ParameterReader] = {}

    def match(self, text: str, today: Today = utc_today) -> RuleHit | None:
        """The intent that rules find in a normalised text, if any.

        Raises:
            RulesOutOfMemory: the answer is not known.
        """
        ids = self._rules.match(text)
        if not ids:
            return None
        winner = ids[0] if len(ids) == 1 else self._best(ids, text)
        found = self._rules.find(winner, text) if winner in self._capturing else None
        intent = self._intents[self._owners[winner]]
        return RuleHit(intent, self.parameters(intent, text, {} if found is None else found.groups, today))

    def parameters(
        self, intent: Intent, text: str, given: dict[str, Any], today: Today = utc_today
    ) -> dict[str, Any]:
        """The parameters of an intent: those given, and those that its own patterns find in the text."""
        if not intent.parameters:
            return given
        reader = self._readers.get(intent.id)
        if reader is None:
            reader = self._readers[intent.id] = ParameterReader(intent.parameters)
        return reader.read(text, given, today)

    def _best(self, ids: list[int], text: str) -> int:
        """The rule that wins, of several that are found; they ascend, and so do their owners."""
        top = max([self._priorities[rule] for rule in ids])
        ids = [rule for rule in ids if self._priorities[rule] == top]
        # A rule that captures leads to a reply of its own, others to that of their intent.
        outcomes = [-1 - rule if rule in self._capturing else self._owners[rule] for rule in ids]
        return self._rules.longest(ids, text, outcomes)


def rules_of(intents: Sequence[Intent]) -> list[Rule]:
    """The rules of intents, numbered in their order: each intent's patterns, then its keywords.

    Raises:
        BadPattern: a keyword is empty.
    """
    rules: list[Rule] = []
    for intent in intents:
        for pattern in intent.when.patterns:
            rules.append(Rule(len(rules), pattern))
        for keyword in intent.when.keywords:
            rules.append(keyword_rule(len(rules), keyword))
    return rules
