"""One RE2 pattern: whether and where it is found, and what its groups captured."""

from functools import cached_property
from typing import Any

import re2

from signalbox.common.record import record
from signalbox.common.rules.errors import BadPattern
from signalbox.common.rules.normalise import normalise_pattern
from signalbox.common.rules.simplified import simplify

_MEMORY = 8 * 1024 * 1024
_NO_SUCH_SYNTAX = {
    "(?=": "RE2 has no lookahead",
    "(?!": "RE2 has no lookahead",
    "(?<=": "RE2 has no lookbehind",
    "(?<!": "RE2 has no lookbehind",
    "(?>": "RE2 has no atomic groups",
    "(?(": "RE2 has no conditionals",
    "(?P=": "RE2 has no backreferences",
}


@record
class PatternMatch:
    """Where a pattern was found: ``start`` to ``end`` in characters of the text, and the captured texts."""

    start: int
    end: int
    text: str
    """The whole match."""
    value: str
    """The first group that took part in the match, else the whole match: the value of a slot or parameter."""
    groups: dict[str, str]
    """Named groups that took part in the match."""


class Pattern:
    """A compiled pattern, case-insensitive, found anywhere in a text (that ``normalise`` returned)."""

    def __init__(self, source: str) -> None:
        """Compile. Raises BadPattern with RE2's reason."""
        self.source = source
        try:
            # Bytes, because RE2's Python code takes three times as long to find in a str.
            self._filter, self._compiled = _compiled(normalise_pattern(source).encode())
        except (re2.error, UnicodeEncodeError) as error:
            raise BadPattern(refusal(source, error)) from None

    @cached_property
    def size(self) -> int:
        """Instructions of the compiled program, which the memory of a set is spent on."""
        return int(self._compiled.programsize)

    @cached_property
    def group_names(self) -> frozenset[str]:
        """Names of the pattern's named groups."""
        return frozenset(self._groups)

    def search(self, text: str) -> PatternMatch | None:
        """The first match in a text, in time linear in its length."""
        data = text.encode()
        simple = simplify(text)
        found = self._compiled.search(data if simple is text else simple.encode())
        if found is None:
            return None
        start, end = found.span()
        # An empty match may lie between the bytes of a character, where ``\B`` holds.
        whole = data[start:end].decode()
        if len(data) != len(text):
            start = len(data[:start].decode(errors="ignore"))
            end = start + len(whole)
        # Simplified characters take the place of the others byte by byte: what was captured is what was written.
        captured = [
            data[at:until] for at, until in map(found.span, range(1, self._compiled.groups + 1)) if at >= 0
        ]
        return PatternMatch(
            start=start,
            end=end,
            text=whole,
            value=captured[0].decode() if captured else whole,
            groups={
                name: data[found.start(index) : found.end(index)].decode()
                for name, index in self._groups.items()
                if found.start(index) >= 0
            },
        )

    def length(self, data: bytes) -> int:
        """How many characters the first match has, in a text that is simplified and encoded already; 0 without one."""
        found = self._compiled.search(data)
        if found is None:
            return 0
        start, end = found.span()
        return len(data[start:end].decode(errors="ignore"))

    @cached_property
    def _groups(self) -> dict[str, int]:
        return {name.decode(): index for name, index in self._compiled.groupindex.items()}


def captures(pattern: str, text: str) -> dict[str, str]:
    """What the named groups of a pattern captured in a normalised text; empty without a match."""
    found = Pattern(pattern).search(text)
    return found.groups if found is not None else {}


def _compiled(pattern: bytes) -> tuple[re2.Filter, Any]:
    """The compiled pattern, and what owns it. Raises ``re2.error``.

    A filter of one compiles it in half the time of ``re2.compile``, which copies options about and keeps the result.
    """
    owner = re2.Filter()
    try:
        owner.Add(pattern, options())
    except re2.error:
        # This one says why.
        return owner, re2.compile(pattern, options())
    return owner, owner.re(0)


def options(memory: int = _MEMORY, *, case_sensitive: bool = False) -> re2.Options:
    """The options that a pattern is compiled with; ``memory`` in bytes."""
    chosen = re2.Options()
    chosen.case_sensitive = case_sensitive
    chosen.log_errors = False
    chosen.max_mem = memory
    return chosen


def refusal(pattern: str, error: Exception) -> str:
    """The sentence for a pattern that RE2 refused."""
    reason = error.args[0] if error.args and isinstance(error, re2.error) else "it is not valid Unicode"
    if isinstance(reason, bytes):
        reason = reason.decode("utf-8", "replace")
    if reason.startswith("invalid perl operator"):
        for syntax, advice in _NO_SUCH_SYNTAX.items():
            if syntax in pattern:
                return f"RE2 refuses the pattern ({reason}): {advice}; match more and check the value in the flow."
    if reason.startswith("invalid escape sequence") and reason[-1:].isdigit():
        return f"RE2 refuses the pattern ({reason}): RE2 has no backreferences; write the alternatives out."
    if reason.endswith("\\Z"):
        return f"RE2 refuses the pattern ({reason}): RE2 writes the end of the text as \\z."
    return f"RE2 refuses the pattern: {reason}."
