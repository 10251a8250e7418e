"""Numbers in a message: digits, English number words, Chinese numerals."""

import re

from signalbox.common.rules import normalise, simplify

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

_ZH_EVERYDAY = {character: value for value, character in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
}
# As cheques have it, and the telephone.
_ZH_DIGITS = (
    _ZH_EVERYDAY | {character: value for value, character in enumerate("壹贰叁肆伍陆柒捌玖", 1)} | {"幺": 1}
)
_ZH_UNITS = {"十": 10, "百": 100, "千": 1000, "拾": 10, "佰": 100, "仟": 1000}
_ZH_MYRIADS = {"亿": 100_000_000, "万": 10_000}
_ZH_DIGIT = f"[{''.join(_ZH_DIGITS)}]"
# 万一 is a word, and 三点五分 a time.
_ZH_NUMERAL = re.compile(
    f"负?[{''.join([*_ZH_DIGITS, *_ZH_UNITS])}][{''.join([*_ZH_DIGITS, *_ZH_UNITS, *_ZH_MYRIADS])}]*"
    f"(?:点{_ZH_DIGIT}+(?!分))?"
)
_ZH_MEASURE = frozenset("个件号位人天次年月日元块双套只张台本周")
_MAX_DIGITS = 18


def read_numbers(text: str) -> list[int | float]:
    """The numbers of a message in order; number words only where it has no digits.

    ``1,042`` is a thousand and forty-two, ``3,5`` is three and a half, ``1.5万`` fifteen thousand. Digits
    attached to Latin letters belong to a name (``SB1042``) and are no number.
    """
    plain = simplify(normalise(text))
    found = [
        _number(match.group(), plain[match.end() : match.end() + 1]) for match in _DIGITS.finditer(plain)
    ]
    numbers = [number for number in found if number is not None]
    if numbers:
        return numbers
    return [*_english(plain.casefold()), *_chinese(plain)]


def in_digits(text: str) -> str:
    """A text with its Chinese numerals in digits: ``订单一零四二`` becomes ``订单1042``. Other texts stay."""
    if text.isascii():
        return text
    return _ZH_NUMERAL.sub(lambda match: str(_chinese_value(match.group())), simplify(text))


def chinese_number(numeral: str) -> int:
    """The value of a Chinese numeral such as ``一百零五``, or of digits read out such as ``一零四二``."""
    for character, unit in _ZH_MYRIADS.items():
        if character in numeral:
            many, _, rest = numeral.rpartition(character)
            return (chinese_number(many) if many else 1) * unit + _rest(rest, unit)
    if not any(character in _ZH_UNITS for character in numeral):
        return int("".join(str(_ZH_DIGITS[character]) for character in numeral))
    value, digit, unit = 0, 0, 1
    for place, character in enumerate(numeral):
        if character in _ZH_UNITS:
            unit = _ZH_UNITS[character]
            value += (digit or 1) * unit
            digit = 0
        elif place == len(numeral) - 1:
            return value + _rest(
                character if digit or numeral[place - 1] in _ZH_UNITS else f"零{character}", unit
            )
        else:
            digit = _ZH_DIGITS[character]
    return value


def _rest(numeral: str, unit: int) -> int:
    """What follows a unit: ``一百五`` is 150, and ``一百零五`` 105."""
    if len(numeral) == 1 and numeral in _ZH_DIGITS:
        return _ZH_DIGITS[numeral] * (unit // 10)
    return chinese_number(numeral) if numeral else 0


def _chinese_value(numeral: str) -> int | float:
    whole, point, decimals = numeral.removeprefix("负").partition("点")
    value: int | float = chinese_number(whole)
    if point:
        value = float(f"{value}.{''.join(str(_ZH_DIGITS[character]) for character in decimals)}")
    return -value if numeral.startswith("负") else value


def _number(written: str, after: str) -> int | float | None:
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+", written):
        written = written.replace(",", "")
    elif written.count(",") == 1 and "." not in written:
        written = written.replace(",", ".")
    written = written.replace(",", "")
    if len(written) > _MAX_DIGITS:
        return None
    value = float(written) if "." in written else int(written)
    if after not in _ZH_MYRIADS:
        return value
    many = round(value * _ZH_MYRIADS[after], 6)
    return int(many) if float(many).is_integer() else many


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
        counted = text[match.end() : match.end() + 1] in _ZH_MEASURE and (
            numeral in _ZH_EVERYDAY or numeral in _ZH_UNITS
        )
        if (len(numeral) > 1 or numeral == text or counted) and len(numeral) <= _MAX_DIGITS:
            numbers.append(_chinese_value(numeral))
    return numbers
