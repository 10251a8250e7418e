"""Numbers in a message: digits, English number words, Chinese numerals."""

import re

from signalbox.common.rules import normalise

_DIGITS = re.compile(r"(?<![A-Za-z0-9])(?:(?<![\w)])[-+])?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:[.,]\d+)?")
_UNITS = {
    word: value
    for value, word in enumerate(
        (
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
            "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
        )
    )
}  # fmt: skip
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2
    )
}
_WORDS = re.compile(r"[a-z]+")

_ZH_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_ZH_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_ZH_NUMERAL = re.compile(r"[零〇一二两三四五六七八九十百千万]+")
_ZH_MEASURE = frozenset("个件号位人天次年月日元块双套只张台本周")
_MAX_DIGITS = 18


def read_numbers(text: str) -> list[int | float]:
    """The numbers of a message in order; number words only where it has no digits.

    ``1,042`` is a thousand and forty-two, ``3,5`` is three and a half. Digits attached to Latin letters
    belong to a name (``SB1042``) and are no number.
    """
    plain = normalise(text)
    found = [_number(match.group()) for match in _DIGITS.finditer(plain)]
    numbers = [number for number in found if number is not None]
    if numbers:
        return numbers
    return [*_english(plain.casefold()), *_chinese(plain)]


def chinese_number(numeral: str) -> int:
    """The value of a Chinese numeral such as ``一百零五``, or of digits read out such as ``一零四二``."""
    if not any(character in _ZH_UNITS for character in numeral):
        return int("".join(str(_ZH_DIGITS[character]) for character in numeral))
    total = section = digit = 0
    for character in numeral:
        if character in _ZH_DIGITS:
            digit = _ZH_DIGITS[character]
        elif character == "万":
            total += (section + digit) * 10_000
            section = digit = 0
        else:
            section += (digit or 1) * _ZH_UNITS[character]
            digit = 0
    return total + section + digit


def _number(written: str) -> int | float | None:
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+", written):
        written = written.replace(",", "")
    elif written.count(",") == 1 and "." not in written:
        written = written.replace(",", ".")
    written = written.replace(",", "")
    if len(written) > _MAX_DIGITS:
        return None
    return float(written) if "." in written else int(written)


def _english(text: str) -> list[int | float]:
    numbers: list[int | float] = []
    current: int | None = None
    for word in _WORDS.findall(text):
        if word in _UNITS:
            current = (current or 0) + _UNITS[word]
        elif word in _TENS:
            current = (current or 0) + _TENS[word]
        elif word in {"hundred", "thousand"} and current is not None:
            current *= 100 if word == "hundred" else 1000
        elif word != "and" and current is not None:
            numbers.append(current)
            current = None
    return numbers if current is None else [*numbers, current]


def _chinese(text: str) -> list[int | float]:
    numbers: list[int | float] = []
    for match in _ZH_NUMERAL.finditer(text):
        numeral = match.group()
        # A single numeral is part of many words (一下, 一起): it counts alone or before a measure word.
        counted = text[match.end() : match.end() + 1] in _ZH_MEASURE
        if (len(numeral) > 1 or numeral == text or counted) and len(numeral) <= _MAX_DIGITS:
            numbers.append(chinese_number(numeral))
    return numbers
