"""Secrets, warnings, cycles and the size of rules."""

import copy
from pathlib import Path

import pytest

from signalbox.common.documents import parse
from signalbox.common.validation import validate

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


def found(document, **options):
    return [(error.pointer, error.code) for error in validate(document, **options).errors]


def warned(document):
    return [(warning.pointer, warning.code) for warning in validate(document).warnings]


SECRETS = [
    (
        ("tools", 0, "request", "headers"),
        {"authorization": "Bearer planted"},
        "/tools/0/request/headers/authorization",
    ),
    (("tools", 0, "request", "headers"), {"X-API-Key": "planted"}, "/tools/0/request/headers/X-API-Key"),
    (("tools", 0, "request", "headers"), {"Cookie": "sid=planted"}, "/tools/0/request/headers/Cookie"),
    (
        ("tools", 0, "request", "headers"),
        {"X-Token": "a{{ context.x }}planted"},
        "/tools/0/request/headers/X-Token",
    ),
    (
        ("tools", 0, "request", "headers"),
        {"Authorization": "Bearer {{ vars.base }}"},
        "/tools/0/request/headers/Authorization",
    ),
    (("tools", 0, "request", "query"), {"api_key": "planted"}, "/tools/0/request/query/api_key"),
    (
        ("tools", 0, "request", "body"),
        {"login": {"clientSecret": "planted"}},
        "/tools/0/request/body/login/clientSecret",
    ),
    (("tools", 0, "request", "url"), "https://me:planted@shop.example/x", "/tools/0/request/url"),
    (("tools", 0, "request", "url"), "https://shop.example/x?access_token=planted", "/tools/0/request/url"),
    (("tools", 0, "auth"), {"type": "bearer", "token": "planted"}, "/tools/0/auth/token"),
    (("tools", 0, "auth"), {"type": "basic", "username": "u", "password": 12345}, "/tools/0/auth/password"),
    (("tools", 0, "auth"), {"type": "hmac", "secret": ["planted"]}, "/tools/0/auth/secret"),
    (("variables", "crm_token"), "planted", "/variables/crm_token"),
    (("description",), "use sk-abcdefghijklmnopqrstuvwxyz123456", "/description"),
    (("intents", 0, "description"), "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "/intents/0/description"),
    (("skills", 0, "instructions"), "-----BEGIN RSA PRIVATE KEY-----\nplanted", "/skills/0/instructions"),
]


@pytest.mark.parametrize(("path", "value", "at"), SECRETS)
def test_secrets_given_as_values_are_refused_and_never_repeated(path, value, at):
    result = validate(changed(path, value))
    assert (at, "secret_as_value") in [(error.pointer, error.code) for error in result.errors]
    assert result.config is None
    shown = result.errors[0].model_dump_json()
    assert not any(planted in shown for planted in ("planted", "sk-abc", "ghp_abc", "12345"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tools", 0, "request", "headers"), {"Authorization": "Bearer {{ context.metadata.user_token }}"}),
        (("tools", 0, "request", "body"), {"password": "{{ arguments.password }}", "page_token": ""}),
        (("variables", "token_url"), "https://login.example/token"),
        (("variables", "crm_token"), "secret:crm"),
        (("flows", 0, "templates", "token"), {"en": "Your token", "zh": "令牌"}),
        (
            ("tools", 0, "parameters"),
            {"type": "object", "properties": {"id": {}, "token": {"type": "string", "default": "x"}}},
        ),
        (("description",), "Write to help@shop.example or see https://shop.example/@me?x=1"),
    ],
)
def test_what_only_looks_like_a_secret_is_accepted(path, value):
    assert found(changed(path, value)) == []


def test_a_reference_outside_auth_is_refused_because_it_would_be_sent():
    assert found(changed(("tools", 0, "request", "headers"), {"X-API-Key": "secret:crm"})) == [
        ("/tools/0/request/headers/X-API-Key", "bad_value")
    ]


def test_secrets_are_found_in_parts_that_do_not_parse():
    document = changed(
        ("tools", 0, "request"), {"method": "FETCH", "headers": {"Authorization": "Basic planted"}}
    )
    assert ("/tools/0/request/headers/Authorization", "secret_as_value") in found(document)


@pytest.mark.parametrize(
    ("path", "value", "at", "code"),
    [
        (("greeting",), {"en": "Hello"}, "/greeting", "missing_translation"),
        (("greeting",), "Hello", "/greeting", "missing_translation"),
        (
            ("flows", 0, "templates", "state"),
            {"en": "x {{ slots.state }}"},
            "/flows/0/templates/state",
            "missing_translation",
        ),
        (("flows", 0, "steps", 3, "next"), "sorry", "/flows/0/steps/4", "unreachable_step"),
        (("intents", 0, "when", "patterns", 0), "a*", "/intents/0/when/patterns/0", "matches_everything"),
        (
            ("intents", 0, "when", "patterns", 0),
            r"(?P<number>\d+)",
            "/intents/0/when/patterns/0",
            "undeclared_parameter",
        ),
        (
            ("intents", 0, "then", "arguments"),
            {"ordr": 1},
            "/intents/0/then/arguments/ordr",
            "unknown_argument",
        ),
        (
            ("flows", 0, "steps", 1, "arguments"),
            {"idd": 1},
            "/flows/0/steps/1/arguments/idd",
            "unknown_argument",
        ),
        (("flows", 0, "steps", 1, "arguments"), {"idd": 1}, "/flows/0/steps/1/arguments", "missing_argument"),
        (("greeting", "en"), "{{ contxt.user }}", "/greeting/en", "unknown_name"),
    ],
)
def test_warnings_do_not_stop_a_document(path, value, at, code):
    document = changed(path, value)
    assert (at, code) in warned(document)
    assert validate(document).config is not None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("flows", 0, "steps", 5, "id"), "done"),
        (("flows", 0, "steps", 7), {"type": "end"}),
        (("flows", 0, "steps", 2, "next"), "sorry"),
    ],
)
def test_steps_that_a_jump_reaches_are_reachable(path, value):
    unreachable = [at for at, code in warned(changed(path, value)) if code == "unreachable_step"]
    assert unreachable == ([] if path[-1] != "next" else [f"/flows/0/steps/{n}" for n in (3, 4, 5)])


def test_a_slot_that_only_a_model_fills_wants_a_model():
    model_only = changed(("flows", 0, "slots", 0), {"id": "order", "prompt": "Which?", "source": ["model"]})
    model_only.pop("llm", None)
    at = ("/flows/0/slots/0/source", "no_model")
    assert at in warned(model_only)
    for with_model in (
        {**model_only, "llm": {"match": {"model": "small"}}},
        changed(
            ("flows", 0, "slots", 0), {"id": "order", "prompt": "Which?", "source": ["model", "message"]}
        ),
        changed(("flows", 0, "slots", 0), {"id": "order", "source": ["model"]}),
    ):
        assert at not in warned(with_model)


def test_a_list_of_choices_needs_choices():
    slot = {"id": "order", "type": "list", "items": "enum", "prompt": "Which?"}
    errors = validate(changed(("flows", 0, "slots", 0), slot)).errors
    assert ("/flows/0/slots/0/values", "missing_field") in [(error.pointer, error.code) for error in errors]
    named = {**slot, "values": [{"value": "a"}]}
    assert validate(changed(("flows", 0, "slots", 0), named)).config is not None


def test_texts_in_a_parent_language_or_without_words_need_no_translation():
    document = changed(("languages",), ["en", "zh-Hant"])
    document["actions"][0]["reply"] = "{{ context.name }}: 5 %"
    assert warned(document) == []


def test_intents_that_users_may_be_asked_about_need_a_name_in_each_language():
    document = copy.deepcopy(GOOD)
    asked = [
        {"id": "a", "description": "A.", "then": {"reply": "1"}},
        {"id": "b", "when": {"examples": ["b"]}, "then": {"reply": "2"}},
        {"id": "c", "when": {"keywords": ["c"]}, "then": {"reply": "3"}},
        {"id": "d", "description": "D.", "label": {"en": "D"}, "then": {"reply": "4"}},
    ]
    document["intents"] = asked
    labels = [entry for entry in warned(document) if entry[1] in {"missing_label", "missing_translation"}]
    named = [entry for entry in labels if not entry[0].endswith("/reply")]
    assert named == [
        ("/intents/0", "missing_label"),
        ("/intents/1", "missing_label"),
        ("/intents/3/label", "missing_translation"),
    ]
    document["policies"] = {**document.get("policies", {}), "disambiguation": {"enabled": False}}
    assert "missing_label" not in {code for _, code in warned(document)}
    del document["policies"]
    document["languages"] = ["en"]
    assert "missing_label" not in {code for _, code in warned(document)}


def test_cycles_are_found_once_each_and_diamonds_are_none():
    document = copy.deepcopy(GOOD)

    def flow(name, *targets):
        return {"id": name, "steps": [{"type": "subflow", "flow": target} for target in targets]}

    document["flows"] = [
        flow("a", "b", "c"),
        flow("b", "d"),
        flow("c", "d"),
        flow("d", "status"),
        GOOD["flows"][0],
    ]
    assert found(document) == []
    document["flows"][3] = flow("d", "a")
    assert found(document) == [("/flows/3/steps/0/flow", "subflow_cycle")]
    assert "a -> b -> d -> a" in validate(document).errors[0].detail
    document["flows"] = [flow(f"f{n}", f"f{n + 1}") for n in range(1500)] + [flow("f1500"), GOOD["flows"][0]]
    document["flows"][1500]["steps"] = [{"type": "end"}]
    assert found(document) == []


def test_rules_that_do_not_fit_the_servers_memory_are_named():
    document = copy.deepcopy(GOOD)
    document["intents"][2]["when"]["patterns"] = ["[a-z]{1,700}x", "small"]
    assert found(document) == []
    assert found(document, rules_memory=128 * 1024) == [("/intents/2/when/patterns/0", "rules_too_large")]
