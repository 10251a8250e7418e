"""Earlier configurations become valid workflows, and nothing of them is lost without a word."""

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox.common.documents import config_hash, parse
from signalbox.common.errors import SignalboxError
from signalbox.common.importing import Imported, NotImportable, as_json, as_text, as_yaml, import_workflow
from signalbox.common.validation import validate

FILES = Path(__file__).parents[3] / "tests" / "support" / "earlier"
NAMES = ("shop_zh", "bank_en", "faq_bot")
CREDENTIALS = (
    "8f2b1c7d9e4a4c1b8a7d6e5f4c3b2a10",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "hb_live_2f7d1e6c9b8a4d3f",
    "c0ffee-1234",
    "abc123secret",
    "sk-abcdefghijklmnopqrstuvwxyz0123456789",
)
TOOL = {
    "name": "look",
    "url": "https://a.example/{id}",
    "parameters": {"id": {"type": "string", "required": True}},
}


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))
    return document


def made(**parts: Any) -> Imported:
    return import_workflow(
        {"basic_settings": {"name": "bot", "language": "en"}, "greeting": "Hello.", **parts}
    )


def lost(found: Imported) -> set[str]:
    return {note.pointer for note in found.notes if note.kind == "lost"}


def flow(steps: Any, **more: Any) -> Imported:
    return made(tools=[TOOL], flows=[{"id": "f", "trigger_patterns": ["go"], "steps": steps, **more}])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_becomes_a_valid_workflow_that_reads_back_the_same(name: str) -> None:
    found = import_workflow(read(name), name)
    assert not validate(found.document).errors
    assert config_hash(parse(as_yaml(found.document))) == config_hash(found.document)
    assert not found.complete


@pytest.mark.parametrize("name", NAMES)
def test_no_credential_is_written_or_said(name: str) -> None:
    source = read(name)
    found = import_workflow(source, name)
    said = as_yaml(found.document) + as_text(found.notes) + json.dumps(as_json(found.notes))
    held = [value for value in CREDENTIALS if value in json.dumps(source)]
    assert [value for value in held if value in said] == []
    assert len([note for note in found.notes if note.kind == "secret"]) >= len(held)


def test_what_could_not_be_carried_over_is_said_with_its_place() -> None:
    assert lost(import_workflow(read("shop_zh"))) == {
        "/basic_settings/avatar",
        "/tools/2",
        "/skills/0/model",
        "/flows/0/trigger_patterns/0",
        "/flows/0/trigger_patterns/3",
        "/flows/2/steps/0",
        "/system_actions/2",
        "/action_books/2/condition",
        "/kb_config",
    }
    assert lost(import_workflow(read("bank_en"))) == {
        "/iteration_strategy",
        "/tools/get_balance/request/url",
        "/system_actions/send_sms",
        "/skills/card_support/tools/2",
        "/skills/credit_score/callable",
        "/flows/1/trigger_patterns/1",
        "/action_books/4",
        "/timers/1/action",
        "/llm_config",
    }
    assert lost(import_workflow(read("faq_bot"))) == {
        "/exported_by",
        "/workflow_config/skills/1/function_name",
        "/workflow_config/timers/2/action",
        "/workflow_config/kb_config/retrieval/score_threshold",
        "/workflow_config/kb_config/retrieval/rerank",
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*path, key))


ODD = (
    None,
    "",
    0,
    -1,
    3.5,
    True,
    [],
    {},
    "text {x} {{y}} ${Z}",
    "((",
    [1, 2],
    ["a", {"b": 1}],
    {"a": 1},
    "end",
    {"zh": "你"},
    [[]],
    "{% if %}",
    "a" * 300,
    {"type": "object", "properties": {"p": 5}},
    "name: [",
    "\u2028\x85",
)


def damaged(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The document with some values replaced, removed or added."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 4)):
        *way, last = chance.choice([place for place in places(document) if place])
        holder: Any = document
        for key in way:
            holder = holder[key]
        if chance.random() < 0.6:
            holder[last] = copy.deepcopy(chance.choice(ODD))
        elif chance.random() < 0.6:
            del holder[last]
        elif isinstance(holder, dict):
            holder[chance.choice(["type", "name", "steps", "next", "url", "condition", "prompt"])] = (
                chance.choice(ODD)
            )
    return document


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_wrong_with_a_file_the_workflow_is_valid(seed: int) -> None:
    chance = random.Random(seed)
    source = damaged(read(NAMES[seed % len(NAMES)]), chance)
    try:
        found = import_workflow(source)
    except NotImportable as error:
        refused = error.errors
    else:
        refused = validate(found.document).errors
        assert config_hash(parse(as_yaml(found.document))) == config_hash(found.document)
    assert refused == []


def test_every_unknown_field_is_reported_wherever_it_stands() -> None:
    source = read("shop_zh")
    added = set()
    for place in list(places(source)):
        holder: Any = source
        for key in place:
            holder = holder[key]
        # The values of these are data of the author's: any name may stand there.
        data = {
            "parameters",
            "properties",
            "headers",
            "fields",
            "arguments",
            "parameter_mapping",
            "body",
        }
        if isinstance(holder, dict) and not data & set(place) and (not place or place[-1] != "kb_config"):
            holder["quite_unknown"] = "something"
            added.add("".join(f"/{key}" for key in (*place, "quite_unknown")))
    reported = lost(import_workflow(source))
    # What wraps a tool's schema is read as one with it.
    expected = {place.replace("/function/", "/") for place in added}
    skipped = {"/flows/2/steps/0/quite_unknown"}
    assert expected - reported - skipped == set()


@pytest.mark.parametrize("document", [{}, {"a": 1}, {"schema_version": "1", "intents": []}, {"tools": 5}])
def test_what_is_no_earlier_configuration_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(NotImportable):
        import_workflow(document)


def test_a_file_that_is_carried_over_whole_says_so() -> None:
    found = made(
        flows=[{"id": "f", "trigger_patterns": ["go"], "steps": [{"type": "reply", "text": "Gone."}]}]
    )
    assert found.complete
    assert found.document["flows"][0]["steps"] == [{"id": "step_1", "type": "reply", "text": "Gone."}]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{status}} == 'x'", "slots.status == 'x'"),
        (
            "$status !== null && !(status in ['a','b'])",
            "slots.status != none and not (slots.status in ['a','b'])",
        ),
        ('${status} === "a  b" || status >= 3', 'slots.status == "a  b" or slots.status >= 3'),
        ("slots.status == True", "slots.status == true"),
    ],
)
def test_conditions_are_translated(written: str, expected: str) -> None:
    found = flow(
        [
            {"type": "if", "condition": written, "then": [{"type": "reply", "text": "a"}]},
            {"type": "reply", "text": "b"},
        ],
        slots=[{"name": "status"}],
    )
    branch = next(step for step in found.document["flows"][0]["steps"] if step["type"] == "branch")
    assert branch["cases"][0]["when"] == expected


@pytest.mark.parametrize("written", ["len(status) > 1", "nobody == 1", "status ==", "status; drop"])
def test_a_condition_without_an_equal_is_reported_and_never_true(written: str) -> None:
    found = flow(
        [
            {"type": "if", "condition": written, "then": [{"type": "reply", "text": "a"}]},
            {"type": "reply", "text": "b"},
        ],
        slots=[{"name": "status"}],
    )
    assert "/flows/0/steps/0/condition" in lost(found)
    assert all(step["type"] != "branch" for step in found.document["flows"][0]["steps"])


def test_blocks_of_a_branch_come_back_to_what_follows() -> None:
    found = flow(
        [
            {
                "type": "condition",
                "cases": [
                    {"when": "slots.a == 1", "then": [{"type": "say", "text": "one"}]},
                    {"default": True, "next": "last"},
                ],
            },
            {"type": "say", "text": "between"},
            {"id": "last", "type": "say", "text": "last"},
        ],
        slots=[{"name": "a"}],
    )
    steps = {step.get("id"): step for step in found.document["flows"][0]["steps"]}
    branch = next(step for step in steps.values() if step["type"] == "branch")
    one = steps[branch["cases"][0]["next"]]
    assert (one["text"], steps[one["next"]]["text"]) == ("one", "between")
    assert branch["cases"][1] == {"when": "true", "next": "last"}


def test_a_secret_in_any_place_of_a_request_is_referred_to() -> None:
    found = made(
        tools=[
            {"name": "a", "url": "https://user:hunter22@a.example/x"},
            {"name": "b", "url": "https://b.example/x?api_key=hunter22&page=1"},
            {
                "name": "c",
                "url": "https://c.example/x",
                "headers": [{"name": "X-Api-Key", "value": "${C_KEY}"}],
            },
            {
                "name": "d",
                "url": "https://d.example/x",
                "method": "POST",
                "body": {"password": "hunter22", "q": 1},
            },
            {"name": "e", "url": "https://e.example/x", "token": "hunter22"},
        ]
    )
    auth = {tool["id"]: tool.get("auth") for tool in found.document["tools"]}
    assert auth["a"] == {"type": "basic", "username": "user", "password": "secret:a-password"}
    assert auth["b"] == {"type": "api_key", "name": "api_key", "location": "query", "key": "secret:b-api-key"}
    assert auth["c"] == {"type": "api_key", "name": "X-Api-Key", "location": "header", "key": "secret:c-key"}
    assert auth["d"] is None
    assert auth["e"] == {"type": "bearer", "token": "secret:e-token"}
    assert found.document["tools"][1]["request"]["query"] == {"page": "1"}
    assert "hunter22" not in as_yaml(found.document) + as_text(found.notes)
    assert {note.pointer for note in found.notes if note.kind == "secret"} == {
        "/tools/0/url",
        "/tools/1/url",
        "/tools/3/body/password",
        "/tools/4/token",
    }


def test_where_arguments_go() -> None:
    found = made(
        tools=[
            {"name": "get", "url": "https://a.example/{id}", "parameters": {"id": "string", "page": "int"}},
            {
                "name": "put",
                "url": "https://a.example/:id",
                "method": "PUT",
                "parameters": {"id": "string", "note": "What to note"},
            },
        ]
    )
    get, put = found.document["tools"]
    assert get["request"] == {
        "method": "GET",
        "url": "https://a.example/{{ arguments.id }}",
        "query": {"page": "{{ arguments.page | default(none) }}"},
    }
    assert get["parameters"]["properties"]["page"] == {"type": "integer"}
    assert put["request"]["body"] == {"note": "{{ arguments.note | default(none) }}"}
    assert put["parameters"]["properties"]["note"] == {"description": "What to note"}
    assert (get["effect"], put["effect"]) == ("read", "write")


def test_names_that_cannot_be_ids_are_replaced_everywhere() -> None:
    found = made(
        tools=[{**TOOL, "name": "查订单"}],
        flows=[
            {
                "name": "查询",
                "trigger_patterns": ["查"],
                "steps": [{"type": "tool", "tool": "查订单", "arguments": {"id": "1"}}],
            }
        ],
    )
    assert found.document["flows"][0]["steps"][0]["tool"] == found.document["tools"][0]["id"] == "tool_1"
    assert [note.what for note in found.notes if note.pointer == "/tools/0"] == ["the name of a tool"]


def test_placeholders_are_resolved_or_stay_texts() -> None:
    found = flow(
        [
            {"type": "tool", "tool": "look", "args": {"id": "{code}"}, "save_as": "thing"},
            {
                "type": "reply",
                "text": "{code} ${thing.name} {{ thing['size'] }} {user_id} 100% {not known} {{",
            },
        ],
        slots=[{"name": "code"}],
    )
    text = found.document["flows"][0]["steps"][-1]["text"]
    assert re.findall(r"\{\{ (.+?) \}\}", text)[:4] == [
        "slots.code",
        "results.thing.name",
        "results.thing['size']",
        "context.user_id",
    ]
    assert "{not known}" in text


def test_kinds_of_timers() -> None:
    found = made(
        timers={
            "a": {"delay_minutes": 2, "message": "Still there?"},
            "b": {"delay": "90", "action": {"type": "handoff"}},
            "c": {"delay_seconds": 5, "action": "transfer", "enabled": "false"},
        }
    )
    assert [(timer["id"], timer["delay_seconds"]) for timer in found.document["timers"]] == [
        ("a", 120),
        ("b", 90),
    ]
    assert found.document["timers"][1]["action"] == "handoff"
    assert "/timers/c" in lost(found)


def test_errors_of_the_command_are_errors_of_ours() -> None:
    assert issubclass(NotImportable, SignalboxError)


def test_a_no_never_goes_on_to_what_was_refused() -> None:
    found = flow(
        [
            {"type": "confirm", "prompt": "Sure?", "on_no": [{"type": "say", "text": "Kept."}]},
            {"type": "tool", "tool": "look", "args": {"id": "1"}},
        ]
    )
    steps = {step.get("id"): step for step in found.document["flows"][0]["steps"]}
    confirm = next(step for step in steps.values() if step["type"] == "confirm")
    assert steps[confirm["next"]]["type"] == "call"
    kept = steps[confirm["on_no"]]
    assert (kept["text"], steps[kept["next"]]["type"]) == ("Kept.", "end")
