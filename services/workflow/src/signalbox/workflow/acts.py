"""What the ``decide`` model may have done: flows, skills, tools and actions, in the form of functions."""

import re
from typing import Any, Literal

from signalbox.common.record import record
from signalbox.common.tool_calls import visible_parameters
from signalbox.contracts.config import AgentSkill, Flow, FunctionSkill, Policies, Route, Slot, Tool
from signalbox.workflow.snapshot import WorkflowSnapshot

_LONGEST_NAME = 64
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "list": "array"}
_MESSAGE = {
    "message": {"type": "string", "description": "What is to be done, with all that is needed for it."}
}

DONE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "done",
        "description": "Nothing more is to be done, and nothing more to be said.",
        "parameters": {"type": "object", "properties": {}},
    },
}


@record
class Act:
    """One thing that may be done."""

    kind: Literal["flow", "skill", "tool", "action"]
    id: str
    definition: dict[str, Any]
    """In the form of the chat protocol."""

    @property
    def route(self) -> Route:
        """Where it leads; its arguments are the parameters of the work, and never templates."""
        return Route.model_validate({self.kind: self.id})


def acts_of(snapshot: WorkflowSnapshot) -> dict[str, Act]:
    """All acts by the name that the model is shown.

    Tools that write are not among them, unless they say ``never`` to being confirmed: flows ask before they write, and
    skills keep to their own rules.
    """
    config = snapshot.config
    found: dict[str, Act] = {}
    for flow in config.flows:
        _add(found, "flow", flow.id, flow.description, _flow_parameters(flow))
    for skill in config.skills:
        _add(found, "skill", skill.id, skill.description, _skill_parameters(skill))
    for tool in config.tools:
        if _may_call(tool, config.policies):
            _add(found, "tool", tool.id, tool.description, visible_parameters(tool))
    for action in config.actions:
        _add(
            found,
            "action",
            action.id,
            action.description or action.type,
            {"type": "object", "properties": {}},
        )
    return found


def _may_call(tool: Tool, policies: Policies) -> bool:
    return tool.effect == "read" or (tool.confirm == "never" and not policies.confirm_writes)


def _add(
    found: dict[str, Act],
    kind: Literal["flow", "skill", "tool", "action"],
    name: str,
    description: str,
    parameters: dict[str, Any],
) -> None:
    shown = _UNFIT.sub("_", f"{kind}_{name}")[:_LONGEST_NAME]
    number = 2
    while shown in found:
        shown = f"{shown[: _LONGEST_NAME - 3]}_{number}"
        number += 1
    function = {"name": shown, "description": description, "parameters": parameters}
    found[shown] = Act(kind, name, {"type": "function", "function": function})


def _flow_parameters(flow: Flow) -> dict[str, Any]:
    given = [slot for slot in flow.slots if "parameter" in slot.source]
    return {"type": "object", "properties": {slot.id: _slot_schema(slot) for slot in given}}


def _slot_schema(slot: Slot) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES.get(slot.type, "string"), "description": slot.description}
    values = [value.value for value in slot.values]
    if slot.type == "enum" and values:
        schema["enum"] = values
    if slot.type == "list":
        schema["items"] = {"type": "string", **({"enum": values} if slot.items == "enum" and values else {})}
    return schema


def _skill_parameters(skill: AgentSkill | FunctionSkill) -> dict[str, Any]:
    if isinstance(skill, FunctionSkill):
        return skill.input_schema
    return {"type": "object", "properties": _MESSAGE}
