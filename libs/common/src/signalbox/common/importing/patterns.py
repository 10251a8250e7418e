r"""Patterns of Python's ``re`` (or of JavaScript) as patterns of RE2, where the same messages match.

What is written otherwise: groups that are numbered get names, ``\uXXXX`` becomes ``\x{XXXX}``, ``\Z`` ``\z``,
``{,3}`` ``{0,3}``, ``\w`` the letters and digits of every script; assertions about what stands before or after the
whole pattern become a part of it. Everything else that RE2 has not is refused, never approximated.
"""

import itertools
import re
from collections.abc import Mapping

from signalbox.common.record import record
from signalbox.common.rules import BadPattern, Pattern

_JAVASCRIPT = re.compile(r"\A/(?P<body>.+)/(?P<flags>[gimsuy]*)\Z", re.DOTALL)
_PYTHON_FLAGS = re.compile(r"\A\(\?([aiLmsux]+)\)")
_GROUP_NAME = re.compile(r"\(\?P?<([^>=!]+)>")
_CODE_POINT = re.compile(r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})")
_AND = re.compile(r"\A\^?((?:\(\?=\.\*\??(?:[^()\\.*+?\[\]{}|^$]+)\)){2,3})(?:\.[*+]\$?)?\Z")
_AND_PART = re.compile(r"\(\?=\.\*\??([^()]+)\)")
_PLACEHOLDER = re.compile(r"\{\{?\s*([^\W\d]\w*)\s*\}?\}")
_LETTERS = r"\p{L}\p{N}_"
_ONE_CHARACTER = re.compile(r"\\[dDsSwW]|\\[^A-Za-z0-9]|\[\^?(?:\\.|[^\]\\])+\]|[^\\()\[\]{}.*+?|^$]")


class Untranslatable(Exception):
    """There is no RE2 pattern that certainly matches the same; the text says what is in the way."""


@record
class Translated:
    """A pattern of ours."""

    pattern: str
    groups: tuple[str, ...]
    """Its named groups."""
    rewritten: bool
    """Whether more than names of groups was changed."""


def translate(
    source: str, names: Mapping[str, str], numbers: Mapping[int, str], places: Mapping[str, str]
) -> Translated:
    """The RE2 pattern that matches what ``source`` matches.

    ``names`` says what named groups are called from now on, ``numbers`` what groups without a name are called.
    ``places`` are patterns for placeholders such as ``{order_id}``, which stand for a value.

    Raises:
        Untranslatable: there is none, or it is no pattern at all.
    """
    original = source
    found = _JAVASCRIPT.match(source)
    if found is not None:
        flags = "".join(flag for flag in found["flags"] if flag in "ms")
        source = (f"(?{flags})" if flags else "") + found["body"].replace("\\/", "/")
    source = _python_flags(source)
    source = _PLACEHOLDER.sub(
        lambda match: f"(?P<{match[1]}>{places[match[1]]})" if match[1] in places else match[0], source
    )
    source = _characters(source)
    source = _assertions(source)
    named = _named(source, names, numbers)
    try:
        pattern = Pattern(named)
    except BadPattern as error:
        raise Untranslatable(error.detail) from None
    plain = _named(original, names, numbers) if original.count("(") else original
    return Translated(named, tuple(sorted(pattern.group_names)), rewritten=plain != named)


def _python_flags(source: str) -> str:
    found = _PYTHON_FLAGS.match(source)
    if found is None:
        return source
    if "x" in found[1]:
        raise Untranslatable("it is written with whitespace and comments (flag x), which RE2 does not read")
    kept = "".join(flag for flag in found[1] if flag in "ms")
    return (f"(?{kept})" if kept else "") + source[found.end() :]


def _characters(source: str) -> str:
    r"""``\u``, ``\Z``, ``\w`` and ``{,n}`` in RE2's words, and comments taken out."""
    source = re.sub(r"(?<!\\)\(\?#[^)]*\)", "", source)
    out: list[str] = []
    at, in_class = 0, False
    while at < len(source):
        character = source[at]
        if character == "\\":
            written, length = _escape(source, at, in_class=in_class)
            out.append(written)
            at += length
            continue
        if character == "[" and not in_class:
            in_class = True
            head = re.match(r"\[\^?\]?", source[at:])
            out.append(head[0] if head else "[")
            at += len(out[-1])
            continue
        if character == "]":
            in_class = False
        if not in_class and source.startswith("{,", at) and re.match(r"\{,\d+\}", source[at:]):
            out.append("{0,")
            at += 2
            continue
        out.append(character)
        at += 1
    return "".join(out)


def _escape(source: str, at: int, *, in_class: bool) -> tuple[str, int]:
    found = _CODE_POINT.match(source, at)
    if found is not None:
        return f"\\x{{{found[1] or found[2] or found[3]}}}", len(found[0])
    pair = source[at : at + 2]
    if pair == "\\Z":
        return "\\z", 2
    if pair == "\\w":
        return (_LETTERS if in_class else f"[{_LETTERS}]"), 2
    if pair == "\\W":
        if in_class:
            raise Untranslatable(r"`\W` inside of brackets means another set of characters in RE2")
        return f"[^{_LETTERS}]", 2
    return pair, 2


def _assertions(source: str) -> str:
    """Assertions at the edges of each alternative, made a part of what is matched."""
    together = _AND.match(source)
    if together is not None:
        return _in_any_order(_AND_PART.findall(together[1]))
    if "(?=" not in source and "(?!" not in source and "(?<=" not in source and "(?<!" not in source:
        return source
    return "|".join(_edges(part) for part in _alternatives(source))


def _edges(part: str) -> str:
    before = re.match(r"\(\?<([=!])", part)
    if before is not None:
        inner, rest = _inside(part, before.end())
        part = _widened(inner, before[1], "^") + rest
    for start in (found.start() for found in re.finditer(r"\(\?[=!]", part)):
        inner, rest = _inside(part, start + 3)
        if rest:
            raise Untranslatable("RE2 has no lookahead, and here it stands in the middle of the pattern")
        return part[:start] + _widened(inner, part[start + 2], "$")
    if "(?<=" in part or "(?<!" in part:
        raise Untranslatable("RE2 has no lookbehind, and here it stands in the middle of the pattern")
    return part


def _widened(inner: str, sign: str, edge: str) -> str:
    if sign == "=":
        if re.search(r"(?<!\\)\((?!\?)", inner) or "(?P<" in inner:
            raise Untranslatable("an assertion captures a value")
        return f"(?:{inner})"
    alternatives = _alternatives(inner)
    if not all(alternative == edge or _ONE_CHARACTER.fullmatch(alternative) for alternative in alternatives):
        raise Untranslatable("RE2 has no negative assertion, and this one is about more than one character")
    members = "".join(_member(each) for each in alternatives if each != edge)
    if edge in alternatives:
        return f"[^{members}]" if members else "(?s:.)"
    return f"(?:{edge}|[^{members}])" if edge == "^" else f"(?:[^{members}]|$)"


def _member(character: str) -> str:
    """One character or class as a member of a class that excludes it."""
    if character.startswith("[^") or character in (r"\D", r"\S", r"\W"):
        raise Untranslatable("a negative assertion about a negated class is not translated")
    return character[1:-1] if character.startswith("[") else character.replace("-", r"\-")


def _in_any_order(words: list[str]) -> str:
    for first, second in itertools.permutations(words, 2):
        if any(second.startswith(first[-size:]) for size in range(1, len(first) + 1)) or first in second:
            raise Untranslatable(
                "its lookaheads may overlap in a message, so that no order of them is the same"
            )
    orders = (".*".join(order) for order in itertools.permutations(words))
    return f"(?:{'|'.join(orders)})"


def _alternatives(source: str) -> list[str]:
    """The alternatives of the outermost level."""
    parts, start = [], 0
    for at, depth in _depths(source):
        if source[at] == "|" and depth == 0:
            parts.append(source[start:at])
            start = at + 1
    return [*parts, source[start:]]


def _inside(source: str, start: int) -> tuple[str, str]:
    """What is inside of the group that was entered before ``start``, and what follows it."""
    for at, depth in _depths(source[start:]):
        if source[start + at] == ")" and depth < 0:
            return source[start : start + at], source[start + at + 1 :]
    raise Untranslatable("a parenthesis is not closed")


def _depths(source: str) -> list[tuple[int, int]]:
    """Position and depth of every character that is syntax; a closing parenthesis has the depth outside of it."""
    found: list[tuple[int, int]] = []
    at, depth, in_class = 0, 0, False
    while at < len(source):
        character = source[at]
        if character == "\\":
            at += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            at += len(re.match(r"\[\^?\]?", source[at:])[0]) - 1  # type: ignore[index]
        else:
            depth -= character == ")"
            found.append((at, depth))
            depth += character == "("
        at += 1
    return found


def _named(source: str, names: Mapping[str, str], numbers: Mapping[int, str]) -> str:
    """The pattern with its groups renamed; one that gets no name captures nothing."""
    out, start, number = [], 0, 0
    used: set[str] = set()
    for at, _ in _depths(source):
        if source[at] != "(":
            continue
        name = _GROUP_NAME.match(source, at)
        if name is None and source.startswith("(?", at):
            continue
        number += 1
        wanted = names.get(name[1], numbers.get(number)) if name is not None else numbers.get(number)
        end = name.end() if name is not None else at + 1
        if wanted in used:
            raise Untranslatable("two of its groups are for one value")
        if wanted is not None:
            used.add(wanted)
        out.append(source[start:at] + (f"(?P<{wanted}>" if wanted is not None else "(?:"))
        start = end
    return "".join(out) + source[start:]
