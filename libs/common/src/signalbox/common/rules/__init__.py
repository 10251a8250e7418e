"""Rules: patterns and keywords matched against a message, all in one pass.

The meaning of a pattern is RE2's, whatever engine runs it. Text is brought into one form by ``normalise``
before it is matched; patterns and keywords are brought into the same form when they are compiled. Traditional and
simplified Chinese characters are the same to all of them.
"""

from signalbox.common.rules.errors import BadPattern, DatabaseUnusable, RulesOutOfMemory, RulesTooLarge
from signalbox.common.rules.keywords import keyword_rule
from signalbox.common.rules.normalise import normalise, normalise_pattern
from signalbox.common.rules.pattern import Pattern, PatternMatch, captures
from signalbox.common.rules.ports import CompiledRules, Rule, RuleEngine, Trust
from signalbox.common.rules.re2_engine import DEFAULT_MEMORY, Re2Engine
from signalbox.common.rules.serving import FEW_RULES, ServingEngine
from signalbox.common.rules.simplified import is_traditional, simplify

__all__ = [
    "DEFAULT_MEMORY",
    "FEW_RULES",
    "BadPattern",
    "CompiledRules",
    "DatabaseUnusable",
    "Pattern",
    "PatternMatch",
    "Re2Engine",
    "Rule",
    "RuleEngine",
    "RulesOutOfMemory",
    "RulesTooLarge",
    "ServingEngine",
    "Trust",
    "captures",
    "is_traditional",
    "keyword_rule",
    "normalise",
    "normalise_pattern",
    "simplify",
]
