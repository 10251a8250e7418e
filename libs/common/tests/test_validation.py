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


def test_a_good_document_gives_the_config_and_nothing_else():
    result = validate(GOOD)
    assert result.errors == []
    assert result.warnings == []
    assert result.config is not None
    assert result.config.flows[0].slots[0].prompt == {"en": "Which order?", "zh": "哪个订单？"}


def test_everything_wrong_is_reported_at_once():
    document = copy.deepcopy(GOOD)
    document["colour"] = "blue"
    document["languages"] = ["en", "english!"]
    document["intents"][0]["when"]["patterns"].append(r"(?=order)\d+")
    document["intents"][0]["then"]["flow"] = "statsu"
    document["intents"][1]["priority"] = "high"
    document["intents"].append({"id": "bye", "then": {"reply": "{{ oops"}})
    document["flows"][0]["steps"][0]["slot"] = "ordr"
    document["flows"][0]["steps"][2]["cases"][0]["when"] = "found.state =="
    document["flows"][0]["steps"].insert(3, {"type": "jump"})
    document["flows"][0]["steps"].insert(4, {"type": "reply", "text": "{{ slots.stte }}", "next": "nowhere"})
    document["flows"][1]["steps"].append({"type": "call", "tool": "get_orders"})
    document["skills"][0]["tools"].remove("refund")
    document["skills"][1]["timeout_ms"] = 0
    document["tools"][0]["auth"]["token"] = "planted-1"
    document["tools"][0]["parameters"]["properties"]["id"]["type"] = "int"
    document["tools"][1]["request"]["headers"] = {"Authorization": "Bearer planted-2"}
    document["tools"][1]["response"] = {"select": "a..b"}
    document["tools"].append(
        {"id": "third", "request": {"url": "http://{{ arguments.host }}/"}, "python": "x"}
    )
    document["tools"].append({"id": "fourth", "request": {"url": "http://{{ arguments.host }}/"}})
    document["knowledge"][0]["tool"] = "refund"
    document["actions"].append({"id": "hook", "type": "webhook"})
    result = validate(document)
    assert result.config is None
    assert [(error.pointer, error.code) for error in result.errors] == [
        ("/actions/1/webhook", "missing_field"),
        ("/colour", "unknown_field"),
        ("/flows/0/steps/0/slot", "unknown_reference"),
        ("/flows/0/steps/2/cases/0/when", "bad_expression"),
        ("/flows/0/steps/3/type", "bad_value"),
        ("/flows/0/steps/4/next", "unknown_reference"),
        ("/flows/0/steps/4/text", "unknown_reference"),
        ("/flows/1/steps/1/tool", "unknown_reference"),
        ("/intents/0/then/flow", "unknown_reference"),
        ("/intents/0/when/patterns/1", "bad_pattern"),
        ("/intents/1/priority", "wrong_type"),
        ("/intents/3/id", "duplicate_id"),
        ("/intents/3/then/reply", "bad_template"),
        ("/knowledge/0/tool", "not_read_only"),
        ("/languages/1", "bad_value"),
        ("/skills/0/approval/tools/0", "unknown_reference"),
        ("/skills/1/timeout_ms", "bad_value"),
        ("/tools/0/auth/token", "secret_as_value"),
        ("/tools/0/parameters/properties/id/type", "bad_json_schema"),
        ("/tools/1/request/headers/Authorization", "secret_as_value"),
        ("/tools/1/response/select", "bad_jmespath"),
        ("/tools/2", "bad_value"),
        ("/tools/3/request/url", "bad_template"),
    ]
    details = {error.pointer: error.detail for error in result.errors}
    assert not any("planted" in detail for detail in details.values())
    assert all(detail.endswith((".", "?")) for detail in details.values())
    assert "did you mean `status`?" in details["/intents/0/then/flow"]
    assert "did you mean `order`?" in details["/flows/0/steps/0/slot"]
    assert "did you mean `state`?" in details["/flows/0/steps/4/text"]
    assert "RE2 has no lookahead" in details["/intents/0/when/patterns/1"]
    assert "exactly one of request, mcp and python" in details["/tools/2"]


@pytest.mark.parametrize(
    ("path", "value", "at", "code"),
    [
        (("name",), ..., "/name", "missing_field"),
        (("workflow_id",), "1 bad id", "/workflow_id", "bad_value"),
        (("schema_version",), "7", "/schema_version", "unsupported_schema_version"),
        (("schema_version",), 1, "/schema_version", "unsupported_schema_version"),
        (("intents",), {}, "/intents", "wrong_type"),
        (("intents", 0), "x", "/intents/0", "wrong_type"),
        (("intents", 0, "then"), ..., "/intents/0/then", "missing_field"),
        (("intents", 0, "priority"), "5", "/intents/0/priority", "wrong_type"),
        (("intents", 0, "priority"), 1.5, "/intents/0/priority", "wrong_type"),
        (("intents", 0, "whne"), {}, "/intents/0/whne", "unknown_field"),
        (("intents", 1, "then", "skill"), "agent", "/intents/1/then", "bad_value"),
        (("intents", 0, "parameters", "a b"), {}, "/intents/0/parameters/a b", "bad_value"),
        (
            ("intents", 0, "parameters", "order", "type"),
            "enum",
            "/intents/0/parameters/order/values",
            "missing_field",
        ),
        (
            ("intents", 0, "parameters", "order", "pattern"),
            "[",
            "/intents/0/parameters/order/pattern",
            "bad_pattern",
        ),
        (("intents", 0, "when", "keywords", 0), " ", "/intents/0/when/keywords/0", "bad_pattern"),
        (("intents", 0, "when", "patterns", 0), "(a)\\1", "/intents/0/when/patterns/0", "bad_pattern"),
        (("greeting",), 5, "/greeting", "wrong_type"),
        (("greeting", "en"), 5, "/greeting/en", "wrong_type"),
        (("greeting", "en"), ["a", 5], "/greeting/en/1", "wrong_type"),
        (("greeting", "english please"), "x", "/greeting/english please", "bad_value"),
        (("greeting", "en"), "{{ vars.bse }}", "/greeting/en", "unknown_reference"),
        (("greeting", "zh"), ["ok", "{% include 'x' %}"], "/greeting/zh/1", "bad_template"),
        (("variables", "list"), [1], "/variables/list", "wrong_type"),
        (("flows", 0, "steps"), [], "/flows/0/steps", "bad_value"),
        (("flows", 0, "steps", 0, "type"), ..., "/flows/0/steps/0/type", "missing_field"),
        (("flows", 0, "steps", 0, "slot"), ..., "/flows/0/steps/0/slot", "missing_field"),
        (("flows", 0, "steps", 4, "template"), "stat", "/flows/0/steps/4/template", "unknown_reference"),
        (
            ("flows", 0, "steps", 1, "on_error", "next"),
            "gone",
            "/flows/0/steps/1/on_error/next",
            "unknown_reference",
        ),
        (
            ("flows", 0, "steps", 1, "compensation"),
            {"tool": "undo"},
            "/flows/0/steps/1/compensation/tool",
            "unknown_reference",
        ),
        (
            ("flows", 0, "steps", 3, "values"),
            {"state": "{{ x | nofilter }}"},
            "/flows/0/steps/3/values/state",
            "bad_template",
        ),
        (("flows", 0, "slots", 0, "type"), "entity", "/flows/0/slots/0/pattern", "missing_field"),
        (
            ("flows", 0, "slots", 0, "validation", "tool"),
            "refund",
            "/flows/0/slots/0/validation/tool",
            "not_read_only",
        ),
        (
            ("flows", 0, "slots", 0, "validation", "accept"),
            "1 +",
            "/flows/0/slots/0/validation/accept",
            "bad_expression",
        ),
        (("flows", 0, "slots", 1), {"id": "order"}, "/flows/0/slots/1/id", "duplicate_id"),
        (("flows", 0, "slots", 0, "prompt"), ..., "/flows/0/steps/0/prompt", "missing_field"),
        (
            ("flows", 0, "templates", "state", "en", 1),
            "{{ 2 ** 3 }}",
            "/flows/0/templates/state/en/1",
            "bad_template",
        ),
        (("flows", 1, "steps", 0, "flow"), "outer", "/flows/1/steps/0/flow", "subflow_cycle"),
        (("skills", 0, "mode"), "robot", "/skills/0/mode", "bad_value"),
        (("skills", 0, "tools", 0), "get_ordre", "/skills/0/tools/0", "unknown_reference"),
        (("skills", 0, "subtasks", 0, "skill"), "agent", "/skills/0/subtasks/0/skill", "skill_cycle"),
        (("skills", 0, "subtasks", 0, "skill"), "qoute", "/skills/0/subtasks/0/skill", "unknown_reference"),
        (("skills", 1, "endpoint"), ..., "/skills/1", "bad_value"),
        (("skills", 1, "input_schema"), {"type": "array"}, "/skills/1/input_schema/type", "bad_json_schema"),
        (("skills", 1, "function"), 5, "/skills/1/function", "wrong_type"),
        (
            ("tools", 0, "response", "error_when"),
            "nofunction(@)",
            "/tools/0/response/error_when",
            "bad_jmespath",
        ),
        (("tools", 0, "request", "body"), {"a": ["{{"]}, "/tools/0/request/body/a/0", "bad_template"),
        (("tools", 1, "status_check", "tool"), "refund", "/tools/1/status_check/tool", "not_read_only"),
        (("tools", 1, "status_check", "done_when"), ")", "/tools/1/status_check/done_when", "bad_expression"),
        (("tools", 0, "retry"), {"attempts": 99}, "/tools/0/retry/attempts", "bad_value"),
        (("timers", 0, "action"), "clse", "/timers/0/action", "unknown_reference"),
        (("timers", 0, "action"), ..., "/timers/0/action", "missing_field"),
        (("knowledge", 0, "tool"), "faq", "/knowledge/0/tool", "unknown_reference"),
        (("policies", "fallback", "skill"), "agnet", "/policies/fallback/skill", "unknown_reference"),
        (("policies", "degradation", "action"), "none", "/policies/degradation/action", "unknown_reference"),
        (("policies", "double_texting"), "maybe", "/policies/double_texting", "bad_value"),
        (("policies", "limits"), None, "/policies/limits", "wrong_type"),
        (("llm",), {"answer": {}}, "/llm/answer/model", "missing_field"),
        (("llm",), {"limits": {"cost_per_session": "much"}}, "/llm/limits/cost_per_session", "wrong_type"),
    ],
)
def test_each_mistake_has_its_pointer_and_code_alone(path, value, at, code):
    assert found(changed(path, value)) == [(at, code)]


def test_a_broken_part_is_still_declared():
    document = changed(("flows", 0, "steps", 0, "type"), "nonsense")
    document["flows"][0]["cancellable"] = "perhaps"
    document["tools"][0]["timeout_ms"] = None
    document["skills"][1] = {"id": "quote", "mode": "function", "endpoint": 5}
    assert found(document) == [
        ("/flows/0/cancellable", "wrong_type"),
        ("/flows/0/steps/0/type", "bad_value"),
        ("/skills/1/endpoint", "wrong_type"),
        ("/tools/0/timeout_ms", "wrong_type"),
    ]


def test_pointers_are_into_the_submitted_document_when_items_before_are_broken():
    document = copy.deepcopy(GOOD)
    document["intents"].insert(0, {"id": "broken"})
    document["intents"].insert(2, 17)
    document["flows"][0]["steps"].insert(1, "not a step")
    document["flows"][0]["steps"].append({"type": "call", "tool": "gone"})
    document["intents"][3]["then"] = {"action": "gone"}
    assert found(document) == [
        ("/flows/0/steps/1", "wrong_type"),
        ("/flows/0/steps/8/tool", "unknown_reference"),
        ("/intents/0/then", "missing_field"),
        ("/intents/2", "wrong_type"),
        ("/intents/3/then/action", "unknown_reference"),
    ]


def test_an_unknown_field_does_not_hide_that_the_right_one_is_missing():
    document = changed(("tools", 0), {"id": "get_order", "requset": {"url": "http://x/"}})
    assert found(document) == [("/tools/0", "bad_value"), ("/tools/0/requset", "unknown_field")]
