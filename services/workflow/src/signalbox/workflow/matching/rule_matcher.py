"""Rules: every pattern and keyword of a snapshot in one compiled set."""

from collections.abc import Sequence
from typing import Any

from signalbox.common.record import record
from signalbox.common.rules import CompiledRules, Rule, RuleEngine, keyword_rule
from signalbox.contracts.config import Intent
from signalbox.workflow.matching.parameters import ParameterReader


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
        self._intents = list(intents)
        self._owners, rules = _rules(intents)
        self._rules: CompiledRules = engine.compile(rules) if compiled is None else engine.load(compiled)
        self._readers = {intent.id: ParameterReader(intent.parameters) for intent in intents}

    def serialise(self) -> bytes:
        """The compiled set, as an artefact of the snapshot."""
        return self._rules.serialise()

    def match(self, text: str) -> RuleHit | None:
        """The intent that rules find in a normalised text, if any.

        Raises:
            RulesOutOfMemory: the answer is not known.
        """
        ids = self._rules.match(text)
        if not ids:
            return None
        top = max(self._intents[self._owners[rule]].priority for rule in ids)
        best: tuple[int, int] | None = None
        winner: tuple[int, dict[str, str]] | None = None
        for rule in ids:
            owner = self._owners[rule]
            if self._intents[owner].priority < top:
                continue
            found = self._rules.find(rule, text)
            if found is None:
                continue
            rank = (found.end - found.start, -owner)
            if best is None or rank > best:
                best, winner = rank, (owner, found.groups)
        if winner is None:
            return None
        intent = self._intents[winner[0]]
        return RuleHit(intent, self.parameters(intent, text, winner[1]))

    def parameters(self, intent: Intent, text: str, given: dict[str, Any]) -> dict[str, Any]:
        """The parameters of an intent: those given, and those that its own patterns find in the text."""
        return self._readers[intent.id].read(text, given)


def _rules(intents: Sequence[Intent]) -> tuple[list[int], list[Rule]]:
    """The rules, numbered, and for each the index of its intent."""
    owners: list[int] = []
    rules: list[Rule] = []
    for index, intent in enumerate(intents):
        for pattern in intent.when.patterns:
            rules.append(Rule(len(rules), pattern))
            owners.append(index)
        for keyword in intent.when.keywords:
            rules.append(keyword_rule(len(rules), keyword))
            owners.append(index)
    return owners, rules
