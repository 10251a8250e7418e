"""Understanding by model: a structured answer that names one intent, or none, with its parameters."""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import ConfigDict, Field, ValidationError

from signalbox.common.clients import CallLabels, GatewayClient
from signalbox.common.record import record
from signalbox.contracts.base import WireModel
from signalbox.contracts.config import Intent
from signalbox.contracts.context import ChatMessage
from signalbox.contracts.events import UsageData
from signalbox.contracts.llm import ChatRequest
from signalbox.workflow.matching.incoming import Candidate, Incoming
from signalbox.workflow.matching.plan_cache import Likely, ModelPlan, PlanCache
from signalbox.workflow.matching.prompt import NO_INTENT, match_messages, response_format

_NARROWED_FROM = 20
"""From so many intents on a model sees only those that examples leave."""


class _Alternative(WireModel):
    intent: str
    confidence: float = Field(ge=0, le=1)


class _Answer(WireModel):
    """What the model answered."""

    intent: str
    confidence: float = Field(default=0.0, ge=0, le=1)
    alternatives: list[_Alternative] = []
    parameters: dict[str, Any] = {}


class MatchChat(ChatRequest):
    """The request for a decision, with whatever the workflow adds for its provider."""

    model_config = ConfigDict(extra="allow")


@record
class LlmMatch:
    """A model's decision: intents of the config, the best first; none where nothing fits."""

    candidates: tuple[Candidate, ...]
    usage: tuple[UsageData, ...]
    """Empty where it was decided before."""
    cached: bool = False


class LlmMatcher:
    """Asks the ``match`` role which intent a message has."""

    def __init__(self, gateway: GatewayClient, plans: PlanCache) -> None:
        self._gateway = gateway
        self._plans = plans

    async def match(
        self,
        incoming: Incoming,
        model: str,
        likely: Sequence[str] = (),
        earlier: Sequence[ChatMessage] = (),
    ) -> LlmMatch:
        """The model's decision on one message.

        ``likely`` are the intents that examples leave, best first; where there are many others, the model sees
        only these and those without examples. ``earlier`` is the conversation that it sees; without one the decision
        is kept, and found again.

        Raises:
            SignalboxError: the gateway or the provider failed.
        """
        intents = shown(incoming.snapshot.config.intents, likely)
        request = _request(incoming, intents, model, earlier)
        if earlier:
            plan, used, _ = await self._ask(incoming, request, "match/context")
            return LlmMatch(self._candidates(incoming, intents, plan), (used,))
        tenant, seen = incoming.context.tenant, _seen(request)
        known = await self._plans.get(tenant, seen, incoming.text)
        if known is not None:
            return LlmMatch(self._candidates(incoming, intents, known), (), cached=True)
        plan, used, whole = await self._ask(incoming, request, "match")
        declared = {intent.id: intent.parameters for intent in intents} | {NO_INTENT: {}}
        if whole and plan.likely[0].intent in declared:
            named = [declared.get(entry.intent, {}) for entry in reversed(plan.likely)]
            parameters = {name: parameter for part in named for name, parameter in part.items()}
            await self._plans.put(tenant, seen, incoming.text, plan, parameters)
        return LlmMatch(self._candidates(incoming, intents, plan), (used,))

    async def known(self, incoming: Incoming, model: str, likely: Sequence[str] = ()) -> LlmMatch | None:
        """What was decided before about the message alone; None where a model would have to be asked."""
        intents = shown(incoming.snapshot.config.intents, likely)
        seen = _seen(_request(incoming, intents, model, ()))
        plan = await self._plans.get(incoming.context.tenant, seen, incoming.text)
        return None if plan is None else LlmMatch(self._candidates(incoming, intents, plan), (), cached=True)

    async def _ask(
        self, incoming: Incoming, request: MatchChat, step: str
    ) -> tuple[ModelPlan, UsageData, bool]:
        """The plan, what it cost, and whether the model answered in the form that it was asked for."""
        context = incoming.context
        labels = CallLabels(
            idempotency_key=f"{context.turn_id}/{step}",
            session_id=context.session_id,
            workflow_id=context.workflow_id,
            user_id=context.user_id or "",
        )
        answer = await self._gateway.chat(request, incoming.principal, labels)
        content = answer.reply.choices[0].message.content if answer.reply.choices else None
        decision = _parse(content if isinstance(content, str) else "")
        if decision is None:
            return ModelPlan(likely=[]), answer.usage, False
        named = [(decision.intent, decision.confidence)]
        named += [(other.intent, other.confidence) for other in decision.alternatives]
        likely = [Likely(intent=intent, confidence=confidence) for intent, confidence in named]
        return ModelPlan(likely=likely, parameters=decision.parameters), answer.usage, True

    def _candidates(
        self, incoming: Incoming, intents: Sequence[Intent], plan: ModelPlan
    ) -> tuple[Candidate, ...]:
        """The plan's intents, each with those of the parameters that it declares.

        The first is the model's choice, whatever it says of others; one that fits nothing has no candidates.
        """
        known = {intent.id: intent for intent in intents}
        if not plan.likely or plan.likely[0].intent not in known:
            return ()
        scores: dict[str, float] = {}
        for entry in plan.likely:
            if entry.intent in known:
                scores.setdefault(entry.intent, entry.confidence)
        return tuple(
            candidate(incoming, known[name], score, plan.parameters) for name, score in scores.items()
        )


def candidate(incoming: Incoming, intent: Intent, score: float, given: dict[str, Any]) -> Candidate:
    """An intent with its parameters: of those given the ones that it declares, and what its patterns find."""
    # A model may invent parameters; only those that the intent declares count.
    declared = {name: given.get(name) for name in intent.parameters}
    parameters = incoming.snapshot.rules.parameters(intent, incoming.text, declared, incoming.today)
    return Candidate(intent, round(score, 4), parameters)


def _seen(request: MatchChat) -> bytes:
    """Everything that the model sees."""
    return orjson.dumps(request.model_dump(exclude_none=True))


def _request(
    incoming: Incoming, intents: Sequence[Intent], model: str, earlier: Sequence[ChatMessage]
) -> MatchChat:
    config = incoming.snapshot.config
    role = config.llm.match
    alternatives = config.policies.disambiguation.max_options - 1
    return MatchChat(
        **{
            **(role.extra if role else {}),
            "model": model,
            "messages": match_messages(config, intents, incoming.text, earlier),
            "response_format": response_format(intents, alternatives),
            "temperature": role.temperature if role and role.temperature is not None else 0.0,
            "max_tokens": role.max_output_tokens if role else None,
        }
    )


def shown(intents: Sequence[Intent], likely: Sequence[str]) -> list[Intent]:
    """All intents where they are few, so that the prompt stays the same; else the likely and the unlearned ones."""
    if not likely or len(intents) < _NARROWED_FROM:
        return list(intents)
    return [intent for intent in intents if intent.id in likely or not intent.when.examples]


def _parse(content: str) -> _Answer | None:
    """The answer; None for one in another form, which is no intent, not an error: the fallback says so to the user."""
    try:
        return _Answer.model_validate(orjson.loads(content))
    except (orjson.JSONDecodeError, ValidationError):
        return None
