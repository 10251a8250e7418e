"""Schemas that are right at a glance: whatever is called plain passes the full check, and nothing wrong is plain."""

from pathlib import Path
from typing import Any

import pytest

from signalbox.common.arguments import BadJsonSchema, compile_schema
from signalbox.common.documents import parse
from signalbox.common.plain_schemas import is_plain

EXAMPLE = Path(__file__).parents[3] / "examples" / "shop" / "workflow.yaml"
PLAIN: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"id": {"type": "string", "maxLength": 5}}, "required": ["id"]},
    {
        "type": ["string", "null"],
        "enum": ["a", None, "a"],
        "description": "d",
        "title": "t",
        "format": "date",
    },
    {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "exclusiveMaximum": 2.5},
        "uniqueItems": True,
    },
    {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 0},
    {"type": "object", "properties": {"$ref": {"const": {"pattern": "("}}}, "additionalProperties": False},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    {"anyOf": [{"type": "string"}, {"not": {"type": "null"}}], "items": True, "default": {"type": 1}},
]
REFUSED: list[dict[str, Any]] = [
    {"type": "text"},
    {"type": []},
    {"type": ["string", "string"]},
    {"type": ["string", 1]},
    {"properties": []},
    {"properties": {"a": {"type": "txt"}}},
    {"properties": {"a": 1}},
    {"required": "a"},
    {"required": ["a", "a"]},
    {"required": [1]},
    {"items": [{"type": "string"}]},
    {"enum": "a"},
    {"minimum": "1"},
    {"minimum": True},
    {"minLength": -1},
    {"minLength": 1.5},
    {"maxItems": True},
    {"uniqueItems": "yes"},
    {"description": 1},
    {"anyOf": []},
    {"oneOf": {"type": "string"}},
    {"not": "string"},
    {"additionalProperties": "no"},
    {"allOf": [{"minLength": "3"}]},
    {"pattern": "("},
    {"pattern": r"(a)\1"},
    {"pattern": 1},
    {"$ref": "#/nowhere"},
    {"patternProperties": {"(": {}}},
    {"format": None},
    {"examples": "a"},
    {"readOnly": 1},
]
NOT_AT_A_GLANCE: list[dict[str, Any]] = [
    {"$defs": {"a": {}}, "$ref": "#/$defs/a"},
    {"$schema": "http://json-schema.org/draft-07/schema#"},
    {"multipleOf": 2},
    {"x-own": 1},
]


@pytest.mark.parametrize("schema", PLAIN)
def test_what_is_plain_passes_the_full_check(schema: dict[str, Any]) -> None:
    assert is_plain(schema)
    compile_schema(schema)


@pytest.mark.parametrize("schema", REFUSED)
def test_what_the_full_check_refuses_is_not_plain(schema: dict[str, Any]) -> None:
    assert not is_plain(schema)
    with pytest.raises(BadJsonSchema):
        compile_schema(schema)


@pytest.mark.parametrize("schema", NOT_AT_A_GLANCE)
def test_what_needs_a_closer_look_is_not_plain(schema: dict[str, Any]) -> None:
    assert not is_plain(schema)
    compile_schema(schema)


def test_what_is_large_or_deep_needs_a_closer_look() -> None:
    assert not is_plain({"properties": {str(number): {} for number in range(10_000)}})
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"items": deep}
    assert not is_plain(deep)


def test_the_tools_of_the_example_are_plain_so_that_its_start_does_not_wait_for_jsonschema() -> None:
    tools = parse(EXAMPLE.read_bytes())["tools"]
    assert len(tools) >= 10
    assert all(is_plain(tool.get("parameters", {})) for tool in tools)
