"""JSON answers: the demo model names one of the values that a schema allows, by the words of the prompt."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from signalbox.llm_gateway.demo.arguments import Unfillable, fill
from signalbox.llm_gateway.demo.rendering import say
from signalbox.llm_gateway.demo.words import rank

_NONE = frozenset({"none", "other", "unknown", "null", "fallback"})
_SURE = 0.5
"""A coverage of this much of the message's words, or more, counts as sure."""

_LEAST = 0.2
_ITEM = re.compile(r"""[ \t]*(?:[-*•]|\d+[.)])?[ \t]*["`']?""")
_QUOTES = "\"`'"
_SEPARATOR = re.compile("[:：-]")
_INDENTED = ("  ", " \t", "\t ", "\t\t")
_CONFIDENCE = re.compile(r"confidence|score|probability|certainty")


def structured(schema: Mapping[str, Any], prompt: str, messages: Sequence[str]) -> dict[str, Any]:
    """A JSON object for ``schema``: choices, confidences, parameters, and the demo model's own words for texts.

    ``prompt`` is what the system messages say, ``messages`` the user's, newest first.
    """
    properties = schema.get("properties")
    described = {
        name: part if isinstance(part, dict) else {}
        for name, part in (properties if isinstance(properties, dict) else {}).items()
    }
    required = schema.get("required")
    wanted = required if isinstance(required, list) else list(described)
    answer: dict[str, Any] = {}
    coverage = 0.0
    for name, part in described.items():
        values = [value for value in part.get("enum") or () if isinstance(value, str)]
        if len(values) > 1:
            answer[name], coverage = choose(values, prompt, messages[0])
            wanted = [other for other in wanted if other != name]
    for name in wanted:
        answer[name] = _value(name, described.get(name, {}), coverage, messages)
    return {name: answer[name] for name in [*described, *answer] if name in answer}


def choose(values: Sequence[str], prompt: str, message: str) -> tuple[str, float]:
    """The value whose description in the prompt has most of the message's words, and how much of them it has."""
    none = next((value for value in values if value.lower() in _NONE), None)
    named = [value for value in values if value != none]
    described = _descriptions(frozenset(named), prompt)
    ranked = rank(message, [f"{value} {described.get(value, '')}" for value in named])
    if not ranked or ranked[0][0] < _LEAST:
        return none or named[0], 0.0
    return named[ranked[0][1]], ranked[0][0]


def _descriptions(values: Collection[str], prompt: str) -> dict[str, str]:
    """Of each value the line of the prompt that begins with it, and the lines indented under that."""
    found: dict[str, list[str]] = {}
    open_ones: list[list[str]] = []
    for line in prompt.split("\n"):
        if not line.startswith(_INDENTED):
            open_ones.clear()
        for lines in open_ones:
            lines.append(line)
        item = _ITEM.match(line)
        start = item.end() if item else 0
        for separator in _SEPARATOR.finditer(line, start):
            value = line[start : separator.start()].rstrip(" \t").rstrip(_QUOTES)
            if value in values and value not in found:
                found[value] = [line[separator.end() :]]
                open_ones.append(found[value])
    return {value: "\n".join(lines) for value, lines in found.items()}


def _value(name: str, schema: Mapping[str, Any], coverage: float, messages: Sequence[str]) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return None if "null" in kind else _value(name, {**schema, "type": kind[0]}, coverage, messages)
    if kind in {"number", "integer"} and _CONFIDENCE.search(name.lower()):
        return _confidence(coverage)
    if kind == "object":
        try:
            return fill(schema, messages)
        except Unfillable:
            return {}
    if kind == "array":
        return []
    if kind == "boolean":
        return False
    if kind in {"number", "integer"}:
        return schema.get("minimum", 0)
    return say("plain", messages[0])


def _confidence(coverage: float) -> float:
    """0 for no word in common, 0.9 from half of the message's words on."""
    return round(min(1.0, coverage / _SURE) * 0.9, 2)
