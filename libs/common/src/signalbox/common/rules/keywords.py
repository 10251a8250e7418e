"""Keywords as rules: whole words in scripts that separate them, anywhere in scripts that do not."""

import re

import re2

from signalbox.common.rules.errors import BadPattern
from signalbox.common.rules.normalise import normalise
from signalbox.common.rules.ports import Rule, Trust
from signalbox.common.rules.simplified import simplify

# Letters and digits of scripts whose words are separated. The blocks between these ranges hold punctuation
# and symbols, or scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han, Yi, Hangul (whose
# particles are attached). Ranges instead of \pL\pN, whose program is 25 times as large.
_WORD = (
    r"0-9A-Za-z_ªµº\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{DFF}\x{F00}-\x{FFF}\x{10A0}-\x{10FF}\x{1200}-\x{177F}"
    r"\x{1800}-\x{1FFF}\x{2C00}-\x{2DFF}\x{A4D0}-\x{A95F}\x{A980}-\x{ABFF}\x{FB00}-\x{FDFF}\x{FE70}-\x{FEFE}"
    r"\x{10000}-\x{16FFF}\x{1D400}-\x{1EFFF}"
)
_EDGE = f"[^{_WORD}]"
# The same for Python's own engine, which answers about one character or a short text faster.
_ANY_WORD = re.compile(
    "[" + re.sub(r"\\x\{(\w+)\}", lambda found: re.escape(chr(int(found[1], 16))), _WORD) + "]"
)
_OTHER_WORDS = re.compile(_ANY_WORD.pattern.replace("0-9A-Za-z_", ""))


def keyword_rule(rule_id: int, keyword: str) -> Rule:
    r"""The rule that finds a keyword or phrase in normalised text.

    RE2's ``\b`` knows ASCII words only, so it narrows the search (``caf`` is a candidate in ``café``), and a
    second pattern that knows the word characters of all scripts decides. Its first group is the keyword.

    Raises:
        BadPattern: nothing is left of the keyword when whitespace is removed.
    """
    plain = simplify(normalise(keyword))
    if not plain:
        raise BadPattern("A keyword needs at least one character.")
    escaped = re2.escape(plain)
    starts, ends = _is_word(plain[0]), _is_word(plain[-1])
    before = rf"\b{escaped}" if plain[0].isascii() and starts else escaped
    cheap = rf"{before}\b" if plain[-1].isascii() and ends else before
    if not starts and not ends:
        return Rule(rule_id, cheap, shortest=len(plain), longest=len(plain))
    exact = f"{f'(?:^|{_EDGE})' if starts else ''}({escaped}){f'(?:$|{_EDGE})' if ends else ''}"
    # In a text without words of other scripts, `\b` and the edges are the same.
    return Rule(rule_id, cheap, exact, Trust.ASCII_WORDS, len(plain), len(plain))


def least_trust(text: str) -> Trust:
    """What a search must be trusted with for a normalised text."""
    if text.isascii():
        return Trust.ASCII
    return Trust.ALWAYS if _OTHER_WORDS.search(text) else Trust.ASCII_WORDS


def _is_word(character: str) -> bool:
    return _ANY_WORD.search(character) is not None
