"""What the ``match`` model is asked, and the form that its answer has."""

from collections.abc import Sequence
from typing import Any

from signalbox.contracts.config import Intent, Parameter
from signalbox.contracts.context import ChatMessage
from signalbox.contracts.llm import Message
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.language import detected_language

NO_INTENT = "none"
MESSAGES_SHOWN = 6
"""Of the conversation before the message: enough for "and the other one?", too few to distract."""
_CHARACTERS_SHOWN = 600
_EXAMPLES_SHOWN = 3
_JSON_TYPES: dict[str, str] = {
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "list": "array",
}


def match_prompt(config: WorkflowConfig, intents: Sequence[Intent]) -> str:
    """The system prompt: the same for every message of a small snapshot, so that providers can cache it."""
    lines = [
        f"You route messages of users to intents of the assistant '{config.name}'.",
        config.description,
        f"Procedure: {config.instructions.procedure}" if config.instructions.procedure else "",
        (
            "Name the one intent that the message has, how sure you are (0 to 1), in 'alternatives' the other intents "
            "that it may have as well, the likeliest first, and the parameters that the message itself contains, "
            "copied as they are written there. Leave out of 'alternatives' what is unlikely. Use null for a "
            f"parameter that the message does not contain. Name '{NO_INTENT}' when no intent fits."
        ),
        "",
        "Intents:",
    ]
    for intent in intents:
        examples = "; ".join(_varied(intent.when.examples))
        lines.append(f"- {intent.id}: {intent.description}" + (f" Examples: {examples}" if examples else ""))
        for name, parameter in intent.parameters.items():
            values = f", one of {', '.join(parameter.values)}" if parameter.values else ""
            lines.append(f"    {name} ({parameter.type}{values}): {parameter.description}")
    return "\n".join(lines)


def match_messages(
    config: WorkflowConfig, intents: Sequence[Intent], text: str, earlier: Sequence[ChatMessage]
) -> list[Message]:
    """The chat: the prompt and the message, with the end of the conversation before it where there is one."""
    asked = text
    if earlier:
        shown = [f"{turn.role}: {turn.text[:_CHARACTERS_SHOWN]}" for turn in earlier[-MESSAGES_SHOWN:]]
        asked = "\n".join(
            ["The conversation so far:", *shown, "", "Route the message that follows on it:", text]
        )
    return [
        Message(role="system", content=match_prompt(config, intents)),
        Message(role="user", content=asked),
    ]


def response_format(intents: Sequence[Intent], alternatives: int) -> dict[str, Any]:
    """The JSON schema of the answer, within the subset that strict structured output takes everywhere."""
    names = [*(intent.id for intent in intents), NO_INTENT]
    sure = {"type": "number", "minimum": 0, "maximum": 1}
    other = _object({"intent": {"type": "string", "enum": names[:-1]}, "confidence": sure})
    declared: dict[str, list[dict[str, Any]]] = {}
    for intent in intents:
        for name, parameter in intent.parameters.items():
            forms = declared.setdefault(name, [])
            form = _parameter_form(parameter)
            if form not in forms:
                forms.append(form)
    parameters = {name: {"anyOf": [{"type": "null"}, *forms]} for name, forms in declared.items()}
    schema = _object(
        {
            "intent": {"type": "string", "enum": names},
            "confidence": sure,
            "alternatives": {"type": "array", "items": other, "minItems": 0, "maxItems": alternatives},
            "parameters": _object(parameters),
        }
    )
    return {"type": "json_schema", "json_schema": {"name": "intent", "schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _parameter_form(parameter: Parameter) -> dict[str, Any]:
    if parameter.type == "enum" and parameter.values:
        return {"type": "string", "enum": parameter.values}
    kind = _JSON_TYPES.get(parameter.type, "string")
    return {"type": kind, "items": {"type": "string"}} if kind == "array" else {"type": kind}


def _varied(examples: list[str]) -> list[str]:
    """A few examples, in as many scripts as there are: one of each first, then more in their order."""
    first = {detected_language(example): example for example in reversed(examples)}
    chosen = [example for example in examples if example in first.values()]
    rest = [example for example in examples if example not in chosen]
    return [*chosen, *rest][: max(_EXAMPLES_SHOWN, len(chosen))]
