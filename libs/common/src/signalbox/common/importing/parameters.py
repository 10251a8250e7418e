"""What a tool, a skill or a flow is given: JSON schemas, lists of parameters, or names with their types."""

import re
from collections.abc import Mapping
from typing import Any

from signalbox.common.importing.report import Report
from signalbox.common.importing.source import Source, entries
from signalbox.common.pointers import Path

_TYPES = {
    "str": "string",
    "text": "string",
    "string": "string",
    "date": "string",
    "datetime": "string",
    "time": "string",
    "email": "string",
    "phone": "string",
    "enum": "string",
    "file": "string",
    "int": "integer",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "number": "number",
    "decimal": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "array": "array",
    "dict": "object",
    "object": "object",
    "json": "object",
    "map": "object",
    "null": "null",
}
_FORMATS = {"date": "date", "datetime": "date-time", "email": "email"}
_PLACES = ("in", "location", "position", "param_in")
_NAMES = ("name", "key", "param", "param_name", "field", "id")
_KEPT = frozenset(
    {
        "description",
        "enum",
        "default",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "items",
        "properties",
        "required",
        "additionalProperties",
        "const",
        "examples",
        "minItems",
        "maxItems",
        "title",
        "anyOf",
        "oneOf",
        "allOf",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "uniqueItems",
    }
)
_SLOT_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "array": "list"}


class Parameters:
    """The parameters of one part: their JSON schema, and where each is sent."""

    def __init__(self) -> None:
        self.properties: dict[str, dict[str, Any]] = {}
        self.required: list[str] = []
        self.places: dict[str, str] = {}
        """``path``, ``query``, ``header`` or ``body``, where the file says so."""
        self.prompts: dict[str, Any] = {}
        """The question that asks for it, where the file has one."""
        self.extra: dict[str, Any] = {}

    def schema(self) -> dict[str, Any]:
        """The JSON schema of all of them together."""
        schema: dict[str, Any] = {"type": "object", "properties": self.properties}
        if self.required:
            schema["required"] = [name for name in dict.fromkeys(self.required) if name in self.properties]
        return {**schema, **self.extra}


def read_parameters(value: Any, path: Path, report: Report) -> Parameters:
    """Parameters in any of their forms."""
    found = Parameters()
    if isinstance(value, Mapping) and _is_schema(value):
        _read_schema(value, path, report, found)
        return found
    if value is None or value == "":
        return found
    if isinstance(value, Mapping):
        value = {name: _described(item) for name, item in value.items()}
    for entry in entries(value, path, report):
        name = entry.key or entry.source.text(*_NAMES)
        if not name:
            report.lost(entry.path, "a parameter", "it has no name.", "Write it by hand.")
            continue
        entry.source.take(*_NAMES)
        _read_one(entry.source, name, found)
    return found


def slot_type(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The type of a slot, or of an intent's parameter, that takes what a schema describes."""
    if schema.get("enum") and all(isinstance(value, str) for value in schema["enum"]):
        return {"type": "enum", "values": list(schema["enum"])}
    if schema.get("format") in ("date", "date-time"):
        return {"type": "date"}
    return {"type": _SLOT_TYPES.get(str(schema.get("type")), "text")}


def argument(name: str, root: str = "arguments") -> str:
    """An expression that reads an argument, whatever its name."""
    return f"{root}.{name}" if re.fullmatch(r"[A-Za-z_]\w*", name) else f"{root}[{name!r}]"


def _described(item: Any) -> Any:
    """A parameter that is a word alone: its type, where it is one, else its description."""
    if not isinstance(item, str):
        return {} if item is None else item
    return {"type": item} if item.strip().lower() in _TYPES else {"description": item}


def _is_schema(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(value.get("properties"), Mapping) or (
        isinstance(kind, str) and kind.lower() == "object"
    )


def _read_schema(value: Mapping[str, Any], path: Path, report: Report, found: Parameters) -> None:
    required = value.get("required")
    for name, item in (value.get("properties") or {}).items():
        place = (*path, "properties", name)
        if isinstance(item, str | Mapping):
            described = {"description": item} if isinstance(item, str) else item
            _read_one(Source(described, place, report), str(name), found)
        else:
            report.lost(place, "a parameter", "its description is no object.", "Write it by hand.")
    if isinstance(required, list):
        found.required += [name for name in required if isinstance(name, str) and name not in found.required]
    if isinstance(value.get("additionalProperties"), bool):
        found.extra["additionalProperties"] = value["additionalProperties"]
    for key in value.keys() - {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "title",
        "description",
        "$schema",
    }:
        report.lost(
            (*path, key),
            f"`{key}` of a schema",
            "only properties and what is required are read here.",
            "Add it to the schema by hand.",
        )


def _read_one(source: Source, name: str, found: Parameters) -> None:
    if (
        source.flag("required", "is_required", "mandatory", default=False)
        if not isinstance(source.value.get("required"), list)
        else False
    ):
        found.required.append(name)
    place = source.text(*_PLACES).lower()
    if place:
        found.places[name] = place
    prompt = source.take("prompt", "question", "ask", "ask_prompt")
    if prompt:
        found.prompts[name] = prompt
    found.properties[name] = _property(source)
    source.close()


def _property(source: Source) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    kind = source.take("type", "data_type", "param_type")
    if isinstance(kind, str) and kind:
        known = _TYPES.get(kind.lower())
        if known is None:
            source.report.changed(
                source.at("type", "data_type", "param_type"),
                "the type of a parameter",
                "it is no type of JSON; any value is taken.",
            )
        else:
            schema["type"] = known
        if kind.lower() in _FORMATS:
            schema["format"] = _FORMATS[kind.lower()]
    elif isinstance(kind, list):
        schema["type"] = [_TYPES.get(str(item).lower(), "string") for item in kind]
    description = source.text("description", "desc", "label")
    if description:
        schema["description"] = description
    choices = source.take("enum", "options", "choices", "values")
    if isinstance(choices, list) and choices:
        schema["enum"] = [_choice(choice) for choice in choices]
    for key in source.value.keys() & _KEPT - {"description", "enum"}:
        value = source.take(_plain(key, source))
        if value is not None and not (key == "required" and isinstance(value, bool)):
            schema[key] = _inner(value) if key in ("items", "properties") else value
    return schema


def _plain(key: str, source: Source) -> str:
    return next((form for form in (key, _snake(key)) if source.has(form)), key)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()


def _choice(choice: Any) -> Any:
    if isinstance(choice, Mapping):
        return next((choice[key] for key in ("value", "id", "label", "name") if key in choice), str(choice))
    return choice


def _inner(value: Any) -> Any:
    """A schema inside of another, its types in JSON schema's words."""
    if isinstance(value, str):
        return {"type": _TYPES.get(value.lower(), "string")}
    if isinstance(value, list):
        return [_inner(item) if isinstance(item, Mapping) else item for item in value]
    if not isinstance(value, Mapping):
        return value
    made = {}
    for key, item in value.items():
        if key == "type" and isinstance(item, str):
            made[key] = _TYPES.get(item.lower(), item)
        else:
            made[key] = _inner(item) if isinstance(item, Mapping | list) else item
    return made
