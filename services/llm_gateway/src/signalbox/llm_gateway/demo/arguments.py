"""Values for a JSON schema's properties, taken from what the user wrote."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from signalbox.common.arguments import check, compile_schema
from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.demo.words import stem, topic, word_set

_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-])|(?<=[\u3400-\u9fff])\d+(?:\.\d+)?")
_CAP = re.compile(
    r"(?:under|below|less than|at most|up to|max(?:imum)?|不超过|低于)\D{0,4}(\d+(?:\.\d+)?)"
    r"|(\d+(?:\.\d+)?)\s*(?:euros?|eur|usd|dollars?|欧元|美元|元|块)?\s*(?:or less|以下|以内)",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"price|cost|budget|amount|max|limit")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._/-]*[A-Za-z0-9]|[A-Za-z0-9]")
_NAMED_THING = re.compile(r"(^|_)(id|ids|sku|code|number|email|url|phone|date)$")
_MAX_TEXT = 200


class Unfillable(Exception):
    """A property has no value in the messages; the message is the property's name."""


def fill(schema: Mapping[str, Any], messages: Sequence[str]) -> dict[str, Any]:
    """Arguments that fit ``schema``, from the user's messages, newest first.

    Raises:
        Unfillable: a required property has no value.
    """
    properties = schema.get("properties")
    required = set(schema.get("required") or ())
    arguments: dict[str, Any] = {}
    for name, described in (properties if isinstance(properties, dict) else {}).items():
        value = _value(
            name, described if isinstance(described, dict) else {}, messages, needed=name in required
        )
        if value is not None:
            arguments[name] = value
        elif name in required:
            raise Unfillable(name)
    return arguments


def _value(name: str, schema: Mapping[str, Any], messages: Sequence[str], *, needed: bool) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), None)
    if isinstance(schema.get("enum"), list):
        return _one_of(schema["enum"], messages, needed=needed)
    if kind in {"integer", "number"}:
        return _number(
            name, str(schema.get("description", "")), messages, whole=kind == "integer", needed=needed
        )
    if kind == "boolean":
        mentioned = bool(word_set(name) & word_set(messages[0]))
        return mentioned if mentioned or needed else None
    if kind == "string":
        return _text(name, schema, messages, needed=needed)
    if kind == "array" and needed:
        items = schema.get("items")
        item = _value(name, items if isinstance(items, dict) else {}, messages, needed=True)
        return None if item is None else [item]
    return None


def _one_of(values: Sequence[Any], messages: Sequence[str], *, needed: bool) -> Any:
    said = word_set(messages[0])
    for value in values:
        words = {stem(word) for word in word_set(str(value))}
        if words and words <= said:
            return value
    return values[0] if needed and values else None


def _number(
    name: str, description: str, messages: Sequence[str], *, whole: bool, needed: bool
) -> int | float | None:
    if _AMOUNT.search(f"{name} {description}".lower()) and not needed:
        cap = _CAP.search(messages[0])
        found = [cap[1] or cap[2]] if cap else []
    elif not needed:
        return None
    else:
        # An older message counts when the newest has no number: "order 1042" is often said once.
        found = next((numbers for message in messages if (numbers := _NUMBER.findall(message))), [])
        found = sorted(found, key=len, reverse=True)
    for text in found:
        number = float(text)
        if not whole:
            return int(number) if number.is_integer() else number
        if number.is_integer():
            return int(number)
    return None


def _text(name: str, schema: Mapping[str, Any], messages: Sequence[str], *, needed: bool) -> str | None:
    if "pattern" in schema or "format" in schema:
        return _fitting_token(schema, messages)
    if not needed:
        return None
    if _NAMED_THING.search(name.lower()):
        tokens = (token for message in messages for token in _TOKEN.findall(message))
        return next((token for token in tokens if any(char.isdigit() or char == "@" for char in token)), None)
    limit = min(int(schema.get("maxLength") or _MAX_TEXT), _MAX_TEXT)
    return topic(messages[0])[:limit].strip() or None


def _fitting_token(schema: Mapping[str, Any], messages: Sequence[str]) -> str | None:
    try:
        validator = compile_schema(dict(schema))
        for message in messages:
            for token in _TOKEN.findall(message):
                if not list(check(validator, token)):
                    return str(token)
    except SignalboxError:
        return None
    return None
