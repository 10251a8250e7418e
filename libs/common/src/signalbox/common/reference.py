"""The config reference: a page of tables made from the config's JSON schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from signalbox.contracts.workflow_config import config_json_schema

_INTRODUCTION = """\
# Workflow config reference

<!-- Made from the JSON schema by `signalbox.common.reference`; do not edit. -->

A workflow is one JSON or YAML document. Fields without a default are required. Texts marked *text* are one
text, a list of variations, or either of them by language tag (`en`, `zh`, `zh-Hant`). A *name* is a letter, then
letters, digits, `_`, `.` or `-`, 64 characters at most; a *secret reference* is `secret:NAME`.
"""
_ROOT = "WorkflowConfig"
_NAMES = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "object",
    "array": "list",
}
_PATTERNS = {
    "^secret:": "secret reference",
    "^[A-Za-z][A-Za-z0-9_.-]*$": "name",
    "^[a-z]{2,3}": "language tag",
}
_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def render_reference() -> str:
    """The page as Markdown: the document first, then each object in the order in which it is first mentioned."""
    schema = config_json_schema()
    definitions: dict[str, Any] = schema.get("$defs", {})
    sections = [_INTRODUCTION, *_section("The document", schema)]
    for name in _in_order(schema, definitions):
        sections += _section(name, definitions[name])
    return "\n".join(sections).rstrip() + "\n"


def _section(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    if description := _text(schema.get("description", "")):
        yield f"{description}\n"
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not properties:
        yield f"Type: {_type(schema)}\n"
        return
    required = schema.get("required", [])
    yield "| field | type | default | description |"
    yield "|---|---|---|---|"
    for name, field in properties.items():
        default = "**required**" if name in required else _default(field)
        yield f"| `{name}` | {_type(field)} | {default} | {_described(field)} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return " \\| ".join(_code(value) for value in schema["enum"])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return _union([option for option in options if option.get("type") != "null"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if schema.get("type") == "object" and (values := _values(schema)) is not None:
        return f"object of {_type(values)}"
    for pattern, name in _PATTERNS.items():
        if str(schema.get("pattern", "")).startswith(pattern):
            return name
    return _NAMES.get(str(schema.get("type", "")), "any value")


def _values(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of an object's values, where its names are free."""
    candidates = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return next((candidate for candidate in candidates if isinstance(candidate, Mapping)), None)


def _union(options: list[Mapping[str, Any]]) -> str:
    kinds = [option.get("type") for option in options]
    if kinds == ["string", "array", "object"]:
        return "text"
    return " \\| ".join(dict.fromkeys(_type(option) for option in options))


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field or field["default"] is None:
        return "none"
    default = field["default"]
    if "$ref" in field or (isinstance(default, dict) and len(json.dumps(default)) > 40):
        return "its defaults"
    return _code(default)


def _described(field: Mapping[str, Any]) -> str:
    parts = [part for part in (field, *field.get("anyOf", [])) if "pattern" not in part]
    limits = [_limit(key, value) for part in parts for key, value in part.items() if key in _LIMITS]
    sentences = [_text(field.get("description", "")), f"({', '.join(limits)})" if limits else ""]
    return " ".join(sentence for sentence in sentences if sentence).replace("|", "\\|")


def _limit(keyword: str, value: Any) -> str:
    return (
        "not empty" if keyword in {"minLength", "minItems"} and value == 1 else _LIMITS[keyword].format(value)
    )


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _text(description: str) -> str:
    return " ".join(description.split()).replace("``", "`")


def _in_order(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    pending = list(_references(schema.get("properties", {})))
    while pending:
        name = pending.pop(0)
        if name in found or name == _ROOT:
            continue
        found[name] = None
        # What an object is made of follows it, before what was mentioned after it.
        pending = [*_references(definitions[name]), *pending]
    return list(found)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for key, value in node.items():
            if key not in {"discriminator", "default"}:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
