"""Skills: agents with tools and subtasks, and functions."""

from typing import Any

from signalbox.common.importing.draft import Draft, Part
from signalbox.common.importing.mapping import Mapped
from signalbox.common.importing.names import Names, identifier
from signalbox.common.importing.parameters import Parameters
from signalbox.common.importing.source import Source
from signalbox.common.importing.texts import Scope
from signalbox.common.importing.tools import tool_parameters
from signalbox.common.importing.triggers import Triggers, read_triggers
from signalbox.common.pointers import Path

_MODE = ("execution_mode", "mode", "type", "exec_mode", "skill_type")
_FUNCTION = frozenset({"function", "func", "api", "http", "callable", "code", "tool"})
_AGENT = frozenset({"agent", "llm", "react", "prompt", "ai", "autonomous", ""})
_PROMPT = ("system_prompt", "prompt", "instructions", "instruction", "system_message", "agent_prompt")
_CALLABLE = ("callable", "function", "function_name", "handler", "function_path", "python", "entrypoint")
_TOOLS = ("tools", "tool_names", "available_tools", "tool_list", "tool")
_ORDER = {
    "parallel": "parallel",
    "concurrent": "parallel",
    "sequence": "sequence",
    "sequential": "sequence",
    "serial": "sequence",
}
_LABELS = ("description", "desc", "summary", "goal")


def read_skill(part: Part, draft: Draft) -> None:
    """One skill, and the intent that leads to it."""
    source = part.source
    mode_path = source.at(*_MODE)
    mode = source.text(*_MODE).strip().lower()
    description = source.text(*_LABELS)
    path = part.entry.path
    has_prompt = source.has(*_PROMPT)
    if mode not in _FUNCTION | _AGENT:
        draft.report.changed(
            mode_path, "the mode of a skill", "it is not known here; the skill is read by what else it has."
        )
        mode = "agent" if has_prompt or not source.has("url", "endpoint", *_CALLABLE) else "function"
    elif mode == "" and not has_prompt and source.has("url", "endpoint", *_CALLABLE):
        mode = "function"
    if mode in _FUNCTION:
        parameters = tool_parameters(source, draft)
        made = _function(part, parameters, draft)
    else:
        parameters = Parameters()
        made = _agent(part, description, draft)
    triggers = read_triggers(source, draft)
    for name, schema in parameters.properties.items():
        _offer(triggers.parameters.mapped, name, schema, name in parameters.required, path)
    source.close()
    if made is None:
        return
    made["description"] = description or part.label
    draft.add("skills", made, path)
    intent = triggers.intent(
        draft.names["intent"].give(part.id),
        description or part.label,
        {"skill": part.id, **_arguments(triggers)},
    )
    draft.add("intents", intent, path)


def agent_skill(skill_id: str, description: str, instructions: str, tools: list[str]) -> dict[str, Any]:
    """An agent."""
    made: dict[str, Any] = {
        "id": skill_id,
        "mode": "agent",
        "description": description,
        "instructions": instructions,
    }
    if tools:
        made["tools"] = list(dict.fromkeys(tools))
    return made


def named_tools(source: Source, draft: Draft, *names: str) -> list[str]:
    """The ids of the tools that a list names; one that there is not is reported."""
    found = []
    for entry in source.entries(*names):
        name = entry.source.text("name", "tool", "tool_name", "id", "tool_id") or entry.key
        known = draft.names["tool"].find(name)
        if known is None or known not in draft.tool_parts:
            draft.report.lost(
                entry.path, "a tool", "there is none of this name in the file.", "Add the tool by hand."
            )
        else:
            found.append(known)
    return found


def _arguments(triggers: Triggers) -> dict[str, Any]:
    return {"arguments": triggers.parameters.arguments} if triggers.parameters.arguments else {}


def _offer(mapped: dict[str, Mapped], name: str, schema: dict[str, Any], required: bool, path: Path) -> None:
    if name not in mapped and identifier(name) == name:
        mapped[name] = Mapped(name, schema, required, path=path)


def _agent(part: Part, description: str, draft: Draft) -> dict[str, Any]:
    source = part.source
    instructions = source.text(*_PROMPT)
    if not instructions.strip():
        instructions = description or f"Do what the user wants of you: {part.label}."
        draft.report.changed(
            part.entry.path, "the instructions of a skill", "it has none; its description stands for them."
        )
    tools = named_tools(source, draft, *_TOOLS)
    made = agent_skill(part.id, "", instructions, tools)
    _limits(source, made)
    order = source.text("subtask_order", "subtask_mode", "subtasks_mode", "execution_order").lower()
    if order in _ORDER:
        made["subtask_order"] = _ORDER[order]
    subtasks, words = _subtasks(part, tools, draft)
    if subtasks:
        made["subtasks"] = subtasks
    if words:
        made["instructions"] += "\n\nParts of the work:\n" + "\n".join(f"- {word}" for word in words)
    if source.has("temperature", "model", "model_name", "llm", "max_tokens"):
        path = source.at("model", "model_name", "llm", "temperature", "max_tokens")
        for name in ("temperature", "model", "model_name", "llm", "max_tokens"):
            source.take(name)
        draft.report.lost(
            path,
            "the model of a skill",
            "models are named by role, and set up by the operator.",
            "Name one under `llm.answer` if the operator's does not do.",
        )
    return made


def _limits(source: Source, made: dict[str, Any]) -> None:
    steps = source.whole("max_steps", "max_iterations", "max_rounds", "max_turns", low=1, high=100)
    if steps is not None:
        made["max_steps"] = steps
    budget: dict[str, Any] = {}
    seconds = source.number("timeout", "timeout_seconds", low=1, high=3600)
    if seconds is not None:
        budget["seconds"] = seconds
    tokens = source.whole("token_budget", "max_total_tokens", low=1, high=10_000_000)
    if tokens is not None:
        budget["tokens"] = tokens
    calls = source.whole("max_tool_calls", low=0, high=1000)
    if calls is not None:
        budget["tool_calls"] = calls
    if budget:
        made["budget"] = budget


def _subtasks(part: Part, tools: list[str], draft: Draft) -> tuple[list[dict[str, Any]], list[str]]:
    """Subtasks that are skills, or become some; and those that are words alone."""
    made: list[dict[str, Any]] = []
    words: list[str] = []
    ids = Names("subtask")
    for number, entry in enumerate(part.source.entries("subtasks", "sub_tasks", "subskills"), 1):
        source = entry.source
        name = (
            source.text("skill", "skill_id") or source.text("name", "id", "subtask_id", "title") or entry.key
        )
        source.take("name", "id", "subtask_id", "title")
        description = source.text(*_LABELS)
        prompt = source.text(*_PROMPT)
        known = draft.names["skill"].find(name)
        if known is None and not prompt:
            words.append(": ".join(text for text in (name, description) if text))
            draft.report.changed(entry.path, "a subtask", "it is a part of the skill's instructions.")
        else:
            skill = known
            if skill is None:
                skill = draft.names["skill"].give(f"{part.id}_{name}", f"{part.id}_{number}")
                own = named_tools(source, draft, *_TOOLS) if source.has(*_TOOLS) else tools
                draft.add("skills", agent_skill(skill, description or name, prompt, own), entry.path)
            if skill == part.id:
                draft.report.lost(entry.path, "a subtask", "the skill would start itself.", "Remove it.")
            else:
                made.append(
                    {
                        "id": ids.give(name, f"part_{number}"),
                        "skill": skill,
                        "description": description or name,
                    }
                )
        source.close()
    return made, words


def _function(part: Part, parameters: Parameters, draft: Draft) -> dict[str, Any] | None:
    source = part.source
    made: dict[str, Any] = {"id": part.id, "mode": "function", "description": ""}
    carried = draft.requests.read(source, parameters, part.id)
    if carried is not None:
        made["endpoint"] = carried.pop("request")
        made |= carried
    elif source.has(*_CALLABLE):
        path = source.at(*_CALLABLE)
        made["function"] = source.text(*_CALLABLE) or part.id
        draft.report.lost(
            path,
            f"what the skill `{part.id}` does",
            "functions are installed beside Signalbox, not named by a path.",
            f"Install it under the entry point `signalbox.functions` as `{made['function']}`.",
        )
    elif not _from_tool(part, made, parameters, draft):
        draft.report.lost(
            part.entry.path,
            f"the skill `{part.id}`",
            "it has no URL, no function and no one tool to call.",
            "Write it by hand.",
        )
        return None
    if parameters.properties:
        made["input_schema"] = parameters.schema()
    path = source.at("reply", "response_template", "reply_template", "response", "output_template", "message")
    reply = draft.texts.localized(
        source.take("reply", "response_template", "reply_template", "response", "output_template", "message"),
        path,
        _reply_scope(parameters),
    )
    if reply:
        made["reply"] = reply
    prompt = source.at(*_PROMPT)
    if source.text(*_PROMPT):
        draft.report.lost(
            prompt,
            "the prompt of a function",
            "no model takes part in one.",
            "Make it a skill of mode `agent` with the function as a tool.",
        )
    for entry in source.entries("subtasks", "sub_tasks"):
        draft.report.lost(entry.path, "a subtask", "a function has none.", "Make the skill an agent.")
    return made


def _from_tool(part: Part, made: dict[str, Any], parameters: Parameters, draft: Draft) -> bool:
    """A function that is one tool: its request is the tool's."""
    names = named_tools(part.source, draft, *_TOOLS)
    if len(names) != 1:
        return False
    tool = next((tool for tool in draft.tools if tool["id"] == names[0]), None)
    if tool is None:
        return False
    if "python" in tool:
        made["function"] = tool["python"]
        draft.report.lost(
            part.entry.path,
            f"what the skill `{part.id}` does",
            "its tool is a name alone.",
            f"Install a function under `signalbox.functions` as `{tool['python']}`.",
        )
    else:
        made["endpoint"] = tool["request"]
        made |= {
            key: tool[key] for key in ("auth", "timeout_ms", "retry", "response", "idempotent") if key in tool
        }
    if not parameters.properties:
        parameters.properties |= tool["parameters"].get("properties", {})
        parameters.required += tool["parameters"].get("required", [])
    return True


def _reply_scope(parameters: Parameters) -> Scope:
    roots = {
        "result": "output",
        "output": "output",
        "response": "output",
        "data": "output",
        "context": "context",
    }
    given = {name: f"arguments.{name}" for name in parameters.properties}
    return Scope({**given, **roots, "arguments": "arguments"}, answer="output")
