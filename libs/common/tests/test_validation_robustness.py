"""Whatever is submitted, validation ends and says something useful; stored snapshots keep loading."""

import copy
import random
from pathlib import Path

import pytest

from signalbox.common.documents import config_hash, parse
from signalbox.common.pointers import pointer
from signalbox.common.validation import load_snapshot, validate

GOOD = parse(Path(__file__).with_name("good_workflow.yaml").read_bytes())


def changed(path, value):
    """A copy of the good document with one value set, added or (``...``) removed."""
    document = copy.deepcopy(GOOD)
    container = document
    for part in path[:-1]:
        container = container[part]
    if value is ...:
        del container[path[-1]]
    elif isinstance(container, list) and path[-1] == len(container):
        container.append(value)
    else:
        container[path[-1]] = value
    return document


def test_more_than_five_hundred_errors_are_counted_not_listed():
    document = changed(("intents",), [{"id": f"i{n}", "then": {"flow": "gone"}} for n in range(700)])
    errors = validate(document).errors
    assert len(errors) == 501
    assert (errors[-1].code, errors[-1].detail) == ("too_many_errors", "200 more are not listed.")


@pytest.mark.parametrize(
    "document", [None, [], "x", 5, {}, {"a": float("nan")}, {"a": object()}, {"a": "\ud800"}]
)
def test_anything_can_be_validated(document):
    result = validate(document)
    assert result.config is None
    assert result.errors


def test_depth_is_limited():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert [error.code for error in validate({**GOOD, "tools": nested}).errors] == ["document_too_large"]


def test_validation_leaves_the_document_alone():
    document = changed(("intents", 0, "then"), {"flow": 5})
    before = config_hash(document)
    validate(document)
    assert config_hash(document) == before


FRAGMENTS = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "{{ a",
    "{{ slots.x }}",
    "secret:x",
    "(?=",
    [],
    {},
    ["a"],
    {"type": "ask"},
    {"id": "a"},
    {"mode": "function"},
    {"en": ["x", 1]},
    "a" * 70,
    2**52,
    {"$ref": "#"},
    "[",
    "status",
    "get_order",
]


def test_random_documents_never_crash_validation():
    random.seed(20)

    def paths(value, here=()):
        yield here
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            yield from paths(item, (*here, key))

    all_paths = [path for path in paths(GOOD) if path]
    seen = set()
    for _ in range(150):
        document = copy.deepcopy(GOOD)
        for path in random.sample(all_paths, random.randint(1, 6)):
            container = document
            try:
                for part in path[:-1]:
                    container = container[part]
                match random.randint(0, 3):
                    case 0:
                        del container[path[-1]]
                    case 1:
                        container[random.choice(["type", "id", "zz", "next", "when"])] = copy.deepcopy(
                            random.choice(FRAGMENTS)
                        )
                    case _:
                        container[path[-1]] = copy.deepcopy(random.choice(FRAGMENTS))
            except (KeyError, IndexError, TypeError):
                continue
        result = validate(document)
        assert (result.config is None) == bool(result.errors)
        for problem in (*result.errors, *result.warnings):
            seen.add(problem.code)
            assert problem.detail
            _resolves(document, problem)
    assert len(seen) > 12


def _resolves(document, problem):
    """Every pointer leads to a value of the document, or to a member that is missing from one."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in problem.pointer.split("/")[1:]]
    value = document
    for index, part in enumerate(parts):
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            assert index == len(parts) - 1, problem
            assert isinstance(value, dict), problem


def test_stored_snapshots_ignore_fields_of_a_newer_release():
    _, canonical = config_hash(
        {**GOOD, "new_section": {"x": 1}, "persona": {"tone": "dry", "accent": "none"}}
    )
    config = load_snapshot(canonical)
    assert config.persona.tone == "dry"
    assert config == load_snapshot(config_hash({**GOOD, "persona": {"tone": "dry"}})[1])
    assert validate(GOOD).config == load_snapshot(config_hash(GOOD)[1])


def test_pointer_escapes():
    assert pointer(("a/b", "m~n", 0, "")) == "/a~1b/m~0n/0/"
    assert pointer(()) == ""
