"""What one character of a pattern may be, as RE2 itself says, written as an expression over UTF-8 bytes."""

import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property

import re2

from signalbox.common.record import record
from signalbox.common.rules.normalise import NEVER_NORMAL
from signalbox.common.rules.pattern import options

CONTINUATION = r"[\x80-\xbf]"
_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_SEQUENCES = 16
"""More byte sequences than these make a class too large to be worth an exact expression."""
# Blocks without case (CJK radicals to Yi radicals, Hangul syllables, emoji and what follows): their characters
# mean themselves. The suite checks it against RE2.
_UNCASED = ((0x2E80, 0xA4CF), (0xAC00, 0xD7A3), (0x1F000, _LAST))


@record
class CharacterSet:
    """A set of characters. Where it is not ``exact``, it also holds characters outside ASCII that RE2's does not."""

    ascii: frozenset[int]
    """Members below 128."""
    ranges: tuple[tuple[int, int], ...]
    """Members from 128, as code points; empty where ``rest`` is set."""
    rest: bool
    """Every character outside ASCII is a member."""
    exact: bool

    @property
    def empty(self) -> bool:
        """Whether no text has a member."""
        return not (self.ascii or self.ranges or self.rest)

    def one(self) -> str:
        """Any one member. Continuation bytes are optional: in valid UTF-8 what follows starts a character."""
        if self.rest:
            return byte_class(self.ascii, (0xC2, 0xF4)) + CONTINUATION + "*"
        parts = [byte_class(self.ascii)] if self.ascii else []
        parts += [
            "".join(byte_class((), part) for part in sequence)
            for first, last in self.ranges
            for sequence in utf8_sequences(first, last)
        ]
        # One class of bytes stands as it is, whatever follows it.
        return parts[0] if len(parts) == 1 and not self.ranges else f"(?:{'|'.join(parts)})"

    def many(self) -> str:
        """Any number of members, where ``rest`` is set, as one class of bytes."""
        return byte_class(self.ascii, (0x80, 0xF4)) + "*"


class Characters:
    """Asks RE2 which characters a piece of syntax stands for, case folded. Remembers: an answer takes 10 to 50 ms."""

    def __init__(self) -> None:
        self._known: dict[str, CharacterSet] = {}

    def literal(self, character: str) -> CharacterSet | None:
        """A character outside ASCII with its other cases; None where it has none."""
        code = ord(character)
        if any(first <= code <= last for first, last in _UNCASED):
            return None
        return self._asked(rf"\x{{{code:x}}}", self._cased)

    def members(self, syntax: str) -> CharacterSet:
        r"""What a class (``[a-z]``), escape (``\d``, ``\pL``) or the dot matches."""
        return self._asked(syntax, self._all)

    def _asked(self, syntax: str, text: bytes) -> CharacterSet:
        known = self._known.get(syntax)
        if known is None:
            known = self._known[syntax] = _set(list(_runs(syntax, text)))
        return known

    @cached_property
    def _all(self) -> bytes:
        return _text([(0, _LAST)])

    @cached_property
    def _cased(self) -> bytes:
        gaps = [*_UNCASED, (_LAST + 1, _LAST + 1)]
        starts = [0, *(last + 1 for _, last in _UNCASED)]
        return _text(
            [(start, first - 1) for start, (first, _) in zip(starts, gaps, strict=True) if start < first]
        )


def byte_class(members: Iterable[int], *ranges: tuple[int, int]) -> str:
    """A class of bytes in Hyperscan's syntax."""
    spans = [*_spans(sorted(members)), *ranges]
    if len(spans) == 1 and spans[0][0] == spans[0][1]:
        return one_byte(spans[0][0])
    return "[" + "".join(one_byte(a) if a == b else f"{one_byte(a)}-{one_byte(b)}" for a, b in spans) + "]"


def one_byte(value: int) -> str:
    """One byte in Hyperscan's syntax, in or outside of a class."""
    character = chr(value)
    return character if character.isascii() and character.isalnum() else rf"\x{value:02x}"


def utf8_sequences(first: int, last: int) -> Iterator[list[tuple[int, int]]]:
    """A range of code points as sequences of ranges of bytes (the algorithm of RE2 and of Go's regexp/syntax)."""
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if first <= limit < last:
            yield from utf8_sequences(first, limit)
            yield from utf8_sequences(limit + 1, last)
            return
    for bits in (6, 12, 18):
        mask = (1 << bits) - 1
        if last <= 0x7F or first & ~mask == last & ~mask:
            continue
        if first & mask:
            yield from utf8_sequences(first, first | mask)
            yield from utf8_sequences((first | mask) + 1, last)
            return
        if last & mask != mask:
            yield from utf8_sequences(first, (last & ~mask) - 1)
            yield from utf8_sequences(last & ~mask, last)
            return
    low, high = _encoded(first), _encoded(last)
    yield list(zip(low, high, strict=True))


def _encoded(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass")


def _spans(values: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for value in values:
        if spans and spans[-1][1] == value - 1:
            spans[-1] = (spans[-1][0], value)
        else:
            spans.append((value, value))
    return spans


def _text(ranges: list[tuple[int, int]]) -> bytes:
    """All characters of some ranges, in order, but for surrogates, which are none."""
    codes = array("I")
    for first, last in ranges:
        codes.extend(range(first, min(last, _SURROGATES[0] - 1) + 1))
        codes.extend(range(max(first, _SURROGATES[1] + 1), last + 1))
    # By one decoder, not a million calls: publishing rules waits for this.
    return codes.tobytes().decode(f"utf-32-{sys.byteorder[0]}e").encode()


def _runs(syntax: str, text: bytes) -> Iterator[tuple[int, int]]:
    """The runs of characters of ``text``, which are in order, that the syntax matches."""
    compiled = re2.compile(f"(?:{syntax})+".encode(), options())
    for found in compiled.finditer(text):
        run = found.group()
        first = run[:4].decode("utf-8", "ignore")[0]
        last = run[-4:].decode("utf-8", "ignore")[-1]
        yield ord(first), ord(last)


def _set(runs: list[tuple[int, int]]) -> CharacterSet:
    members = frozenset(code for first, last in runs for code in range(first, min(last, 127) + 1))
    outside = [(max(first, 128), last) for first, last in runs if last > 127]
    gaps = list(_gaps(outside))
    if all(_never(*gap) for gap in gaps):
        return CharacterSet(members, (), rest=True, exact=True)
    kept = tuple(span for span in outside if not _never(*span))
    sequences = sum(1 for first, last in kept for _ in utf8_sequences(first, last))
    if sequences > _SEQUENCES:
        return CharacterSet(members, (), rest=True, exact=False)
    return CharacterSet(members, kept, rest=False, exact=True)


def _never(first: int, last: int) -> bool:
    """Whether no normalised text has a character of a range."""
    return first == last and chr(first) in NEVER_NORMAL


def _gaps(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is missing from 128 to the last code point; surrogates, which no text has, do not count."""
    start = 128
    for first, last in [*ranges, (_LAST + 1, _LAST + 1)]:
        if first > start:
            yield start, first - 1
        start = 0xE000 if last == 0xD7FF else last + 1
