"""From the schemas of OpenAPI to JSON schemas of arguments: draft 2020-12, complete in themselves.

OpenAPI 2.0 and 3.0 have a dialect of their own (``nullable``, ``exclusiveMinimum: true``); 3.1 is JSON Schema. What is
only documentation, or only in answers (``readOnly``), is left out: a model reads every word of it.
"""

import re
from collections.abc import Mapping
from typing import Any

import re2

from signalbox.common.rules.pattern import options
from signalbox.tools.importing.openapi_document import OpenApiDocument

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_AS_IS = frozenset({"const", "default", "enum", "format", "title", "description"})
_COUNTS = frozenset(
    {
        "maxItems",
        "maxLength",
        "maxProperties",
        "minItems",
        "minLength",
        "minProperties",
        "minContains",
        "maxContains",
    }
)
_BOUNDS = frozenset({"maximum", "minimum", "multipleOf", "exclusiveMaximum", "exclusiveMinimum"})
_ONE = frozenset({"additionalProperties", "items", "not", "propertyNames", "contains", "if", "then", "else"})
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_PATTERN_OPTIONS = options(case_sensitive=True)
_DEFS = "#/$defs/"
_MAX_DEPTH = 60


class ArgumentSchemas:
    """Translates the schemas of one tool; what they refer to is collected, and put in with ``completed``."""

    def __init__(self, document: OpenApiDocument) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._defs: dict[str, Any] = {}
        self._pending: list[str] = []

    def translated(self, schema: Any, depth: int = 0) -> Any:
        """A schema in our draft; references lead to ``$defs``.

        Raises:
            SourceUnusable: a reference leads out of the document, or nowhere.
        """
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return {}
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema)
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword == "properties" and isinstance(value, Mapping):
                result[keyword] = self._properties(value, depth)
            elif keyword in _ONE and isinstance(value, bool | Mapping):
                result[keyword] = self.translated(value, depth + 1)
            elif keyword in _MANY and isinstance(value, list) and value:
                result[keyword] = [self.translated(item, depth + 1) for item in value]
            elif _is_usable(keyword, value):
                result[keyword] = value
        _with_type(result, schema.get("type"))
        _with_required(result, schema.get("required"))
        _with_bounds(result)
        return _nullable(result) if schema.get("nullable") or schema.get("x-nullable") else result

    def completed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with all that it refers to: in place where that is used once, else under ``$defs``."""
        while self._pending:
            reference = self._pending.pop()
            self._defs[self._names[reference]] = self.translated(self._document.target(reference))
        uses: dict[str, int] = {}
        _count(schema, uses)
        for definition in self._defs.values():
            _count(definition, uses)
        # What is used once is used from outside of itself: it cannot be recursive.
        single = {name: self._defs[name] for name, count in uses.items() if count == 1}
        whole: dict[str, Any] = _inlined(schema, single)
        kept = {name: _inlined(self._defs[name], single) for name in self._defs if name not in single}
        return {**whole, "$defs": kept} if kept else whole

    def _reference(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        reference = str(schema["$ref"])
        if reference not in self._names:
            name = self._names[reference] = _free_name(reference, self._defs)
            self._defs[name] = {}
            # Not translated here: schemas refer to each other in long chains, and to themselves.
            self._pending.append(reference)
        beside = {key: schema[key] for key in ("description", "default") if key in schema}
        return {"$ref": f"{_DEFS}{self._names[reference]}", **beside}

    def _properties(self, properties: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            str(name): self.translated(schema, depth + 1)
            for name, schema in properties.items()
            if not self._is_for_answers(schema)
        }

    def _is_for_answers(self, schema: Any) -> bool:
        meant = self._document.resolved(schema)
        return isinstance(meant, Mapping) and meant.get("readOnly") is True


def _is_usable(keyword: str, value: Any) -> bool:
    if keyword in _AS_IS:
        wanted = {"enum": list, "format": str, "title": str, "description": str}.get(keyword, object)
        return isinstance(value, wanted) and value != []
    if keyword in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if keyword in _BOUNDS:
        return isinstance(value, int | float)
    if keyword == "pattern":
        return isinstance(value, str) and _is_pattern(value)
    return keyword == "uniqueItems" and isinstance(value, bool)


def _is_pattern(text: str) -> bool:
    """Whether RE2 takes a pattern: one that it does not is checked by the server alone."""
    try:
        re2.compile(text, _PATTERN_OPTIONS)
    except re2.error:
        return False
    return True


def _with_type(result: dict[str, Any], given: Any) -> None:
    if isinstance(given, list):
        types = [kind for kind in given if kind in _TYPES]
        if types:
            result["type"] = types if len(types) > 1 else types[0]
    elif given in _TYPES:
        result["type"] = given
    elif given == "file":
        result["type"] = "string"


def _with_required(result: dict[str, Any], given: Any) -> None:
    # A list of names; ``true`` beside a property is an error that is often made.
    if isinstance(given, list) and given:
        properties = result.get("properties")
        names = [name for name in dict.fromkeys(given) if properties is None or name in properties]
        if names:
            result["required"] = names


def _with_bounds(result: dict[str, Any]) -> None:
    """``exclusiveMinimum: true`` beside ``minimum``, as drafts before 6 write it."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = result.get(exclusive)
        if not isinstance(flag, bool):
            continue
        del result[exclusive]
        if flag and bound in result:
            result[exclusive] = result.pop(bound)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind is None:
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    kinds = kind if isinstance(kind, list) else [kind]
    result = {**schema, "type": list(dict.fromkeys([*kinds, "null"]))}
    if "enum" in schema and None not in schema["enum"]:
        result["enum"] = [*schema["enum"], None]
    return result


def _free_name(reference: str, taken: Mapping[str, Any]) -> str:
    base = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.rsplit("/", 1)[-1]) or "schema"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _count(node: Any, uses: dict[str, int]) -> None:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(_DEFS):
            name = reference.removeprefix(_DEFS)
            uses[name] = uses.get(name, 0) + 1
        for value in node.values():
            _count(value, uses)
    elif isinstance(node, list):
        for value in node:
            _count(value, uses)


def _inlined(node: Any, single: Mapping[str, Any]) -> Any:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        name = reference.removeprefix(_DEFS) if isinstance(reference, str) else ""
        if name in single:
            beside = {key: value for key, value in node.items() if key != "$ref"}
            inner = _inlined(single[name], single)
            return {**inner, **beside} if isinstance(inner, Mapping) else inner
        return {key: _inlined(value, single) for key, value in node.items()}
    if isinstance(node, list):
        return [_inlined(value, single) for value in node]
    return node
