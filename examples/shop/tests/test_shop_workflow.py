"""`workflow.yaml` and `dialogues.yaml` agree with the contract, with the backend and with each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2.meta
import pytest
import re2
import yaml
from jinja2.sandbox import SandboxedEnvironment

from signalbox.contracts.config import AgentSkill, BranchStep, FunctionSkill, HttpRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox_example_shop.app import create_app
from signalbox_example_shop.settings import Settings

EXAMPLE = Path(__file__).parents[1]
CONFIG = WorkflowConfig.model_validate(
    yaml.safe_load((EXAMPLE / "workflow.yaml").read_text(encoding="utf-8")), extra="forbid"
)
DIALOGUES: list[dict[str, Any]] = yaml.safe_load((EXAMPLE / "dialogues.yaml").read_text(encoding="utf-8"))[
    "dialogues"
]
OPENING_TURNS = [
    (dialogue["id"], turn) for dialogue in DIALOGUES for turn in dialogue["turns"] if "intent" in turn
]


def strings(value: object) -> Iterator[str]:
    """Yield every string in a JSON-like value."""
    match value:
        case str():
            yield value
        case dict():
            for member in value.values():
                yield from strings(member)
        case list():
            for member in value:
                yield from strings(member)


def decide(message: str) -> tuple[str | None, dict[str, str]]:
    """Return the intent that the rules give `message`, as the contract orders them, and its captures."""
    options = re2.Options()
    options.case_sensitive = False
    found = [
        (intent.priority, len(hit.group()), -position, intent.id, hit.groupdict())
        for position, intent in enumerate(CONFIG.intents)
        for pattern in intent.when.patterns
        if (hit := re2.compile(pattern, options).search(message)) is not None
    ]
    if not found:
        return None, {}
    best = max(found, key=lambda entry: entry[:3])
    return best[3], {name: value for name, value in best[4].items() if value}


def test_the_example_shows_every_kind_of_part() -> None:
    modes = [skill.mode for skill in CONFIG.skills]

    assert len(CONFIG.intents) >= 10
    assert len(CONFIG.flows) >= 5
    assert (modes.count("agent"), modes.count("function")) == (3, 1)
    assert len(CONFIG.tools) >= 10
    assert {action.type for action in CONFIG.actions} == {"handoff", "close", "update_profile"}


def test_every_text_exists_in_every_language() -> None:
    texts = [
        CONFIG.greeting,
        *(action.reply for action in CONFIG.actions),
        *(timer.reply for timer in CONFIG.timers),
    ]
    texts += [intent.then.reply for intent in CONFIG.intents]
    texts += [text for flow in CONFIG.flows for text in flow.templates.values()]
    texts += [slot.prompt for flow in CONFIG.flows for slot in flow.slots]

    assert all(set(text) == set(CONFIG.languages) for text in texts if isinstance(text, dict))
    assert all(isinstance(text, dict) for text in texts if text is not None)


@pytest.mark.parametrize(("dialogue", "turn"), OPENING_TURNS)
def test_the_rules_alone_decide_each_dialogue(dialogue: str, turn: dict[str, Any]) -> None:
    intent, captures = decide(turn["user"])

    assert intent == turn["intent"]
    if "status" not in turn and "slots.order_number" in str(flow_of(turn["intent"])):
        assert captures["order_number"].isdigit()


def flow_of(intent_id: str) -> object:
    """Return the flow that an intent starts, as plain data, or None."""
    routes = {intent.id: intent.then.flow for intent in CONFIG.intents}
    return next((flow.model_dump() for flow in CONFIG.flows if flow.id == routes[intent_id]), None)


@pytest.mark.parametrize(
    "message",
    [
        "can you recommend a waterproof jacket under 100 euros?",
        "推荐一款100欧元以下的防水夹克",
        "my tent arrived damaged",
    ],
)
def test_an_open_question_goes_to_an_agent(message: str) -> None:
    intent_id, _ = decide(message)
    route = next(intent.then for intent in CONFIG.intents if intent.id == intent_id)

    assert route.skill in {skill.id for skill in CONFIG.skills if isinstance(skill, AgentSkill)}


@pytest.mark.parametrize(
    "message", ["what is the meaning of life", "which stove burns longest", "天气怎么样"]
)
def test_what_no_rule_covers_is_left_to_the_examples_and_the_model(message: str) -> None:
    assert decide(message) == (None, {})


def test_an_example_never_belongs_to_another_intents_rule() -> None:
    strays = {
        example: decide(example)[0]
        for intent in CONFIG.intents
        for example in intent.when.examples
        if decide(example)[0] not in (intent.id, None)
    }

    assert strays == {}


def test_every_template_parses_and_uses_known_names_only() -> None:
    environment = SandboxedEnvironment()
    known = {"slots", "results", "result", "output", "arguments", "parameters", "vars", "context"}
    templates = [text for text in strings(CONFIG.model_dump()) if "{{" in text or "{%" in text]
    expressions = [
        f"{{{{ {case.when} }}}}"
        for flow in CONFIG.flows
        for step in flow.steps
        if isinstance(step, BranchStep)
        for case in step.cases
    ]

    assert templates
    assert expressions
    for template in templates + expressions:
        assert jinja2.meta.find_undeclared_variables(environment.parse(template)) <= known, template


def test_every_request_has_an_endpoint_of_the_backend() -> None:
    paths = create_app(Settings()).openapi()["paths"]
    served = {(method.upper(), path) for path, item in paths.items() for method in item}
    requests: list[HttpRequest] = [tool.request for tool in CONFIG.tools if tool.request is not None]
    requests += [
        skill.endpoint
        for skill in CONFIG.skills
        if isinstance(skill, FunctionSkill) and skill.endpoint is not None
    ]

    asked = {
        (
            request.method,
            request.url.removeprefix("{{ vars.shop_url }}").replace("{{ arguments.", "{").replace(" }}", "}"),
        )
        for request in requests
    }
    assert [tool.python for tool in CONFIG.tools if tool.request is None] == ["convert_shoe_size"]
    assert len(requests) == len(CONFIG.tools)
    assert asked <= served


def test_the_backends_token_is_named_and_never_written() -> None:
    auths = [tool.auth for tool in CONFIG.tools]
    auths += [skill.auth for skill in CONFIG.skills if isinstance(skill, FunctionSkill)]

    named = {
        (auth.type, value)
        for auth in auths
        if auth is not None
        for value in auth.model_dump().values()
        if isinstance(value, str) and value.startswith("secret:")
    }
    assert named == {(kind, "secret:shop-token") for kind in ("bearer", "basic", "api_key", "oauth2", "hmac")}
    assert [tool.id for tool in CONFIG.tools if tool.auth is None] == ["convert_shoe_size"]
