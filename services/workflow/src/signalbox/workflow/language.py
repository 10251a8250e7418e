"""Which language a turn is answered in: the request's, the session's, the message's own, the workflow's."""

import re
import unicodedata
from collections.abc import Sequence

_UNSPACED = frozenset({"zh", "ja", "ko"})
_LATIN_WORD = re.compile(r"(?<!\w)[a-z]{2,}(?!\w)")
_LATIN_SENTENCE = 3
"""Lower-case words that make a Latin sentence; names, codes and addresses have fewer."""


def choose_language(
    languages: Sequence[str], requested: str | None, session: str | None, message: str
) -> str:
    """One of ``languages``. A message written in another script than the session's language changes it.

    Where neither the message nor the session tells, it is the first.
    """
    if requested is not None:
        spoken = _spoken(requested, languages)
        if spoken is not None:
            return spoken
    detected = _spoken(detected_language(message), languages)
    if detected is not None:
        return detected
    current = _spoken(session, languages) or languages[0]
    if _primary(current) in _UNSPACED and len(_LATIN_WORD.findall(message)) >= _LATIN_SENTENCE:
        return next((tag for tag in languages if _primary(tag) not in _UNSPACED), current)
    return current


def detected_language(message: str) -> str | None:
    """``zh``, ``ja`` or ``ko`` where the script says so; None where it does not tell (Latin, digits, symbols).

    Kana makes Japanese, Hangul Korean; Han alone counts as Chinese.
    """
    scripts = {unicodedata.name(char, "").split(" ")[0] for char in message if ord(char) > 0x2E7F}
    if scripts & {"HIRAGANA", "KATAKANA"}:
        return "ja"
    if "HANGUL" in scripts:
        return "ko"
    return "zh" if "CJK" in scripts else None


def _spoken(wanted: str | None, languages: Sequence[str]) -> str | None:
    """The spoken language that serves ``wanted``: the same tag, else the same primary language."""
    if wanted is None:
        return None
    lowered = wanted.lower()
    exact = next((tag for tag in languages if tag.lower() == lowered), None)
    if exact is not None:
        return exact
    return next((tag for tag in languages if _primary(tag) == _primary(wanted)), None)


def _primary(tag: str) -> str:
    return tag.lower().split("-")[0]
