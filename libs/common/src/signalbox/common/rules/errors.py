"""What can go wrong with rules."""

from collections.abc import Sequence

from signalbox.common.errors import SignalboxError, ValidationFailed


class BadPattern(ValidationFailed):
    """RE2 refuses a pattern; ``detail`` says why, in RE2's words and ours."""

    code = "bad_pattern"


class RulesTooLarge(ValidationFailed):
    """The rules need more memory than they may have; ``rules`` are the ids that do not fit, biggest first."""

    code = "rules_too_large"

    def __init__(self, detail: str, rules: Sequence[int]) -> None:
        super().__init__(detail)
        self.rules = list(rules)


class RulesOutOfMemory(SignalboxError):
    """The memory for rules ran out in the middle of a match: whether a rule applies is not known."""

    code = "rules_out_of_memory"
    status = 503
    title = "Rules out of memory"


class DatabaseUnusable(Exception):
    """There is no compiled database of rules that can be used here. The rules are unharmed, and RE2 has them."""
