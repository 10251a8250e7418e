"""Whether a JSON schema itself can be used: valid, self-contained, and cheap to check values against."""

from collections.abc import Iterator, Mapping
from typing import Any

import re2
from referencing.exceptions import Unresolvable

from signalbox.common.pointers import Path, PathPart, pointer
from signalbox.common.rules.pattern import options
from signalbox.contracts.base import JsonSchema
from signalbox.contracts.problem import ProblemError

_MAX_EXPANDED = 100_000
_BY_NAME = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_DATA = frozenset({"const", "default", "enum", "examples", "required"})


def schema_errors(schema: JsonSchema, family: Any) -> Iterator[ProblemError]:
    """What is wrong with a schema, with pointers into it; ``family`` is the validator class of its draft."""
    try:
        for error in family(family.META_SCHEMA).iter_errors(schema):
            yield _error(tuple(error.absolute_path), f"is no schema: {_metaschema_reason(error)}")
        keywords = list(_keywords(schema))
        expanded = _expanded_size(schema, schema, {}, frozenset())
    except (RecursionError, Unresolvable):
        yield _error((), "is nested too deeply")
        return
    if expanded > _MAX_EXPANDED:
        yield _error((), "refers to its own parts so often that checking a value would take too long")
    names = {keyword for _, keyword, _ in keywords}
    for path, keyword, value in keywords:
        if keyword in {"$ref", "$dynamicRef"} and isinstance(value, str):
            yield from _reference_errors(schema, path, value)
        elif keyword == "$id" and isinstance(value, str) and len(path) > 1:
            yield _error(path, "must be left out of a nested schema")
        elif keyword == "pattern" and isinstance(value, str):
            yield from _pattern_errors(path, value)
        elif keyword == "patternProperties" and isinstance(value, Mapping):
            if "unevaluatedProperties" in names:
                yield _error(path, "cannot be used together with unevaluatedProperties")
            for pattern in value:
                yield from _pattern_errors((*path, pattern), pattern)


def _metaschema_reason(error: Any) -> str:
    value = error.validator_value
    if error.validator == "type":
        return f"it must be of type {value if isinstance(value, str) else ' or '.join(value)}"
    if error.validator == "enum":
        return f"it must be one of {', '.join(map(str, value))}"
    if error.path and error.path[-1] == "type":
        return "a type is one of array, boolean, integer, null, number, object and string, or a list of them"
    return f"it breaks the rule `{error.validator}` of the JSON-schema language"


def _keywords(schema: JsonSchema) -> Iterator[tuple[Path, str, Any]]:
    """Every keyword with its path and value, names of properties and data left out."""
    pending: list[tuple[Path, Any, bool]] = [((), schema, False)]
    while pending:
        path, node, by_name = pending.pop()
        if isinstance(node, list):
            pending.extend(((*path, index), item, False) for index, item in enumerate(node))
        elif isinstance(node, Mapping):
            for key, value in node.items():
                if not by_name:
                    yield (*path, key), key, value
                if by_name or key not in _DATA:
                    pending.append(((*path, key), value, not by_name and key in _BY_NAME))


def _reference_errors(schema: JsonSchema, path: Path, reference: str) -> Iterator[ProblemError]:
    if not reference.startswith("#"):
        yield _error(path, "must be a reference inside this schema (`#/$defs/...`): nothing is fetched")
    elif _target(schema, reference) is None:
        yield _error(path, "leads to nothing in this schema")


def _target(schema: JsonSchema, reference: str) -> Any:
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        anchors = {value: path for path, keyword, value in _keywords(schema)
                   if keyword in {"$anchor", "$dynamicAnchor"} and isinstance(value, str)}  # fmt: skip
        path = anchors.get(reference.removeprefix("#"))
        return _at(schema, path[:-1]) if path is not None else None
    parts = [part.replace("~1", "/").replace("~0", "~") for part in reference.removeprefix("#/").split("/")]
    return _at(schema, tuple(parts))


def _at(schema: Any, path: tuple[PathPart, ...]) -> Any:
    for part in path:
        if isinstance(schema, Mapping) and part in schema:
            schema = schema[part]
        elif isinstance(schema, list) and str(part).isdecimal() and int(part) < len(schema):
            schema = schema[int(part)]
        else:
            return None
    return schema


def _expanded_size(node: Any, root: JsonSchema, known: dict[int, int], above: frozenset[int]) -> int:
    """Subschemas reached from a node, counting a part as often as it is referred to; a cycle counts once."""
    if not isinstance(node, Mapping | list) or id(node) in above:
        return 1
    if id(node) in known:
        return known[id(node)]
    above |= {id(node)}
    size = 1
    for value in node.values() if isinstance(node, Mapping) else node:
        size += _expanded_size(value, root, known, above) if isinstance(value, Mapping | list) else 0
    if isinstance(node, Mapping) and isinstance(reference := node.get("$ref"), str):
        size += _expanded_size(_target(root, reference), root, known, above)
    known[id(node)] = size
    return size


def _pattern_errors(path: Path, pattern: str) -> Iterator[ProblemError]:
    try:
        re2.compile(pattern, options(case_sensitive=True))
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "bad pattern"
        yield _error(path, f"holds a pattern that RE2 refuses: {reason}")


def _error(path: Path, reason: str) -> ProblemError:
    label = f"`{path[-1]}`" if path else "The schema"
    return ProblemError(pointer=pointer(path), code="bad_json_schema", detail=f"{label} {reason}.")
