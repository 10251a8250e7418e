"""One form for text and patterns: full and half width made equal, whitespace made single spaces.

Matching looks at both in simplified characters (``simplify``); values are taken from the text as it was written.
"""

import re
import unicodedata

from signalbox.common.rules.simplified import simplify

NEVER_NORMAL = "\u017f\u212a"
"""Long s and the Kelvin sign: the only characters outside ASCII that fold to ASCII letters. NFKC replaces them."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_WHITESPACE = re.compile(r"\s+")
_CLASS_WITH_RANGE = re.compile(r"(\[(?:\\.|[^\]\\])*?[^\x00-\x7f]-[^\x00-\x7f](?:\\.|[^\]\\])*\])", re.DOTALL)


def normalise(text: str) -> str:
    """NFKC (so ``ＡＢＣ１２３？`` is ``ABC123?``), runs of whitespace as one space, none at the ends.

    Half surrogate pairs, which no encoding can carry, become U+FFFD. Case is kept: matching ignores it.
    """
    if text.isascii():
        return " ".join(text.split())
    text = _SURROGATES.sub("\ufffd", text)
    return _WHITESPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def normalise_pattern(pattern: str) -> str:
    """The pattern that finds in normalised, simplified text what its author wrote.

    Characters are replaced one by one and escaped where they would become syntax: ``订单？`` looks for the
    question mark, and does not make ``单`` optional. The ends of ranges in a class stay in their script.
    """
    if pattern.isascii():
        return pattern
    composed = unicodedata.normalize("NFC", pattern)
    replaced = "".join(character if character.isascii() else _literal(character) for character in composed)
    return "".join(
        part if part.startswith("[") else simplify(part) for part in _CLASS_WITH_RANGE.split(replaced)
    )


def _literal(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    if plain == character:
        return character
    if plain.isspace():
        return " "
    escaped = re.escape(plain) if plain.isascii() else plain
    return escaped if len(plain) == 1 else f"(?:{escaped})"
