"""Picking by place in a list: "2", "the first one", "第二个"."""

import re

from signalbox.common.reading.numbers import chinese_number
from signalbox.common.reading.words import plain

_WORDS = {
    "first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3, "fifth": 4, "5th": 4,
    "last": -1,
}  # fmt: skip
_ENGLISH = re.compile(
    r"(?:(?:i|d|ll|would|mean|want|m|take|like|choose|it|s|is|that|number|option|the|no) )*"
    rf"(?P<place>{'|'.join(_WORDS)}|\d{{1,3}})(?: (?:one|option|of them|please|thanks))*"
)
_CHINESE = re.compile(
    r"(?:我|是|要|想|选|选择|就|那|请)*(?:第(?P<place>[\d一二两三四五六七八九十]{1,3})|(?P<last>最后一?))"
    r"(?:个|项|种|条|款)?(?:选项)?(?:吧|谢谢|好了|啊|呢)*"
)


def read_place(text: str) -> int | None:
    """The place in a list, from 0, that a whole message names; -1 for the last, None where it names none."""
    said = plain(text).replace("’", " ")
    found = _ENGLISH.fullmatch(said)
    if found is not None:
        word = found["place"]
        place = _WORDS[word] if word in _WORDS else int(word) - 1
        return None if word.isdecimal() and place < 0 else place
    found = _CHINESE.fullmatch(said.replace(" ", ""))
    if found is None:
        return None
    if found["last"]:
        return -1
    written = found["place"]
    place = (int(written) if written.isdecimal() else _chinese(written)) - 1
    return place if place >= 0 else None


def _chinese(numeral: str) -> int:
    return 0 if any(character.isdecimal() for character in numeral) else chinese_number(numeral)
