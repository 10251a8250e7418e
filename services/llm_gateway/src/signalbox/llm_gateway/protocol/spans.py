"""Edits of a JSON object in bytes: named members change, every other byte stays as it came.

Parsing a body and writing it anew would change numbers, key order, duplicates and escapes that a provider or a
cache further on may care about; so edits are cuts at the byte positions of top-level members.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)


class Member(NamedTuple):
    """A member of the outermost object: its name, and where its value begins and ends."""

    name: str
    start: int
    end: int


def top_level_members(document: bytes) -> Iterator[Member]:
    """The members of the JSON object ``document``, in order; it must be valid JSON."""
    depth = 0
    name: bytes | None = None
    start = -1
    for token in _TOKEN.finditer(document):
        text = token.group()
        if text in {b"{", b"["}:
            depth += 1
        elif text in {b"}", b"]"}:
            depth -= 1
        if depth == 1 and start < 0:
            if text[:1] == b'"':
                name = text
            elif text == b":":
                start = token.end()
        elif start >= 0 and ((depth == 1 and text == b",") or (depth == 0 and text == b"}")):
            value = document[start : token.start()]
            left = len(value) - len(value.lstrip())
            yield Member(orjson.loads(name or b'""'), start + left, start + len(value.rstrip()))
            start = -1


def replace_members(document: bytes, values: Mapping[str, bytes]) -> bytes:
    """``document`` with the values of the named top-level members replaced; absent members stay absent."""
    pieces: list[bytes] = []
    position = 0
    for member in top_level_members(document):
        value = values.get(member.name)
        if value is not None:
            pieces += [document[position : member.start], value]
            position = member.end
    pieces.append(document[position:])
    return b"".join(pieces)


def append_member(document: bytes, name: str, value: bytes) -> bytes:
    """``document``, a JSON object with at least one member, with another one at its end."""
    head = document.rstrip()[:-1].rstrip()
    return b"%b,%b:%b}" % (head, orjson.dumps(name), value)


def replace_text(document: bytes, name: str, old: str, new: bytes) -> bytes:
    """``document`` with the value of its top-level member ``name``, which is the text ``old``, replaced by ``new``.

    Where nothing else in the document is called so, which a search for the bytes tells, it is replaced as found: every
    event of a stream has one. A quotation mark inside of a JSON text is escaped, so what is found is no text's part.
    """
    quoted = b'"%b"' % name.encode()
    if document.count(quoted) == 1:
        start = document.index(quoted) + len(quoted)
        value = orjson.dumps(old)
        for between in (b":", b": "):
            if document.startswith(between + value, start):
                start += len(between)
                return b"".join((document[:start], new, document[start + len(value) :]))
    return replace_members(document, {name: new})
