"""The order of cost: rules (microseconds), then examples (a fraction of a millisecond), then a model."""

import time
from dataclasses import field
from typing import TYPE_CHECKING, Any

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.rules import normalise
from signalbox.contracts.config import Intent
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import Stage
from signalbox.workflow.matching.llm_matcher import LlmMatcher
from signalbox.workflow.roles import RoleModels

if TYPE_CHECKING:
    # A snapshot holds compiled rules, which are a part of matching too.
    from signalbox.workflow.snapshot import WorkflowSnapshot

_DEFAULT_ACCEPT = 0.5
"""Confidence from which a model's decision is routed, where the snapshot was built without a threshold."""

_LIKELIER_THAN_NOT = 0.5
"""Examples' score from which their guess would do where no model can be asked."""


@record
class Decided:
    """What a message means. Without an intent nothing fitted; ``failure`` says why a stage could not be asked."""

    stage: Stage
    intent: Intent | None = None
    score: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    took_us: int = 0
    usage: UsageData | None = None
    failure: str | None = None


@record
class Guess:
    """What examples say about a message that they are not sure enough of to route it."""

    likely: tuple[str, ...] = ()
    """Intents, best first; empty where the message is like no example."""
    best: Decided | None = None
    """The first of them, where it would do if no model can be asked."""


class Matcher:
    """Decides what a message means."""

    def __init__(self, models: LlmMatcher, roles: RoleModels) -> None:
        self._models = models
        self._roles = roles

    def by_rule(self, snapshot: "WorkflowSnapshot", message: str) -> Decided | None:
        """What rules say; None when none fires.

        Raises:
            RulesOutOfMemory: the answer is not known.
        """
        started = time.perf_counter_ns()
        hit = snapshot.rules.match(normalise(message))
        if hit is None:
            return None
        took_us = (time.perf_counter_ns() - started) // 1000
        return Decided("rule", hit.intent, 1.0, hit.parameters, took_us)

    async def by_example(self, snapshot: "WorkflowSnapshot", message: str) -> Decided | Guess:
        """What examples say: a decision where they are sure, else what they leave to a model."""
        if snapshot.examples is None:
            return Guess()
        text = normalise(message)
        started = time.perf_counter_ns()
        ranking = await snapshot.examples.rank(text)
        if ranking is None or not ranking.in_scope:
            return Guess()
        thresholds = snapshot.config.policies.thresholds
        accept = ranking.accept if thresholds.accept is None else thresholds.accept
        if ranking.score < min(accept, max(thresholds.clarify, _LIKELIER_THAN_NOT)):
            return Guess(ranking.intents)
        intent = next(entry for entry in snapshot.config.intents if entry.id == ranking.intents[0])
        parameters = snapshot.rules.parameters(intent, text, {})
        if any(declared.required and name not in parameters for name, declared in intent.parameters.items()):
            # A model may find in the message what no pattern does.
            return Guess(ranking.intents)
        best = Decided("example", intent, round(ranking.score, 4), parameters, _since(started))
        return best if ranking.score >= accept else Guess(ranking.intents, best)

    async def by_model(
        self,
        snapshot: "WorkflowSnapshot",
        message: str,
        context: CallContext,
        principal: Principal,
        guess: Guess,
    ) -> Decided:
        """What the ``match`` model says, else examples' best guess.

        A model that fails is a decision without an intent, not an error.
        """
        started = time.perf_counter_ns()
        if not snapshot.config.intents:
            return Decided("none")
        try:
            model = await self._roles.model_for(snapshot.config, "match", principal)
            if model is None:
                return guess.best or Decided("none", failure="no_model")
            found = await self._models.match(
                snapshot.config, message, context, principal, model, guess.likely
            )
        except SignalboxError as error:
            return guess.best or Decided("none", took_us=_since(started), failure=error.problem().code)
        accept = snapshot.config.policies.thresholds.accept
        accepted = found.confidence >= (_DEFAULT_ACCEPT if accept is None else accept)
        if found.intent is None or not accepted:
            return Decided("none", None, found.confidence, {}, _since(started), found.usage)
        # A model may invent parameters; only those that the intent declares count.
        given = {name: found.parameters.get(name) for name in found.intent.parameters}
        parameters = snapshot.rules.parameters(found.intent, normalise(message), given)
        return Decided("llm", found.intent, found.confidence, parameters, _since(started), found.usage)


def _since(started_ns: int) -> int:
    return (time.perf_counter_ns() - started_ns) // 1000
