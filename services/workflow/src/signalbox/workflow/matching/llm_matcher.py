"""Understanding by model: a structured answer that names one intent, or none, with its parameters."""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import Field, ValidationError

from signalbox.common.clients import CallLabels, GatewayClient
from signalbox.common.record import record
from signalbox.contracts.base import WireModel
from signalbox.contracts.config import Intent
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ChatRequest, Message
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.workflow.language import detected_language

NO_INTENT = "none"
_EXAMPLES_SHOWN = 3
_NARROWED_FROM = 20
"""From so many intents on a model sees only those that examples leave."""


class LlmDecision(WireModel):
    """What the model answered."""

    intent: str
    confidence: float = Field(default=0.0, ge=0, le=1)
    parameters: dict[str, Any] = {}


@record
class LlmMatch:
    """A model's decision, its intent checked against the config."""

    intent: Intent | None
    confidence: float
    parameters: dict[str, Any]
    usage: UsageData


class LlmMatcher:
    """Asks the ``match`` role which intent a message has."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    async def match(
        self,
        config: WorkflowConfig,
        message: str,
        context: CallContext,
        principal: Principal,
        model: str,
        likely: Sequence[str] = (),
    ) -> LlmMatch:
        """The model's decision on one message, without the conversation before it.

        ``likely`` are the intents that examples leave, best first; where there are many others, the model sees
        only these and those without examples.

        Raises:
            SignalboxError: the gateway or the provider failed.
        """
        role = config.llm.match
        intents = _candidates(config.intents, likely)
        request = ChatRequest(
            model=model,
            messages=[
                Message(role="system", content=match_prompt(config, intents)),
                Message(role="user", content=message),
            ],
            response_format=_response_format(intents),
            temperature=role.temperature if role and role.temperature is not None else 0.0,
            max_tokens=role.max_output_tokens if role else None,
        )
        labels = CallLabels(
            idempotency_key=f"{context.turn_id}/match",
            session_id=context.session_id,
            workflow_id=context.workflow_id,
            user_id=context.user_id or "",
        )
        answer = await self._gateway.chat(request, principal, labels)
        content = answer.reply.choices[0].message.content if answer.reply.choices else None
        decision = _parse(content if isinstance(content, str) else "")
        intent = next((entry for entry in config.intents if entry.id == decision.intent), None)
        confidence = decision.confidence if intent is not None else 0.0
        return LlmMatch(intent, confidence, decision.parameters, answer.usage)


def _candidates(intents: Sequence[Intent], likely: Sequence[str]) -> list[Intent]:
    """All intents where they are few, so that the prompt stays the same; else the likely and the unlearned ones."""
    if not likely or len(intents) < _NARROWED_FROM:
        return list(intents)
    return [intent for intent in intents if intent.id in likely or not intent.when.examples]


def match_prompt(config: WorkflowConfig, intents: Sequence[Intent]) -> str:
    """The system prompt: the same for every message of a small snapshot, so that providers can cache it."""
    lines = [
        f"You route messages of users to intents of the assistant '{config.name}'.",
        config.description,
        f"Procedure: {config.instructions.procedure}" if config.instructions.procedure else "",
        (
            "Name the one intent that the message has, how sure you are (0 to 1), and the parameters that the "
            f"message itself contains. Name '{NO_INTENT}' when no intent fits."
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


def _varied(examples: list[str]) -> list[str]:
    """A few examples, in as many scripts as there are: one of each first, then more in their order."""
    first = {detected_language(example): example for example in reversed(examples)}
    chosen = [example for example in examples if example in first.values()]
    rest = [example for example in examples if example not in chosen]
    return [*chosen, *rest][: max(_EXAMPLES_SHOWN, len(chosen))]


def _response_format(intents: Sequence[Intent]) -> dict[str, Any]:
    names = [intent.id for intent in intents]
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "intent",
            "schema": {
                "type": "object",
                "properties": {
                    "intent": {"type": "string", "enum": [*names, NO_INTENT]},
                    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                    "parameters": {"type": "object"},
                },
                "required": ["intent", "confidence", "parameters"],
            },
        },
    }


def _parse(content: str) -> LlmDecision:
    """The decision; an answer that is not one is no intent, not an error: the fallback says so to the user."""
    try:
        return LlmDecision.model_validate(orjson.loads(content))
    except (orjson.JSONDecodeError, ValidationError):
        return LlmDecision(intent=NO_INTENT)
