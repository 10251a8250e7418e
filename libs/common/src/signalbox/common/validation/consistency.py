"""Parts that are well-formed but not complete together, and arguments that their target does not take."""

from collections.abc import Iterator, Mapping
from typing import Any

from signalbox.common.pointers import Path
from signalbox.common.validation.references import slot_names
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Submission
from signalbox.contracts.config import (
    Action,
    AskStep,
    CallStep,
    Compensation,
    Flow,
    Parameter,
    ReplyStep,
    Route,
    Slot,
    SlotValidation,
    StatusCheck,
    SubflowStep,
    Timer,
    Tool,
)


def check_completeness(submission: Submission) -> Iterator[Finding]:
    """``missing_field`` for a field that another one makes necessary."""
    for node in submission.nodes:
        if not submission.intact(node.path):
            continue
        match node.model:
            case Action(type="webhook", webhook=None):
                yield _missing(node.path, "webhook", "an action of type `webhook` needs it")
            case Timer(action=None, reply=None):
                yield _missing(node.path, "action", "a timer needs an action or a reply")
            case ReplyStep(template=None, text=None, parts=[]):
                yield _missing(node.path, "text", "a reply needs a text, a template or parts")
            case (
                Slot(type="enum", values=[])
                | Slot(type="list", items="enum", values=[])
                | Parameter(type="enum", values=[])
            ):
                yield _missing(node.path, "values", "an enum needs the values that it may have")
            case Slot(type="entity", pattern=None):
                yield _missing(node.path, "pattern", "an entity needs the pattern that it has")
            case AskStep(prompt=None) as step:
                flow = node.enclosing(Flow)
                slots = [slot for slot in flow[1].slots if slot.id == step.slot] if flow is not None else []
                if slots and slots[0].prompt is None:
                    yield _missing(node.path, "prompt", "neither this step nor the slot says what to ask")
            case _:
                pass


def warn_about_models(submission: Submission) -> Iterator[Finding]:
    """``no_model``: a value that a model alone may find, where the workflow names no model that would."""
    if submission.config.llm.match is not None:
        return
    for node in submission.nodes:
        slot = node.model
        if isinstance(slot, Slot) and slot.prompt is not None and set(slot.source) == {"model"}:
            yield Finding(
                (*node.path, "source"),
                "no_model",
                "Only a model may find this value, and `llm.match` names none: where the operator has no default model "
                "for that role, no answer is understood. Name one, or add `message`.",
            )


def warn_about_arguments(submission: Submission) -> Iterator[Finding]:
    """``unknown_argument`` and ``missing_argument``: what a call gives against what its target takes."""
    tools = {tool.id: tool for tool in submission.config.tools}
    flows = {flow.id for flow in submission.config.flows}
    flow_paths = {node.model.id: node.path for node in submission.nodes if isinstance(node.model, Flow)}
    for node in submission.nodes:
        model = node.model
        if isinstance(model, Route | CallStep | Compensation | SlotValidation | StatusCheck):
            tool = tools.get(model.tool) if model.tool is not None else None
            if tool is not None and model.arguments:
                yield from _tool_arguments((*node.path, "arguments"), model.arguments, tool)
        if isinstance(model, Route | SubflowStep) and model.flow in flows:
            known = slot_names(submission, flow_paths[model.flow])
            for name in model.arguments:
                if name not in known:
                    detail = f"The flow `{model.flow}` has no slot `{name}` to take this value."
                    yield Finding((*node.path, "arguments", name), "unknown_argument", detail)


def _tool_arguments(path: Path, arguments: Mapping[str, Any], tool: Tool) -> Iterator[Finding]:
    properties = tool.parameters.get("properties")
    required = tool.parameters.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return
    if properties and not tool.parameters.get("additionalProperties", False):
        for name in arguments:
            if name not in properties:
                yield Finding(
                    (*path, name), "unknown_argument", f"The tool `{tool.id}` takes no argument `{name}`."
                )
    for name in required:
        if isinstance(name, str) and name not in arguments and name not in tool.context:
            yield Finding(path, "missing_argument", f"The tool `{tool.id}` needs the argument `{name}`.")


def _missing(path: Path, name: str, why: str) -> Finding:
    return Finding((*path, name), "missing_field", f"`{name}` is missing: {why}.")
