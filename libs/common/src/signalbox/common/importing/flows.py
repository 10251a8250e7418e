"""Flows: their slots, their steps, and the intent that starts them."""

from typing import Any

from signalbox.common.importing.draft import Draft, Part
from signalbox.common.importing.mapping import Mapped
from signalbox.common.importing.parameters import slot_type
from signalbox.common.importing.skills import agent_skill
from signalbox.common.importing.steps import FlowSteps
from signalbox.common.importing.triggers import Triggers, read_triggers

_STEPS = ("steps", "nodes", "stages", "actions")
_ASK = {"en": "Please tell me: {name}.", "zh": "请提供{name}。"}


def read_flow(part: Part, draft: Draft) -> None:
    """One flow and its intent. A flow whose steps are sentences is a procedure for an agent."""
    source = part.source
    triggers = read_triggers(source, draft)
    description = source.text("description", "desc", "summary", "goal") or part.label
    raw = source.value.get(next((name for name in _STEPS if source.has(name)), "steps"))
    prose = _prose(raw, draft)
    if prose:
        source.take(*_STEPS)
        _procedure(part, triggers, description, prose, draft)
        source.close()
        return
    made: dict[str, Any] = {"id": part.id, "description": description}
    steps = FlowSteps(part, triggers.parameters.mapped, draft)
    written = steps.write(source.entries(*_STEPS, words="type"))
    on_error = steps.on_error(source)
    if source.has("cancellable", "can_cancel", "interruptible"):
        made["cancellable"] = source.flag("cancellable", "can_cancel", "interruptible", default=True)
    source.close()
    if not written:
        draft.report.lost(
            part.entry.path,
            f"the flow `{part.id}`",
            "it has no step that can be carried over.",
            "Write its steps by hand.",
        )
        return
    asked = {step["slot"] for step in written if step["type"] == "ask"}
    first = [
        {"type": "ask", "slot": name}
        for name, mapped in triggers.parameters.mapped.items()
        if mapped.required and mapped.expression is None and name not in asked
    ]
    slots = [_slot(mapped, draft) for mapped in triggers.parameters.mapped.values()]
    if slots:
        made["slots"] = slots
    made["steps"] = [*first, *written]
    if on_error is not None:
        made["on_error"] = on_error
    draft.add("flows", made, part.entry.path)
    then: dict[str, Any] = {"flow": part.id}
    if triggers.parameters.arguments:
        then["arguments"] = triggers.parameters.arguments
    draft.add(
        "intents", triggers.intent(draft.names["intent"].give(part.id), description, then), part.entry.path
    )


def _slot(mapped: Mapped, draft: Draft) -> dict[str, Any]:
    made = {"id": mapped.name, **slot_type(mapped.schema)}
    if made["type"] == "enum":
        made["values"] = [{"value": value} for value in made["values"]]
    description = mapped.schema.get("description")
    if description:
        made["description"] = str(description)
    if mapped.schema.get("default") is not None:
        made["default"] = mapped.schema["default"]
    if not mapped.required:
        made["required"] = False
    prompt = draft.texts.localized(mapped.prompt, mapped.path, draft.scope) if mapped.prompt else None
    if prompt is None and mapped.required:
        said = description or mapped.name.replace("_", " ")
        texts = {
            tag: _ASK["zh" if tag.startswith("zh") else "en"].format(name=said) for tag in draft.languages
        }
        prompt = texts if len(texts) > 1 else next(iter(texts.values()))
        if mapped.expression is None:
            draft.report.changed(
                mapped.path, f"the question for `{mapped.name}`", "the file has none; one was made up."
            )
    if prompt is not None:
        made["prompt"] = prompt
    return made


def _prose(raw: Any, draft: Draft) -> list[str]:
    """The steps, where all of them are sentences and none the name of a tool."""
    if not isinstance(raw, list) or not raw or not all(isinstance(step, str) for step in raw):
        return []
    return [] if any(draft.names["tool"].find(step) for step in raw) else list(raw)


def _procedure(part: Part, triggers: Triggers, description: str, prose: list[str], draft: Draft) -> None:
    draft.report.changed(
        part.entry.path,
        f"the flow `{part.id}`",
        "its steps are sentences: it is a skill that a model carries out.",
    )
    skill = draft.names["skill"].give(part.id)
    listed = "\n".join(f"{number}. {step}" for number, step in enumerate(prose, 1))
    tools = [name for name in draft.tool_parts if any(name in step for step in prose)]
    draft.add("skills", agent_skill(skill, description, f"{description}\n\n{listed}", tools), part.entry.path)
    then: dict[str, Any] = {"skill": skill}
    draft.add(
        "intents", triggers.intent(draft.names["intent"].give(part.id), description, then), part.entry.path
    )
