"""The order of cost: rules (microseconds), then examples (a fraction of a millisecond), then a model."""

from contextlib import suppress
from dataclasses import replace

from signalbox.common.errors import SignalboxError
from signalbox.workflow.matching.incoming import Candidate, Decided, Guess, Incoming
from signalbox.workflow.matching.llm_matcher import LlmMatch, LlmMatcher, candidate
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.matching.thresholds import is_sure, named
from signalbox.workflow.roles import RoleModels

_DEFAULT_ACCEPT = 0.5
"""Confidence from which a model's decision is routed, where the workflow does not say."""

_NO_MODEL = "no_model"

_LIKELIER_THAN_NOT = 0.5
"""Examples' score from which their guess does where no model can be asked, nor the user."""


class Matcher:
    """Decides what a message means."""

    def __init__(self, models: LlmMatcher, roles: RoleModels, vectors: MessageVectors) -> None:
        self._models = models
        self._roles = roles
        self._vectors = vectors

    def by_rule(self, incoming: Incoming) -> Decided | None:
        """What rules say; None when none fires.

        Raises:
            RulesOutOfMemory: the answer is not known.
        """
        hit = incoming.snapshot.rules.match(incoming.text, incoming.today)
        if hit is None:
            return None
        return Decided("rule", hit.intent, 1.0, hit.parameters, incoming.took_us())

    async def by_example(self, incoming: Incoming) -> Decided | Guess:
        """What examples say: a decision where they are sure, else what they leave to a model."""
        snapshot = incoming.snapshot
        if snapshot.examples is None:
            return Guess()
        ranking = await snapshot.examples.rank(incoming.text, self._vectors.of(incoming))
        if ranking is None or not ranking.in_scope:
            return Guess()
        policies = snapshot.config.policies
        accept = ranking.accept if policies.thresholds.accept is None else policies.thresholds.accept
        intents = {intent.id: intent for intent in snapshot.config.intents}
        scored = zip(ranking.intents, ranking.scores, strict=True)
        candidates = [candidate(incoming, intents[name], score, {}) for name, score in scored]
        best = candidates[0]
        complete = _complete(best)
        sure = is_sure(candidates, accept, policies)
        if sure and complete:
            return Decided("example", best.intent, best.score, best.parameters, incoming.took_us())
        return Guess(ranking.intents, (best,) if sure else named(candidates, policies), complete)

    async def by_model(self, incoming: Incoming, guess: Guess) -> Decided:
        """What the ``match`` model says, else examples' best guess.

        The model sees the message alone. Where that leaves it unsure and there is a conversation, it is asked once
        more, with the end of that. A model that fails is a decision without an intent, not an error.
        """
        config = incoming.snapshot.config
        if not config.intents:
            return Decided("none", took_us=incoming.took_us())
        if (refusal := await incoming.allowance.refusal()) is not None:
            return await self._from_before(incoming, guess) or _without_model(incoming, guess, refusal)
        failure = None
        try:
            model = await self._roles.model_for(config, "match", incoming.principal)
            if model is None:
                return _without_model(incoming, guess, _NO_MODEL)
            found = await self._models.match(incoming, model, guess.likely)
        except SignalboxError as error:
            failure = error.problem().code
            cheaper = await self._cheaper(incoming, guess)
            if cheaper is None:
                return _without_model(incoming, guess, failure)
            model, found = cheaper
        decided = _judged(incoming, found, guess)
        if decided.intent is None:
            decided = await self._with_conversation(incoming, model, decided, guess)
        return decided if failure is None else replace(decided, failure=failure)

    async def _from_before(self, incoming: Incoming, guess: Guess) -> Decided | None:
        """The decision that a model made of the same before, where it is clear: it costs nothing."""
        with suppress(SignalboxError):
            model = await self._roles.model_for(incoming.snapshot.config, "match", incoming.principal)
            found = None if model is None else await self._models.known(incoming, model, guess.likely)
            decided = None if found is None else _judged(incoming, found, guess)
            return decided if decided is not None and (decided.intent or decided.candidates) else None
        return None

    async def _cheaper(self, incoming: Incoming, guess: Guess) -> tuple[str, LlmMatch] | None:
        """What the model for when the usual one is exhausted says, and its name; None where there is none that does."""
        model = incoming.snapshot.config.policies.degradation.model
        if model is None:
            return None
        with suppress(SignalboxError):
            return model, await self._models.match(incoming, model, guess.likely)
        return None

    async def _likely(self, incoming: Incoming, text: str) -> tuple[str, ...]:
        """The intents that examples find likely for a message and the one before it."""
        examples = incoming.snapshot.examples
        ranking = None if examples is None else await examples.rank(text, self._vectors.of(incoming))
        return () if ranking is None else ranking.intents

    async def _with_conversation(
        self, incoming: Incoming, model: str, alone: Decided, guess: Guess
    ) -> Decided:
        """The decision with the conversation in sight, where the one on the message ``alone`` is not sure."""
        earlier = await incoming.history()
        if not earlier:
            return alone
        said = next((turn.text for turn in reversed(earlier) if turn.role == "user"), "")
        likely = await self._likely(incoming, f"{said} {incoming.text}")
        try:
            found = await self._models.match(incoming, model, likely, earlier)
        except SignalboxError:
            # What is known is still worth asking about.
            return replace(alone, took_us=incoming.took_us())
        decided = _judged(incoming, found, guess)
        return replace(decided, usage=(*alone.usage, *decided.usage))


def _judged(incoming: Incoming, found: LlmMatch, guess: Guess) -> Decided:
    """A model's answer against the workflow's thresholds: an intent, candidates to ask about, or nothing."""
    policies = incoming.snapshot.config.policies
    accept = _DEFAULT_ACCEPT if policies.thresholds.accept is None else policies.thresholds.accept
    # It names its choice first, though it may be as sure of another.
    best = found.candidates[0] if found.candidates else None
    decided = Decided(
        "none",
        score=best.score if best else None,
        usage=found.usage,
        cached=found.cached,
        took_us=incoming.took_us(),
    )
    if best is None:
        return decided
    if is_sure(found.candidates, accept, policies):
        if not _complete(best) and best.intent.then.flow is None:
            # Nothing asks for what the message lacks, as a flow would; the conversation may have it.
            return decided
        return replace(decided, stage="llm", intent=best.intent, parameters=best.parameters)
    candidates = named(found.candidates, policies)
    if not candidates or not policies.disambiguation.enabled:
        return decided
    if len(candidates) == 1:
        # It has named no other: examples may have.
        others = [other for other in guess.candidates if other.intent.id != best.intent.id]
        candidates = (*candidates, *others[:1])
    return replace(decided, stage="llm", candidates=candidates)


def _without_model(incoming: Incoming, guess: Guess, failure: str) -> Decided:
    """What is left where no model can be asked: to ask the user, or to take the likelier than not."""
    policies = incoming.snapshot.config.policies
    # Where there is no model at all, examples are how the workflow is meant to work.
    exhausted = None if failure == _NO_MODEL else failure
    if not guess.candidates or (exhausted is not None and not policies.degradation.rules_only):
        return Decided("none", took_us=incoming.took_us(), failure=failure)
    best = guess.candidates[0]
    decided = Decided("example", score=best.score, took_us=incoming.took_us(), failure=exhausted)
    if policies.disambiguation.enabled and guess.complete:
        return replace(decided, candidates=guess.candidates)
    # A flow asks for what the message lacks.
    if best.score >= _LIKELIER_THAN_NOT and (guess.complete or best.intent.then.flow is not None):
        return replace(decided, intent=best.intent, parameters=best.parameters)
    return Decided("none", score=best.score, took_us=incoming.took_us(), failure=failure)


def _complete(best: Candidate) -> bool:
    declared = best.intent.parameters.items()
    return all(name in best.parameters for name, parameter in declared if parameter.required)
