import json
from decimal import Decimal

import jsonschema
import pytest
from pydantic import ValidationError

from signalbox.contracts.config import AgentSkill, FunctionSkill, Policies, Route, Tool
from signalbox.contracts.workflow_config import WorkflowConfig, config_json_schema

MINIMAL = {"workflow_id": "shop", "name": "Shop"}


def test_a_name_and_an_id_are_enough():
    config = WorkflowConfig.model_validate(MINIMAL)
    assert config.schema_version == "1"
    assert config.default_language == "en"
    assert config.intents == []
    assert config.policies.double_texting == "queue"
    assert config.llm.role("match") is None


def test_the_json_schema_is_valid_and_closes_every_object():
    schema = config_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [part for part in (schema, *schema["$defs"].values()) if "properties" in part]
    assert len(objects) > 30
    assert all(part["additionalProperties"] is False for part in objects)
    json.dumps(schema)


@pytest.mark.parametrize(
    ("document", "good"),
    [
        (MINIMAL, True),
        ({**MINIMAL, "colour": "blue"}, False),
        ({"name": "Shop"}, False),
        ({**MINIMAL, "greeting": {"en": ["Hi", "Hello"], "zh-Hant": "您好"}}, True),
        ({**MINIMAL, "greeting": 5}, False),
        (
            {
                **MINIMAL,
                "skills": [{"id": "a", "mode": "agent", "instructions": "x", "budget": {"cost": 0.5}}],
            },
            True,
        ),
        ({**MINIMAL, "skills": [{"id": "a", "mode": "robot"}]}, False),
        ({**MINIMAL, "flows": [{"id": "f", "steps": [{"type": "ask", "slot": "s"}]}]}, True),
        ({**MINIMAL, "flows": [{"id": "f", "steps": []}]}, False),
        (
            {**MINIMAL, "tools": [{"id": "t", "python": "x", "auth": {"type": "bearer", "token": "plain"}}]},
            False,
        ),
        ({**MINIMAL, "schema_version": "2"}, False),
    ],
)
def test_the_schema_and_the_models_agree(document, good):
    """An editor that follows the schema says what validation says."""
    by_schema = jsonschema.Draft202012Validator(config_json_schema()).is_valid(document)
    try:
        WorkflowConfig.model_validate_json(json.dumps(document), strict=True, extra="forbid")
    except ValidationError:
        by_models = False
    else:
        by_models = True
    assert (by_schema, by_models) == (good, good)


def test_stored_documents_may_hold_fields_of_a_newer_release():
    config = WorkflowConfig.model_validate(
        {**MINIMAL, "later": 1, "policies": {"later": {}, "max_iterations": 7}}
    )
    assert config.policies.max_iterations == 7
    assert "later" not in config.model_dump()


def test_a_config_survives_its_own_json():
    document = {
        **MINIMAL,
        "skills": [{"id": "a", "mode": "agent", "instructions": "x", "budget": {"cost": "0.25"}}],
        "flows": [{"id": "f", "steps": [{"type": "set", "values": {"a": [1, None, "x"]}}, {"type": "end"}]}],
        "intents": [{"id": "i", "then": {"flow": "f"}}],
    }
    config = WorkflowConfig.model_validate(document)
    skill = config.skills[0]
    assert isinstance(skill, AgentSkill)
    assert skill.budget.cost == Decimal("0.25")
    assert WorkflowConfig.model_validate_json(config.model_dump_json()) == config


def test_one_target_one_source():
    with pytest.raises(ValidationError, match="give one target, not flow and skill"):
        Route.model_validate({"flow": "a", "skill": "b"})
    with pytest.raises(ValidationError, match="give one of flow"):
        Route.model_validate({})
    with pytest.raises(ValidationError, match="exactly one of request, mcp and python"):
        Tool.model_validate({"id": "t"})
    with pytest.raises(ValidationError, match="exactly one of endpoint and function"):
        FunctionSkill.model_validate(
            {"id": "f", "mode": "function", "function": "x", "endpoint": {"url": "http://x"}}
        )
    assert Tool.model_validate({"id": "t", "python": "x"}).request is None


@pytest.mark.parametrize("name", ["1a", "", "a b", "ä", "a" * 65, "-a", "a/b"])
def test_identifiers_are_plain_names(name):
    with pytest.raises(ValidationError):
        WorkflowConfig.model_validate({**MINIMAL, "workflow_id": name})


@pytest.mark.parametrize(
    "value", ["plain", "secret:", "secret: x", "SECRET:x", "secret:/x", "secret:" + "x" * 200, 5]
)
def test_secrets_are_references(value):
    with pytest.raises(ValidationError):
        Tool.model_validate({"id": "t", "python": "x", "auth": {"type": "bearer", "token": value}})


def test_every_model_of_the_config_says_what_it_is():
    schema = config_json_schema()
    undescribed = [name for name, part in schema["$defs"].items() if not part.get("description")]
    assert undescribed == []


def test_defaults_are_not_shared_between_configs():
    first, second = WorkflowConfig.model_validate(MINIMAL), WorkflowConfig.model_validate(MINIMAL)
    first.intents.append("x")  # type: ignore[arg-type]
    first.variables["a"] = 1
    assert second.intents == []
    assert second.variables == {}
    assert Policies().limits.max_message_chars == 8000
