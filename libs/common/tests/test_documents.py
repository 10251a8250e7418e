import hashlib
import json
import random

import pytest

from signalbox.common.documents import (
    MAX_BYTES,
    DocumentTooLarge,
    DocumentUnreadable,
    UnsupportedSchemaVersion,
    config_hash,
    parse,
    upgrade,
)


def test_json_and_yaml_give_the_same_document_and_hash():
    from_json = parse('{"workflow_id": "shop", "intents": [{"id": "a", "priority": 2}], "x": null, "y": 1.5}')
    from_yaml = parse("y: 1.5\nx: ~\nworkflow_id: shop\nintents:\n  - id: a\n    priority: 2\n")
    assert from_json == from_yaml
    assert config_hash(from_json) == config_hash(from_yaml)


def test_yaml_is_read_by_the_core_schema_of_yaml_1_2():
    document = parse(
        "a: no\nb: on\nc: 2024-01-01\nd: 0x1F\ne: 1e3\nf: 'true'\ng: true\nh: 012\n1: one\ni: !!str 5\nj: .5"
    )
    assert document == {
        "a": "no", "b": "on", "c": "2024-01-01", "d": 31, "e": 1000.0, "f": "true", "g": True, "h": 12, "1": "one",
        "i": "5", "j": 0.5,
    }  # fmt: skip


def test_aliases_are_written_out_as_copies():
    document = parse("a: &x {k: [1]}\nb: *x\n")
    assert document == {"a": {"k": [1]}, "b": {"k": [1]}}
    document["a"]["k"].append(2)
    assert document["b"] == {"k": [1]}


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ('{"a": 1,\n "b": {"c": 1,\n  "c": 2}}', 3, 3, "'c' is given twice"),
        ('{"x": "\\"a\\": [", "b": [{"a": 1}, {"a": 2, "a": 3}]}', 1, 44, "'a' is given twice"),
        ('{"a": 1,\n}', 2, 1, "double quotes"),
        ('{"a": \n tru}', 2, 2, "expecting value"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' is given twice"),
        ("a: [1, 2\nb: 3\n", 2, 2, "flow sequence"),
        ("a: *x\n", 1, 4, "no finished anchor"),
        ("a: &x [*x]\n", 1, 8, "no finished anchor"),
        ("base: &b {k: 1}\na:\n  <<: *b\n", 3, 3, "merge keys"),
        ("a: !!python/object/apply:os.system ['id']\n", 1, 4, "tag"),
        ("a: 1\n---\nb: 2\n", 2, 1, "one document"),
        ("a: .nan\n", 1, 4, "not JSON"),
        ("? [1]\n: 2\n", 1, 3, "key must be a text"),
    ],
)
def test_errors_say_where(text, line, column, said):
    with pytest.raises(DocumentUnreadable) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert said in caught.value.detail
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", "[1, 2]", "just a text", "", '{"a": NaN}', '{"a": 1e999}', '{"a": 9007199254740993}',
     '{"a": "\\ud800"}', '{"a": "\\u0000"}', '{"a": ' + "9" * 5000 + "}", "a: \x01", '{"\\ud800": 1}'],
)  # fmt: skip
def test_what_is_no_document_is_refused(text):
    with pytest.raises(DocumentUnreadable):
        parse(text)


def test_size_depth_and_alias_bombs_are_refused():
    with pytest.raises(DocumentTooLarge):
        parse(b"{" + b" " * MAX_BYTES + b"}")
    for opening in ('{"a":', "{a: "):
        with pytest.raises((DocumentTooLarge, DocumentUnreadable)):
            parse(opening * 5000 + "1" + "}" * 5000)
    with pytest.raises(DocumentTooLarge):
        parse('{"a": ' + "[" * 100 + "]" * 100 + "}")
    with pytest.raises(DocumentTooLarge):
        parse('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(DocumentTooLarge, match="aliases"):
        parse("\n".join(levels))


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


# The example of RFC 8785, section 3.2.3 and 3.2.4, and the property sorting example of section 3.2.3.
RFC_INPUT = (
    '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
    '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals": [null, true, false]}'
)
RFC_OUTPUT = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
).encode()
RFC_KEYS = '{"\\u20ac": 1, "\\r": 2, "\\ufb33": 3, "1": 4, "\\ud83d\\ude00": 5, "\\u0080": 6, "\\u00f6": 7}'


def test_the_canonical_form_is_that_of_rfc_8785():
    digest, canonical = config_hash(parse(RFC_INPUT))
    assert canonical == RFC_OUTPUT
    assert digest == hashlib.sha256(RFC_OUTPUT).hexdigest()
    # The order of UTF-16 code units, not of code points.
    assert list(json.loads(config_hash(parse(RFC_KEYS))[1]).values()) == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize(
    ("number", "written"),
    # RFC 8785, appendix B: what ECMAScript writes.
    [("-0.0", "0"), ("5e-324", "5e-324"), ("1.7976931348623157e308", "1.7976931348623157e+308"), ("1e21", "1e+21"),
     ("1e20", "100000000000000000000"), ("0.000001", "0.000001"), ("1e-7", "1e-7"), ("1.0", "1"),
     ("295147905179352830000.0", "295147905179352830000"), ("333333333.33333325", "333333333.33333325")],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_does(number, written):
    assert config_hash(parse(f'{{"n": {number}}}'))[1] == f'{{"n":{written}}}'.encode()


def test_the_hash_ignores_order_and_format_but_no_value():
    random.seed(7)
    document = {f"k{n}": [n, {"a": str(n)}] for n in range(50)}
    items = list(document.items())
    random.shuffle(items)
    assert config_hash(document)[0] == config_hash(dict(items))[0]
    assert config_hash(document)[0] != config_hash({**document, "k0": [0, {"a": "1"}]})[0]
    assert config_hash(document)[0] != config_hash({**document, "description": ""})[0]


def test_older_versions_are_upgraded_in_memory_under_the_same_hash():
    old = {"schema_version": "0", "title": "Shop"}
    before = config_hash(old)

    def from_zero(document):
        rest = {key: value for key, value in document.items() if key != "title"}
        return {**rest, "schema_version": "1", "name": document["title"]}

    assert upgrade(old, {"0": from_zero}) == {"schema_version": "1", "name": "Shop"}
    assert config_hash(old) == before
    assert upgrade({"name": "x"}) == {"name": "x"}


@pytest.mark.parametrize("version", ["2", "", 1, None, ["1"]])
def test_an_unknown_version_is_refused(version):
    with pytest.raises(UnsupportedSchemaVersion) as caught:
        upgrade({"schema_version": version})
    assert caught.value.code == "unsupported_schema_version"
    assert caught.value.errors[0].pointer == "/schema_version"


def test_an_upgrade_that_goes_in_circles_ends():
    with pytest.raises(UnsupportedSchemaVersion):
        upgrade({"schema_version": "0"}, {"0": dict})
