"""``action_books``: a condition, and what is done where it holds. Each becomes an intent."""

import re
from typing import Any

from signalbox.common.importing.draft import Draft, Part
from signalbox.common.importing.skills import agent_skill
from signalbox.common.importing.source import Source
from signalbox.common.importing.step_words import ACTION_TYPES
from signalbox.common.importing.triggers import Triggers, read_triggers

_CONDITION = ("condition", "when", "scenario", "situation")
_TYPE = ("action_type", "type")
_TARGET = ("action_target", "target", "action", "action_name")
_PROMPT = ("action_prompt", "prompt", "instruction", "instructions")
_REPLY = ("reply", "message", "response", "text", "content")
_ALWAYS = frozenset({"always", "every turn", "every message", "any", "all", "总是", "始终", "任何情况"})
_ON_STATE = re.compile(r"(?:==|!=|>=|<=|<|>|\bturn_count\b|\bsentiment\b\s*=)")
_CONTAINS = re.compile(
    r"\A\s*(?:keywords?|contains|include|包含|关键词)\s*[:：]\s*(?P<words>.+)\Z", re.IGNORECASE | re.DOTALL
)
_REGEX = re.compile(r"\A\s*(?:regex|pattern|正则)\s*[:：]\s*(?P<pattern>.+)\Z", re.IGNORECASE | re.DOTALL)
_REPLIES = frozenset(
    {"reply", "message", "response", "text", "fixed_reply", "fixed", "static", "say", "answer", "respond"}
)
_MODELS = frozenset({"prompt", "llm", "generate", "instruction", "model", "ai", "guide", ""})


def read_book(part: Part, draft: Draft) -> None:
    """One entry."""
    source = _spelled(part.source)
    path = part.entry.path
    triggers = read_triggers(source, draft)
    condition_path = source.at(*_CONDITION)
    condition = source.text(*_CONDITION).strip()
    kind = source.text(*_TYPE).strip().lower()
    target = source.text(*_TARGET).strip()
    prompt_path = source.at(*_PROMPT)
    prompt = source.text(*_PROMPT).strip()
    reply = draft.texts.localized(source.take(*_REPLY), source.at(*_REPLY), draft.scope)
    description = condition or source.text("description", "desc")
    source.take("description")
    source.close()
    if condition.lower() in _ALWAYS and prompt:
        draft.instructions.setdefault("constraints", []).append(prompt)
        draft.report.changed(
            path, "an action book that always holds", "it is one of the constraints of models."
        )
        return
    if not triggers.any and _ON_STATE.search(condition):
        draft.report.lost(
            condition_path,
            "a condition on the state of a conversation",
            "intents are about what a message means.",
            "Branch on it in a flow.",
        )
        return
    if not triggers.any and not description:
        draft.report.lost(
            path, "an action book", "it does not say when it holds.", "Write an intent by hand."
        )
        return
    if kind in _REPLIES and not reply:
        reply, prompt = draft.texts.localized(prompt or target, prompt_path, draft.scope), ""
    then = (
        {"reply": reply}
        if reply and kind in _REPLIES
        else _route(part, kind, target, prompt, description, draft)
    )
    if then is None:
        return
    if reply and "reply" not in then:
        draft.report.lost(
            source.at(*_REPLY),
            "the words of an action book",
            "what it leads to speaks for itself.",
            "Say it there.",
        )
    _add(part, triggers, description, then, draft)


def _add(part: Part, triggers: Triggers, description: str, then: dict[str, Any], draft: Draft) -> None:
    arguments = triggers.parameters.arguments
    if arguments and "reply" not in then:
        then = {**then, "arguments": {**arguments, **then.get("arguments", {})}}
    intent = triggers.intent(draft.names["intent"].give(part.id), description, then)
    draft.add("intents", intent, part.entry.path)


def _route(
    part: Part, kind: str, target: str, prompt: str, description: str, draft: Draft
) -> dict[str, Any] | None:
    """Where it leads; None, and a note, where there is nothing to lead to."""
    path = part.entry.path
    tool, skill = draft.names["tool"].find(target), draft.names["skill"].find(target)
    flow = draft.names["flow"].find(target)
    flows = {each["id"] for each in draft.flows}
    skills = {each["id"]: each for each in draft.skills}
    action = next(
        (each["id"] for each in draft.actions if each["id"] == draft.names["action"].find(target)), None
    )
    if action is None and ACTION_TYPES.get((target or kind).lower()) in ("handoff", "close"):
        action = draft.action(ACTION_TYPES[(target or kind).lower()], path)
    if flow in flows and kind in ("flow", "workflow", "start_flow", "trigger_flow", *_MODELS):
        _unspoken(part, prompt, draft)
        return {"flow": flow}
    if flow is not None and flow not in flows and flow in skills:
        skill = flow
    if skill in skills and not kind.startswith(("tool", "system")):
        if prompt and skills[skill]["mode"] == "agent":
            draft.report.changed(
                path, "the prompt of an action book", "the skill gets it as the argument `instruction`."
            )
            return {"skill": skill, "arguments": {"instruction": prompt.replace("{", "(").replace("}", ")")}}
        _unspoken(part, prompt, draft)
        return {"skill": skill}
    if action is not None and not kind.startswith("tool"):
        _unspoken(part, prompt, draft)
        return {"action": action}
    if tool in draft.tool_parts or (prompt and (kind in _MODELS or not target)):
        return {
            "skill": _answering(part, description, prompt, [tool] if tool in draft.tool_parts else [], draft)
        }
    draft.report.lost(
        path,
        "where an action book leads",
        "there is no flow, skill, tool or action of this name in the file.",
        "Write the intent by hand.",
    )
    return None


def _answering(part: Part, description: str, prompt: str, tools: list[str | None], draft: Draft) -> str:
    """A skill that follows the prompt, with the tool if there is one."""
    skill = draft.names["skill"].give(part.id)
    given = [tool for tool in tools if tool is not None]
    instructions = prompt or f"{description}\nUse the tool {', '.join(given)} and tell the user what it says."
    draft.add("skills", agent_skill(skill, description, instructions, given), part.entry.path)
    draft.report.changed(
        part.entry.path, "what an action book does", f"it is the skill `{skill}`, which a model carries out."
    )
    return skill


def _unspoken(part: Part, prompt: str, draft: Draft) -> None:
    if prompt:
        draft.report.lost(
            part.entry.path,
            "the prompt of an action book",
            "what it leads to speaks for itself.",
            "Write the words into the flow, the skill or the action.",
        )


def _spelled(source: Source) -> Source:
    """The entry, with a condition that is written as a rule (``regex: ...``, ``contains: ...``) among its triggers."""
    for key, value in source.value.items():
        if not isinstance(value, str) or key.lower() not in _CONDITION:
            continue
        for spelled, name in ((_REGEX, "patterns"), (_CONTAINS, "keywords")):
            found = spelled.match(value)
            if found is not None and name not in source.value:
                return source.renamed(key, name, [found[1].strip()])
    return source
