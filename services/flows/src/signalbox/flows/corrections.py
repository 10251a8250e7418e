"""Corrections: "no, I meant order 1043", "change the street to ...", "不对，是1043".

Only the form of the sentence is read here. Which slot a correction means is decided where the slots are known.
"""

import re

from signalbox.common.record import record
from signalbox.common.rules import normalise

_ARTICLE = r"(?:(?:the|my|your|that|this|an?)\s+)?"
_NAME = rf"{_ARTICLE}(?P<name>[\w-]+(?:\s[\w-]+){{0,3}}?)"
_VALUE = r"(?P<value>.+?)"
_END = r"(?:\s*,?\s*(?:please|thanks|thank\s+you))?[\s.!]*$"
_LEAD = (
    r"^(?:(?:yes|yeah|yep|ok|okay|sure|oh|oops|ah|um+|no|nope|sorry|wait|actually|hang\s+on|hold\s+on|but|and|please|"
    r"my\s+mistake|my\s+bad|correction|let'?s|can\s+you|could\s+you|i\s+(?:want|need|would\s+like|'?d\s+like)\s+to)"
    r"\b[\s,.:;!-]*)*"
)
_LEAD_ZH = (
    r"^(?:(?:是的?|好的?|可以|行|对|嗯|哦|啊|不|不对|错了|等等|等一下|稍等|抱歉|对不起|不好意思|但是?|不过|其实|请|麻烦|帮我)"
    r"[\s,，.。:：;；!！、]*)*"
)
_END_ZH = r"[\s。！!]*$"
_IS = r"(?:is|are|was|should\s+(?:be|have\s+been)|must\s+be)\s+(?:actually\s+|really\s+)?"
_NOT_OLD = r"(?:\s*,?\s*not\s+(?P<old>.+?))?"
_MEANT = (
    r"(?:i\s+(?:meant|mean)(?:\s+to\s+say)?|make\s+(?:it|that)|change\s+(?:it|that)\s+to|it(?:'s|\s+is)|"
    r"it\s+should\s+be|that\s+should\s+be|rather|take|use)"
)
_WRONG = r"that(?:'s|\s+is|\s+was)?\s+(?:wrong|not\s+right|a\s+typo)"
_MEANT_ZH = r"(?:我是说|我的意思是|应该是|改成|改为|换成|换为|我说错了|说错了|写错了|打错了|弄错了|是)"

_STRONG = re.compile(
    r"\b(?:i\s+(?:meant|mean)|meant\s+to\s+say|correction|that(?:'s|\s+is|\s+was)?\s+(?:wrong|not\s+right|a\s+typo)|"
    r"wrong\s+\w+|my\s+mistake|i\s+(?:made\s+a\s+mistake|mistyped)|change\s+(?:it|that)|make\s+(?:it|that))\b"
    r"|不对|错了|说错|写错|打错|弄错|我是说|我的意思|改成|改为|换成|换为|更正"
)
"""Words that nobody says who only answers."""

_WEAK = re.compile(
    r"^(?:yes\b.*?\bbut\b|yeah\b.*?\bbut\b|no\b|nope\b|sorry\b|wait\b|actually\b|oh\b|oops\b|hang\s+on\b|hold\s+on\b|"
    r"not\s+\S+|rather\b)|\binstead\b|^(?:不，|不,|不是|等等|等一下|其实|抱歉|对不起|不好意思|应该是|(?:是的?|好的?|可以)[，,\s]*(?:但|不过))"
)
"""Words that may begin a correction, or an answer."""

_NAMED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_LEAD}(?:change|correct|update|set|switch)\s+{_NAME}\s+(?:to|into)\s+{_VALUE}{_END}",
        rf"{_LEAD}(?:make)\s+{_NAME}\s+(?:be\s+|to\s+)?{_VALUE}{_END}",
        rf"{_LEAD}wrong\s+{_NAME}[\s,.:;-]+(?:it(?:'s|\s+is|\s+should\s+be)\s+)?{_VALUE}{_END}",
        rf"{_LEAD}{_NAME}\s+{_IS}{_VALUE}{_NOT_OLD}{_END}",
        rf"{_LEAD_ZH}(?:把|将)(?P<name>[^改换成为]{{1,12}}?)(?:改成|改为|换成|换为|改到|设为)[:：]?{_VALUE}{_END_ZH}",
        rf"{_LEAD_ZH}(?P<name>[^是改换为，,]{{1,12}}?)(?:写错|填错|弄错|错)了[，,\s]*(?:应该|应当)?(?:是|改成)?{_VALUE}{_END_ZH}",
        rf"{_LEAD_ZH}(?P<name>[^是改换为，,]{{1,12}}?)(?:应该|应当)?(?:是|改成|改为|换成|换为)[:：]?{_VALUE}{_END_ZH}",
    )
)
_REPLACED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_LEAD}(?:it(?:'s|\s+is)\s+)?not\s+(?P<old>.+?)[\s,;.]+(?:(?:but|it(?:'s|\s+is)|i\s+meant)\s+)?{_VALUE}{_END}",
        rf"{_LEAD}{_VALUE}\s+(?:instead\s+of|rather\s+than)\s+(?P<old>.+?){_END}",
        rf"{_LEAD}{_VALUE}\s*,?\s+not\s+(?P<old>.+?){_END}",
        rf"{_LEAD_ZH}不是(?P<old>.+?)[\s，,。]*(?:而是|是|应该是){_VALUE}{_END_ZH}",
        rf"{_LEAD_ZH}(?:是|应该是)?{_VALUE}[，,]\s*(?:而)?不是(?P<old>.+?){_END_ZH}",
    )
)
_PLAIN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_LEAD}{_MEANT}\s*[,:]?\s+{_VALUE}(?:\s+instead)?{_END}",
        rf"{_LEAD}{_WRONG}[\s,.:;-]+(?:(?:it(?:'s|\s+is)|i\s+meant)\s+)?{_VALUE}{_END}",
        rf"{_LEAD_ZH}{_MEANT_ZH}[\s，,：:]*(?:应该是|是)?{_VALUE}(?:吧|才对)?{_END_ZH}",
        rf"{_LEAD}{_VALUE}\s+instead{_END}",
    )
)
_BARE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (rf"{_LEAD}{_VALUE}{_END}", rf"{_LEAD_ZH}{_VALUE}{_END_ZH}")
)
_LONGEST = 300
"""Characters; what is longer is not read as one. It also bounds the work of the patterns."""
_PRONOUNS = frozenset(
    {
        "it",
        "that",
        "this",
        "which",
        "what",
        "there",
        "here",
        "he",
        "she",
        "they",
        "we",
        "i",
        "you",
        "这",
        "那",
        "它",
    }
)


@record
class Correction:
    """What a sentence of this form says."""

    value: str
    name: str | None = None
    """How it calls what it changes; None where it does not say."""
    old: str | None = None
    """The value that is wrong."""
    strong: bool = False
    """Whether it cannot be an answer to a new question."""
    bare: bool = False
    """Whether ``value`` is whatever stands behind the first words, so that it may be no value at all."""


def read_corrections(text: str, *, unmarked: bool = False) -> list[Correction]:
    """The ways in which a message may be read as a correction, best first; none where it has no such words.

    With ``unmarked`` it need not have any: nothing but a correction gives a value where none was asked for.
    """
    if len(text) > _LONGEST:
        return []
    said = " ".join(normalise(text).replace("’", "'").split())
    lowered = said.casefold()
    strong = _STRONG.search(lowered) is not None
    found = [
        Correction(match["value"].strip(), match["name"].strip(), _old(match), strong=True)
        for match in (pattern.search(said) for pattern in _NAMED)
        if match is not None and match["name"].casefold().strip() not in _PRONOUNS
    ]
    if not (unmarked or strong or _WEAK.search(lowered) is not None or _replaces(said)):
        return found
    found += [
        Correction(match["value"].strip(), None, match["old"].strip(), strong=True)
        for match in (pattern.search(said) for pattern in _REPLACED)
        if match is not None
    ]
    found += [
        Correction(match["value"].strip(), strong=strong, bare=patterns is _BARE)
        for patterns in (_PLAIN, _BARE)
        for match in (pattern.search(said) for pattern in patterns)
        if match is not None
    ]
    return found


def _replaces(said: str) -> bool:
    return any(pattern.search(said) for pattern in _REPLACED)


def _old(match: re.Match[str]) -> str | None:
    old = match.groupdict().get("old")
    return old.strip() if old else None
