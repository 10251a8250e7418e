"""The smallest value that satisfies a JSON schema, for structured answers nobody scripted."""

from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 12
_SIMPLE: dict[str, Any] = {"boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], text: str) -> Any:
    """A deterministic value for ``schema``; free strings become ``text``.

    Understands ``type``, ``properties``, ``items``, ``enum``, ``const``, the first member of ``anyOf``,
    ``oneOf`` and ``allOf``, minima and references into ``$defs``; other keywords are ignored.
    """
    return _example(schema, text, schema, 0)


def _example(schema: Mapping[str, Any], text: str, root: Mapping[str, Any], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _example(_resolve(str(schema["$ref"]), root), text, root, depth + 1)
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("enum", "anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            first = schema[keyword][0]
            return first if keyword == "enum" else _example(first, text, root, depth + 1)
    return _of_type(schema, text, root, depth)


def _of_type(schema: Mapping[str, Any], text: str, root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    name = kind[0] if isinstance(kind, list) else kind
    if name == "object":
        properties: Mapping[str, Any] = schema.get("properties", {})
        return {key: _example(value, text, root, depth + 1) for key, value in properties.items()}
    if name == "array":
        return [
            _example(schema.get("items", {}), text, root, depth + 1) for _ in range(schema.get("minItems", 1))
        ]
    if name in {"integer", "number"}:
        return schema.get("minimum", 1)
    return _SIMPLE.get(name, text)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part, {}) if part and isinstance(found, Mapping) else found
    return found if isinstance(found, Mapping) else {}
