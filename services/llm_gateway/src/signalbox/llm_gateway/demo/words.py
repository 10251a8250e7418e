"""Words of a text, made comparable: English by stem, Chinese by pairs of characters."""

import re
from collections.abc import Iterable, Sequence
from math import log

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")
_STOP_TEXT = """
a about am an and any are as at back be been but by can could did do does for from get give got had has have hello
help hi how i if in is it its just let like may me more most much my need no not now of on one or other our out
please s say shall she should show so some tell than that the their them then there these they this those to us was
we were what when where which who why will with would you your i'm i've i'd it's don't can't user customer want
wants something know
"""
_STOP = frozenset(_STOP_TEXT.split())
_NO_TOPIC = _STOP | frozenset(
    {
        "at",
        "below",
        "between",
        "buy",
        "costs",
        "dollars",
        "eur",
        "euro",
        "euros",
        "find",
        "least",
        "looking",
        "over",
    }
    | {"price", "recommend", "search", "suggest", "under"}
)
"""Says what to do with a topic, or bounds it."""
_STOP_CHINESE = re.compile(
    r"请问|请|我想要|我想|我要|我的|我们|我|你们|你|您|帮我|帮|一下|什么|怎么样|怎么|多少|可以|能不能|吗|呢|吧|啊|了|的|是|在|有没有|"
    r"这个|那个|一款|一个|一种|推荐|需要|想买|欧元|以下|以内|不超过|和|与|或"
)
_ENDINGS = ("ing", "ies", "ed", "es", "s")


def is_chinese(text: str) -> bool:
    """Whether a text is written in Chinese."""
    return _CHINESE.search(text) is not None


def stem(word: str) -> str:
    """A word without its ending: rough, but the same for every form."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word.removesuffix(ending) + ("y" if ending == "ies" else "")
    return word


def word_set(text: str) -> frozenset[str]:
    """The words of a text that carry meaning."""
    lower = text.lower().replace("_", " ").replace("-", " ")
    english = {stem(word) for word in _WORD.findall(lower) if word not in _STOP}
    chinese = set()
    for run in _CHINESE.findall(_STOP_CHINESE.sub(" ", lower)):
        chinese |= {run[index : index + 2] for index in range(len(run) - 1)} or {run}
    return frozenset(english | chinese)


def topic(text: str) -> str:
    """What a text is about: its words that carry meaning, in order, without numbers."""
    if is_chinese(text):
        runs = _CHINESE.findall(_STOP_CHINESE.sub(" ", text))
        return " ".join([*runs, *re.findall(r"[A-Za-z][A-Za-z0-9-]+", text)])
    words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*", text)
    return " ".join(word for word in words if word.lower() not in _NO_TOPIC and not word.isdigit())


def rank(text: str, candidates: Sequence[str]) -> list[tuple[float, int]]:
    """How well each candidate's words cover those of ``text``: (0 to 1, index), best first.

    A word that few candidates have counts more than one that most have; one that none has counts a little.
    """
    asked = word_set(text)
    sets = [word_set(candidate) for candidate in candidates]
    weights = {word: _weight(word, sets) for word in asked}
    total = sum(weights.values())
    if total == 0:
        return []
    scores = [(_sum(weights, asked & words) / total, index) for index, words in enumerate(sets)]
    return sorted(scores, key=lambda score: (-score[0], score[1]))


def _weight(word: str, sets: Sequence[frozenset[str]]) -> float:
    holders = sum(word in words for words in sets)
    return log(1 + (len(sets) + 1) / holders) if holders else 0.5


def _sum(weights: dict[str, float], words: Iterable[str]) -> float:
    # Sorted, because sums of floats depend on their order and sets have none.
    return sum(weights[word] for word in sorted(words))
