import socket
import time

import pytest

from signalbox.common.arguments import BadJsonSchema, check, compile_schema

SCHEMA = {
    "type": "object",
    "properties": {
        "order": {"type": "integer", "minimum": 1000},
        "mail": {"type": "string", "format": "email"},
        "day": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "state": {"enum": ["open", "paid"]},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "note": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 5}]},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "required": ["order", "customer"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "a/b": {"const": 1}},
        }
    },
}


def test_everything_wrong_is_reported_at_once_with_pointers():
    value = {
        "order": 5,
        "mail": "planted",
        "day": "2025-02-30",
        "code": "ab",
        "state": "gone",
        "lines": [{}, {"sku": 1, "a/b": 2}],
        "note": "too long a note",
        "x-ray": 5,
        "extra": True,
    }
    errors = check(compile_schema(SCHEMA), value)
    assert [(error.pointer, error.code) for error in errors] == [
        ("/code", "bad_value"),
        ("/customer", "missing_field"),
        ("/day", "bad_value"),
        ("/extra", "unknown_field"),
        ("/lines/0/sku", "missing_field"),
        ("/lines/1/a~1b", "bad_value"),
        ("/lines/1/sku", "wrong_type"),
        ("/mail", "bad_value"),
        ("/note", "bad_value"),
        ("/order", "bad_value"),
        ("/state", "bad_value"),
        ("/x-ray", "wrong_type"),
    ]
    assert all("planted" not in error.detail and error.detail.endswith(".") for error in errors)
    by_pointer = {error.pointer: error.detail for error in errors}
    assert by_pointer["/order"] == "`order` must be at least 1000."
    assert by_pointer["/state"] == "`state` must be one of open, paid."
    assert by_pointer["/lines/1/sku"] == "`sku` must be a text."


def test_a_good_value_has_no_errors():
    value = {
        "order": 1042,
        "mail": "a@b.example",
        "day": "2025-02-28",
        "code": "ABC",
        "state": "paid",
        "lines": [{"sku": "x"}],
        "note": None,
        "x-ray": "y",
        "customer": 5,
    }
    with pytest.raises(BadJsonSchema):
        compile_schema({**SCHEMA, "unevaluatedProperties": False})
    assert [error.pointer for error in check(compile_schema(SCHEMA), value)] == ["/customer"]
    del value["customer"]
    open_schema = {**SCHEMA, "required": ["order"]}
    assert check(compile_schema(open_schema), value) == []


def test_the_top_itself_can_be_wrong():
    assert [(e.pointer, e.code, e.detail) for e in check(compile_schema({"type": "object"}), [1])] == [
        ("", "wrong_type", "The value must be an object.")
    ]


def test_no_reference_is_fetched(monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    for reference in (
        "http://127.0.0.1:9/schema.json",
        "https://json-schema.org/draft/2020-12/schema",
        "file:///etc/passwd",
        "other.json",
        "urn:x",
        "//host/x",
    ):
        for keyword in ("$ref", "$dynamicRef"):
            with pytest.raises(BadJsonSchema, match="nothing is fetched") as caught:
                compile_schema({"properties": {"a": {keyword: reference}}})
            assert caught.value.errors[0].pointer == f"/properties/a/{keyword}"


@pytest.mark.parametrize(
    ("schema", "pointer", "said"),
    [
        ({"type": "strin"}, "/type", "a type is one of"),
        ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum", "type number"),
        ({"properties": [1]}, "/properties", "type object"),
        ({"required": "a"}, "/required", "type array"),
        ({"$ref": "#/$defs/gone"}, "/$ref", "leads to nothing"),
        ({"$ref": "#"}, "", "without end"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "/properties/a/pattern", "RE2 refuses"),
        ({"patternProperties": {"[": {}}}, "/patternProperties/[", "RE2 refuses"),
        ({"properties": {"a": {"$id": "http://x/"}}}, "/properties/a/$id", "left out"),
    ],
)
def test_bad_schemas_are_refused_with_a_pointer(schema, pointer, said):
    with pytest.raises(BadJsonSchema) as caught:
        compile_schema(schema)
    assert caught.value.errors[0].pointer == pointer
    assert said in caught.value.errors[0].detail


def test_every_error_of_a_schema_is_reported():
    with pytest.raises(BadJsonSchema) as caught:
        compile_schema({"type": "x", "properties": {"a": {"pattern": "["}, "b": {"$ref": "#/no"}}})
    assert {error.pointer for error in caught.value.errors} == {
        "/type",
        "/properties/a/pattern",
        "/properties/b/$ref",
    }


def test_properties_may_be_named_like_keywords():
    names = ("$ref", "pattern", "$id", "default", "enum", "type", "properties")
    validator = compile_schema(
        {"properties": {name: {"type": "string"} for name in names}, "default": {"$ref": "x"}}
    )
    assert len(check(validator, dict.fromkeys(names, 1))) == len(names)


def test_recursive_schemas_work_and_endless_ones_end():
    tree = compile_schema({"properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}})
    assert [e.pointer for e in check(tree, {"child": {"child": {"n": "x"}}})] == ["/child/child/n"]
    loop = compile_schema(
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "items": {"$ref": "#/$defs/a"}}
    )
    assert [e.code for e in check(loop, [1])] == ["bad_json_schema"]
    anchored = compile_schema(
        {"$defs": {"x": {"$anchor": "here", "type": "integer"}}, "items": {"$ref": "#here"}}
    )
    assert [e.code for e in check(anchored, ["a"])] == ["wrong_type"]


def test_schemas_that_multiply_are_refused():
    parts = {"a0": {"type": "integer"}}
    for number in range(1, 40):
        parts[f"a{number}"] = {"allOf": [{"$ref": f"#/$defs/a{number - 1}"}] * 2}
    started = time.perf_counter()
    with pytest.raises(BadJsonSchema, match="too long"):
        compile_schema({"$defs": parts, "$ref": "#/$defs/a39"})
    assert time.perf_counter() - started < 2


def test_patterns_take_linear_time():
    validator = compile_schema({"type": "string", "pattern": "^(a+)+$"})
    started = time.perf_counter()
    assert check(validator, "a" * 50_000 + "b")
    assert check(validator, "a" * 50_000) == []
    assert time.perf_counter() - started < 0.5


def test_draft_7_keeps_its_meaning():
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "items": [{"type": "integer"}, {"type": "string"}],
    }
    assert [e.pointer for e in check(compile_schema(schema), [1, 2])] == ["/1"]


def test_at_most_a_hundred_errors():
    assert len(check(compile_schema({"items": {"type": "string"}}), list(range(5000)))) == 100
