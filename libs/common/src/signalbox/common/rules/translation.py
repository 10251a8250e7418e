r"""RE2 patterns as expressions for Hyperscan: never narrower, and where possible just as wide.

Hyperscan reads PCRE's syntax, which differs from RE2's in places and in what characters classes and case folding
mean. So nothing is passed on as it was written: a pattern is parsed, what its characters mean is asked of RE2
(``Characters``), and an expression over the bytes of UTF-8 is written, of few constructs that mean the same to
both (https://github.com/google/re2/wiki/Syntax, https://intel.github.io/hyperscan/dev-reference/compilation.html).
Hyperscan's ``\b`` knows ASCII words, like RE2's, as long as it is not told of UTF-8.
"""

import re
from dataclasses import dataclass

from signalbox.common.record import record
from signalbox.common.rules.characters import Characters, CharacterSet, one_byte
from signalbox.common.rules.normalise import normalise_pattern
from signalbox.common.rules.ports import Trust

_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_PROPERTY = re.compile(r"[pP](?:\{\^?\w+\}|\w)")
_GROUP = re.compile(r"\(\?(?:P?<\w+>|([imsU]*)(?:-([imsU]+))?([:)]))")
_CONTROL = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_ASSERTIONS = {"b": r"\b", "B": r"\B", "A": "^", "z": r"\z"}
_WIDE_REPEAT = 8
"""A loose expression counts no further than this."""


class Untranslatable(Exception):
    """The pattern uses syntax that is not translated: RE2 alone knows its meaning."""


@record
class Expression:
    """A pattern for Hyperscan."""

    source: str
    trust: Trust
    shortest: int
    longest: int | None
    """Characters that a match of the pattern has, at least and, where there is a bound, at most."""


def translate(pattern: str, characters: Characters, *, loose: bool = False) -> Expression:
    """The expression for an RE2 pattern, which RE2 has accepted.

    A ``loose`` one asks for less: no assertions, no long counts. Hyperscan refuses fewer of them.

    Raises:
        Untranslatable: the pattern uses rare syntax.
    """
    try:
        return _Translator(normalise_pattern(pattern), characters, loose=loose).expression()
    except RecursionError:
        raise Untranslatable(pattern) from None


@record
class _Part:
    """A piece of the expression and how many characters it matches."""

    source: str
    low: int
    high: int | None
    single: bool = False
    """It can take a quantifier as it is."""
    members: CharacterSet | None = None


_NOTHING = _Part("", 0, 0)


@dataclass(slots=True)
class _Flags:
    lines: bool = False
    """``^`` and ``$`` are edges of lines."""
    newline: bool = False
    """The dot matches newlines."""

    def copy(self) -> "_Flags":
        return _Flags(self.lines, self.newline)


class _Translator:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str, characters: Characters, *, loose: bool) -> None:
        self._text = pattern
        self._at = 0
        self._characters = characters
        self._loose = loose
        self._trust = Trust.NEVER if loose else Trust.ALWAYS
        self._flags = _Flags()

    def expression(self) -> Expression:
        part = self._alternation()
        if self._at < len(self._text):
            raise Untranslatable(self._text)
        return Expression(part.source, self._trust, part.low, part.high)

    def _distrust(self, trust: Trust) -> None:
        self._trust = min(self._trust, trust)

    def _rest(self) -> str:
        return self._text[self._at :]

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternation(self) -> _Part:
        branches = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        highs = [branch.high for branch in branches]
        return _Part(
            f"(?:{'|'.join(branch.source for branch in branches)})",
            min(branch.low for branch in branches),
            None if None in highs else max(high for high in highs if high is not None),
            single=True,
        )

    def _sequence(self) -> _Part:
        source: list[str] = []
        low: int = 0
        high: int | None = 0
        while self._next() not in ("", "|", ")"):
            part = self._quantified(self._atom())
            source.append(part.source)
            low += part.low
            high = None if high is None or part.high is None else high + part.high
        return _Part("".join(source), low, high)

    def _quantified(self, part: _Part) -> _Part:
        while True:
            found = self._quantifier()
            if found is None:
                return part
            if self._next() == "?":
                self._at += 1
            part = self._repeated(part, *found)

    def _quantifier(self) -> tuple[int, int | None] | None:
        plain = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self._next())
        if plain is not None:
            self._at += 1
            return plain
        found = _REPEAT.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        low = int(found[1])
        if found[2] is None:
            return low, low
        return low, int(found[3]) if found[3] else None

    def _repeated(self, part: _Part, low: int, high: int | None) -> _Part:
        width = (part.low * low, None if high is None or part.high is None else part.high * high)
        if part.high == 0:
            # Nothing repeated is nothing, and an assertion that may be left out asserts nothing.
            return _Part(part.source if low else "", 0, 0)
        if self._loose and (high or low) > _WIDE_REPEAT:
            low, high = min(low, _WIDE_REPEAT), None
        atom = part.source if part.single else f"(?:{part.source})"
        if high is None and part.members is not None and part.members.rest:
            source = (atom + _count(low, low) if low else "") + part.members.many()
        else:
            source = atom + _count(low, high)
        return _Part(source, *width)

    def _atom(self) -> _Part:
        character = self._next()
        self._at += 1
        match character:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case ".":
                return self._of(self._characters.members("(?s:.)" if self._flags.newline else "."))
            case "^" | "$":
                return self._edge(character)
            case "*" | "+" | "?":
                raise Untranslatable(self._text)
        return self._literal(character)

    def _group(self) -> _Part:
        before = self._flags.copy()
        if self._next() == "?":
            found = _GROUP.match(self._text, self._at - 1)
            if found is None:
                raise Untranslatable(self._text)
            self._at = found.end()
            if found[3] is not None:
                self._set_flags(found[1], on=True)
                self._set_flags(found[2] or "", on=False)
            if found[3] == ")":
                return _NOTHING
        part = self._alternation()
        if self._next() != ")":
            raise Untranslatable(self._text)
        self._at += 1
        self._flags = before
        return _Part(f"(?:{part.source})", part.low, part.high, single=True)

    def _set_flags(self, letters: str, *, on: bool) -> None:
        for letter in letters:
            match letter:
                case "i" if not on:
                    # Classes that exclude letters would be wider than those that RE2 is asked about.
                    raise Untranslatable(self._text)
                case "m":
                    self._flags.lines = on
                case "s":
                    self._flags.newline = on

    def _class(self) -> _Part:
        start = self._at - 1
        if self._next() == "^":
            self._at += 1
        if self._next() == "]":
            self._at += 1
        while self._next() != "]":
            if self._rest().startswith("[:"):
                self._at = self._text.index(":]", self._at) + 2
            elif self._next() == "\\":
                if self._text[self._at + 1 : self._at + 2] in ("Q", "E", "C"):
                    raise Untranslatable(self._text)
                self._at += 2
            elif self._next():
                self._at += 1
            else:
                raise Untranslatable(self._text)
        self._at += 1
        return self._of(self._characters.members(self._text[start : self._at]))

    def _escape(self) -> _Part:
        letter = self._next()
        if letter in _ASSERTIONS:
            self._at += 1
            return self._assertion(_ASSERTIONS[letter])
        if letter and letter in "dDwWsS":
            self._at += 1
            return self._of(self._characters.members(f"\\{letter}"))
        for syntax in (_HEX, _PROPERTY):
            found = syntax.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                if syntax is _HEX:
                    return self._literal(chr(int(found[1] or found[2], 16)))
                return self._of(self._characters.members(f"\\{found[0]}"))
        self._at += 1
        if letter in _CONTROL:
            return self._literal(_CONTROL[letter])
        if not letter or letter.isalnum():
            raise Untranslatable(self._text)
        return self._literal(letter)

    def _edge(self, character: str) -> _Part:
        if self._flags.lines:
            # An edge of any line; normalised texts have one line.
            self._distrust(Trust.NEVER)
            return _NOTHING
        return self._assertion("^" if character == "^" else r"\z")

    def _assertion(self, source: str) -> _Part:
        if source == r"\B":
            # True between the bytes of one character; what that means is left to RE2.
            self._distrust(Trust.ASCII)
        return _NOTHING if self._loose else _Part(source, 0, 0)

    def _literal(self, character: str) -> _Part:
        if character.isascii():
            return _Part(one_byte(ord(character)), 1, 1, single=True)
        if 0xD800 <= ord(character) <= 0xDFFF:
            raise Untranslatable(self._text)
        cases = self._characters.literal(character)
        if cases is not None:
            return self._of(cases)
        return _Part("".join(one_byte(byte) for byte in character.encode()), 1, 1)

    def _of(self, members: CharacterSet) -> _Part:
        if members.empty:
            raise Untranslatable(self._text)
        if not members.exact:
            self._distrust(Trust.ASCII)
        return _Part(members.one(), 1, 1, single=not members.rest, members=members)


def _count(low: int, high: int | None) -> str:
    match (low, high):
        case (0, None):
            return "*"
        case (1, None):
            return "+"
        case (0, 1):
            return "?"
        case (1, 1):
            return ""
        case (_, None):
            return f"{{{low},}}"
    return f"{{{low}}}" if low == high else f"{{{low},{high}}}"
