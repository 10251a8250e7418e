"""One form for text and patterns: full and half width made equal, whitespace made single spaces."""

import re
import unicodedata

NEVER_NORMAL = "\u017f\u212a"
"""Long s and the Kelvin sign: the only characters outside ASCII that fold to ASCII letters. NFKC replaces them."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_WHITESPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """NFKC (so ``ＡＢＣ１２３？`` is ``ABC123?``), runs of whitespace as one space, none at the ends.

    Half surrogate pairs, which no encoding can carry, become U+FFFD. Case is kept: matching ignores it.
    """
    if text.isascii():
        return " ".join(text.split())
    text = _SURROGATES.sub("\ufffd", text)
    return _WHITESPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def normalise_pattern(pattern: str) -> str:
    """The pattern that finds in normalised text what its author wrote.

    Characters are replaced one by one and escaped where they would become syntax: ``订单？`` looks for the
    question mark, and does not make ``单`` optional.
    """
    if pattern.isascii():
        return pattern
    composed = unicodedata.normalize("NFC", pattern)
    return "".join(character if character.isascii() else _literal(character) for character in composed)


def _literal(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    if plain == character:
        return character
    if plain.isspace():
        return " "
    escaped = re.escape(plain) if plain.isascii() else plain
    return escaped if len(plain) == 1 else f"(?:{escaped})"
