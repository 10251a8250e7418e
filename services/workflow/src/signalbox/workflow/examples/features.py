"""Lexical features of a text: hashed word stems, pairs of words, and character n-grams.

A feature is a 32-bit number; there is no vocabulary to store. Texts are those that ``normalise`` of
``signalbox.common.rules`` returned. Scripts without spaces count each character as a word, so that Chinese needs
no segmenter: pairs of characters and n-grams do its work. Traditional characters count as simplified ones.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from signalbox.common.rules import simplify

Hashes = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

_MAX_CHARACTERS: Final = 600
"""What is read of a message: a longer one says its purpose at the beginning, or not at all."""
_MAX_PAIRED: Final = 24
_SPACELESS: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")
_NUMBER = re.compile(r"\d+")
_NOT = re.compile(r"n['’]t\b")
_CLITIC = re.compile(r"['’](s|m|re|ve|ll|d)\b")
_BETWEEN = re.compile(r"[\W_]+")
_FUNCTION_WORDS: Final = (
    "a an the is are was were be been am i my me you your it its to of for on in at and or so do does did have has "
    "had this that there with from by as if will would can could 的 了 吗 呢 我 你 您 请 啊 吧 是 在 这 那"
)
_STOP_WORDS: Final = frozenset(_FUNCTION_WORDS.split())
_SUFFIXES = ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly")
_NGRAMS: Final = (2, 3, 4, 5)
_M1: Final = np.uint64(0x9E3779B97F4A7C15)
_M2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_HIGH: Final = np.uint64(32)
_SPACE: Final = np.uint64(32)


@dataclass(frozen=True, slots=True)
class View:
    """One kind of features of one text: their hashes, ascending, and 1 + ln of how often each occurs."""

    hashes: Hashes
    weights: Floats


def views(text: str) -> tuple[View, View]:
    """The words' view and the characters' view of a normalised text."""
    plain = _NOT.sub(" not", simplify(text[:_MAX_CHARACTERS]).lower())
    plain = _NUMBER.sub("0", _CLITIC.sub(r" \1", plain))
    return _counted(_words(_WORD.findall(plain))), _counted(_ngrams(_BETWEEN.sub(" ", plain)))


def stem(word: str) -> str:
    """An English word without its common endings; other words mostly as they are."""
    if len(word) < 4 or not word.isascii():
        return word
    if len(word) == 4:
        return word[:-1] if word[-1] == "s" else word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)] + ("y" if suffix in ("ies", "ied") else "")
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == "e" else word


def _words(found: Sequence[str]) -> Hashes:
    """Stems of words, two stems that follow each other, and two content words in any order and at any distance."""
    stems = [stem(word) for word in found]
    singles = np.array([zlib.crc32(word.encode()) for word in stems], dtype=np.uint64)
    if len(stems) < 2:
        return _mixed(singles)
    content = np.array([word not in _STOP_WORDS for word in stems], dtype=bool)
    paired = np.sort(singles[content][:_MAX_PAIRED])
    pairs = paired[:, None] * _M1 + paired[None, :] + np.uint64(1)
    places = np.arange(len(paired))
    above = places[:, None] < places
    follow = singles[:-1] * _M2 + singles[1:] + np.uint64(2)
    return _mixed(np.concatenate([singles, pairs[above], follow]))


def _ngrams(plain: str) -> Hashes:
    """N-grams inside of words, a word's edges counting as a space."""
    padded = f" {plain.strip()} "
    codes = np.frombuffer(padded.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    spaces = codes == _SPACE
    rolling, inside = codes, np.ones(len(codes), dtype=bool)
    found = []
    for size in _NGRAMS:
        if len(codes) < size:
            break
        rolling = rolling[:-1] * _M2 + codes[size - 1 :]
        # No space but at the ends: the character that was last is now within.
        inside = inside[:-1] & ~spaces[size - 2 : -1] if size > 2 else np.ones(len(rolling), dtype=bool)
        found.append(rolling[inside] * np.uint64(size))
    return _mixed(np.concatenate(found)) if found else np.empty(0, dtype=np.uint32)


def _mixed(values: npt.NDArray[np.uint64]) -> Hashes:
    mixed = (values ^ (values >> _HIGH)) * _M1
    return ((mixed ^ (mixed >> np.uint64(29))) * _M2 >> _HIGH).astype(np.uint32)


def _counted(hashes: Hashes) -> View:
    # As np.unique, in half its time.
    ordered = np.sort(hashes)
    first = np.ones(len(ordered) + 1, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:-1])
    places = np.flatnonzero(first)
    return View(ordered[places[:-1]], (1.0 + np.log(np.diff(places))).astype(np.float32))
