"""The engine of a process that serves: it loads what was built, and never builds a database itself."""

import logging
from collections.abc import Sequence

from signalbox.common.rules.errors import DatabaseUnusable
from signalbox.common.rules.hyperscan_rules import load_database
from signalbox.common.rules.ports import CompiledRules, Rule
from signalbox.common.rules.re2_engine import DEFAULT_MEMORY, Re2Engine

_LOG = logging.getLogger(__name__)

FEW_RULES = 128
"""Of fewer, RE2's set is fast enough: no database is built."""


class ServingEngine:
    """Rules from their database where one was built for this place, else from an RE2 set, with the same hits.

    See RuleEngine. ``memory``, in bytes, bounds what the rules of one snapshot are compiled to.
    """

    def __init__(self, memory: int = DEFAULT_MEMORY) -> None:
        self._re2 = Re2Engine(memory)

    def compile(self, rules: Sequence[Rule]) -> CompiledRules:
        """See RuleEngine: an RE2 set, ready at once."""
        return self._re2.compile(rules)

    def load(self, data: bytes) -> CompiledRules:
        """See RuleEngine. Where no database can be used, says why in the log: many rules are slower then."""
        try:
            return load_database(data, self._re2)
        except DatabaseUnusable as error:
            rules = self._re2.load(data)
            if len(rules) >= FEW_RULES:
                _LOG.warning(
                    "%d rules are matched by RE2: their database cannot be used. %s Publish the workflow again "
                    "from this release to have one built.",
                    len(rules),
                    error,
                )
            return rules
