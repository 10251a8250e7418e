"""Pydantic's errors in our words: a stable code, and a sentence that says what to do and repeats no value."""

import types
from typing import Any, Union, get_args, get_origin

from signalbox.common.pointers import Path
from signalbox.common.validation.locate import Place, known_fields
from signalbox.common.validation.report import Finding
from signalbox.common.validation.suggest import Suggestions

_ARTICLES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
             "list": "a list", "dict": "an object", "Decimal": "a number", "NoneType": "null"}  # fmt: skip
_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
}
_NAME_PATTERN = "^[A-Za-z][A-Za-z0-9_.-]*$"
_LANGUAGE_PATTERN = "^[a-z]{2,3}"


def finding(error: dict[str, Any], place: Place, path: Path, suggestions: Suggestions) -> Finding:
    """The finding of one error of pydantic at a place whose original path is given."""
    kind: str = error["type"]
    label = _label(path)
    if place.secret and kind != "missing":
        return Finding(
            path, "secret_as_value", f"{label} must be a reference `secret:NAME`, never the secret itself."
        )
    if kind == "missing":
        return Finding(path, "missing_field", f"{label} is missing: add it.")
    if kind == "extra_forbidden":
        known = set(known_fields(place.model)) if place.model is not None else set()
        owner = f" of {place.model.__name__}" if place.model is not None else ""
        advice = suggestions.advice(str(path[-1]), known, "field") if path else ""
        return Finding(path, "unknown_field", f"{label} is not a field{owner}; {advice}")
    if kind == "union_tag_not_found":
        tag = error["ctx"]["discriminator"].strip("'")
        return Finding((*path, tag), "missing_field", f"`{tag}` is missing: it says which kind this is.")
    if kind == "union_tag_invalid":
        tag = error["ctx"]["discriminator"].strip("'")
        return Finding((*path, tag), "bad_value", f"`{tag}` must be one of {error['ctx']['expected_tags']}.")
    if kind in _WANTED:
        return Finding(path, "wrong_type", f"{label} must be {_WANTED[kind]}.")
    return Finding(path, "bad_value", f"{label} {_value_reason(kind, error)}.")


def no_branch(path: Path, annotation: Any) -> Finding:
    """The finding for a value that resembles none of the types allowed at its place."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    kinds = list(
        dict.fromkeys(_article(option) for option in options if not (option is int and float in options))
    )
    wanted = f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else "of another type"
    return Finding(path, "wrong_type", f"{_label(path)} must be {wanted}.")


def _label(path: Path) -> str:
    if not path:
        return "The document"
    if len(path) > 1 and isinstance(path[-1], int):
        return f"`{path[-2]}[{path[-1]}]`"
    return f"`{path[-1]}`"


def _article(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_article(option) for option in get_args(annotation))
    name = getattr(get_origin(annotation) or annotation, "__name__", "")
    return _ARTICLES.get(name, "an object")


def _value_reason(kind: str, error: dict[str, Any]) -> str:
    context = error.get("ctx", {})
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return f"is not complete: {context['error']}"
    if kind == "string_pattern_mismatch" and context["pattern"] == _NAME_PATTERN:
        return "must be a name: a letter, then letters, digits, `_`, `.` or `-`"
    if kind == "string_pattern_mismatch" and context["pattern"].startswith(_LANGUAGE_PATTERN):
        return "must be a language tag such as `en` or `zh-Hant`"
    message = str(error["msg"])
    for long, short in (("Input should ", ""), ("String should ", ""), ("List should ", "")):
        message = message.replace(long, short)
    return f"must {message}" if message.startswith(("be ", "have ", "match ")) else f"is refused: {message}"
