"""The course of one call through its plan: who is asked next, after what wait, and what its caller is told."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from signalbox.common.context import Deadline
from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.record import record
from signalbox.llm_gateway.errors import (
    AllCoolingDown,
    BudgetExceeded,
    LimitExceeded,
    LimitsUnavailable,
    ModelNotAsked,
    ProviderRefused,
)
from signalbox.llm_gateway.routing.failures import Failure, Then, failure_of, retry_after_s
from signalbox.llm_gateway.routing.health import Clock
from signalbox.llm_gateway.routing.plan import Candidate, Group, Plan
from signalbox.llm_gateway.routing.rules import ATTEMPTS_AT_ONE
from signalbox.llm_gateway.routing.strategies import STRATEGIES

_LONGEST_BACKOFF_S = 10.0
_RETRY_AFTER_JITTER = 0.1

_OF_THE_CALL = (BudgetExceeded, DeadlineExceeded, LimitsUnavailable)
"""Failures that are the call's own, whichever model was about to be asked."""


@record
class Turn:
    """Whose turn it is, as a deployment of ``group``'s model, and after how many seconds."""

    candidate: Candidate
    group: Group
    wait_s: float


@dataclass(slots=True)
class _Past:
    """What this call knows of a deployment that it has asked."""

    attempts: int = 0
    excluded: bool = False
    not_before: float = 0.0


class Course:
    """One call's. ``next`` says who is asked, ``failed`` what came of it."""

    def __init__(
        self, plan: Plan, rng: random.Random, clock: Clock, *, streamed: bool, deadline: Deadline | None
    ) -> None:
        self._plan = plan
        self._rng = rng
        self._clock = clock
        self._streamed = streamed
        self._deadline = deadline
        self._groups: Sequence[Group] = (plan.group, *plan.fallbacks)
        self._index = 0
        self._made = 0
        self._past: dict[int, _Past] = {}
        self._larger_than: int | None = None
        self._larger_asked = False
        self._prefilled = False
        self._error: SignalboxError | None = None
        self._error_is_ours = False
        self._own_failed = False
        self._of_fallbacks: dict[str, SignalboxError] = {}
        """What each fallback failed with last, as long as the model that was asked for has not failed itself."""

    def next(self) -> Turn:
        """Whose turn it is.

        Raises:
            SignalboxError: nobody's. It is the failure that says most about the call: that of the model asked for.
            ModelNotAsked: nobody's, and that model was not asked, only its fallbacks were.
            AllCoolingDown: nobody was asked, as all providers have asked to be left alone.
        """
        now = self._clock()
        if not self._past and len(self._plan.group.candidates) == 1:
            # Nearly every call: its model has one deployment, and nothing is wrong with that.
            candidate = self._plan.group.candidates[0]
            if candidate.health.is_well(now):
                return self._taken(Turn(candidate, self._plan.group, 0.0))
        while self._index < len(self._groups):
            group = self._groups[self._index]
            if self._made < group.rule.max_attempts:
                turn = self._turn_in(group, now)
                if turn is not None:
                    return self._taken(turn)
            self._index += 1
            self._made = 0
        if self._error is not None:
            raise self._told(self._error, now)
        return self._taken(self._last_resort(now))

    def beside(self, turn: Turn) -> Turn | None:
        """Another deployment of the same model that may be asked now, beside the one whose turn it is.

        A model with one deployment has that one asked twice: behind its address there may be many.
        """
        group = turn.group
        if self._made >= group.rule.max_attempts:
            return None
        now = self._clock()
        others = [
            candidate
            for candidate in group.candidates
            if (candidate is not turn.candidate or len(group.candidates) == 1)
            and id(candidate.health) not in self._past.keys() - {id(turn.candidate.health)}
            and self._may(candidate, now)
            and candidate.health.cooling_s(now) <= 0
        ]
        return self._taken(Turn(self._chosen(others, group), group, 0.0)) if others else None

    def failed(self, turn: Turn, error: SignalboxError) -> Failure:
        """The attempt of ``turn`` ended with ``error``."""
        failure = failure_of(error)
        past = self._past[id(turn.candidate.health)]
        own = turn.group is self._plan.group
        if isinstance(error, LimitExceeded):
            self._made -= 1  # Nobody was asked.
        if self._error is None or (own and self._error_is_ours and not failure.ours):
            self._error, self._error_is_ours = error, failure.ours
        self._own_failed = self._own_failed or own
        if not self._own_failed:
            self._of_fallbacks[turn.group.model] = error
        match failure.then:
            case Then.RETRY:
                self._retry_later(turn, past, failure)
            case Then.ELSEWHERE:
                past.excluded = True
            case Then.LARGER:
                self._only_larger(turn, error)
            case Then.FILTERED:
                self._error, self._error_is_ours = error, False
                self._exclude(turn.group)
                if self._groups is not self._plan.filtered:
                    self._detour(self._plan.filtered)
            case Then.FINAL if own or not isinstance(error, ProviderRefused):
                if isinstance(error, ProviderRefused):
                    self._error, self._error_is_ours = error, False
                self._detour(())
            case Then.FINAL:
                # What another model cannot do says nothing about the model that was asked for.
                self._exclude(turn.group)
        return failure

    def _told(self, error: SignalboxError, now: float) -> SignalboxError:
        """What the caller is told: a fallback's failure is not that of the model which was asked for."""
        if self._own_failed or isinstance(error, _OF_THE_CALL):
            return error
        healths = [candidate.health for candidate in self._plan.group.candidates]
        resting = any(health.admits(now) and health.cooling_s(now) > 0 for health in healths)
        why = "its provider asked to be left alone" if resting else "the circuit of its provider is open"
        waits = [max(health.breaker.probe_in_s(now), health.cooling_s(now)) for health in healths]
        wished = [retry_after_s(failed) for failed in self._of_fallbacks.values()]
        wait_s = min([*waits, *(wait for wait in wished if wait is not None)])
        return ModelNotAsked(self._plan.model, why, self._of_fallbacks, wait_s)

    def continue_with_prefill(self) -> None:
        """From now on only deployments that go on from the beginning of an answer; no matter who failed before."""
        self._prefilled = True

    def _taken(self, turn: Turn) -> Turn:
        self._made += 1
        key = id(turn.candidate.health)
        past = self._past.get(key)
        if past is None:
            past = self._past[key] = _Past()
        past.attempts += 1
        return turn

    def _turn_in(self, group: Group, now: float) -> Turn | None:
        ready: list[Candidate] = []
        soonest: Candidate | None = None
        wait = math.inf if self._deadline is None else self._deadline.remaining()
        for candidate in group.candidates:
            if not self._may(candidate, now):
                continue
            past = self._past.get(id(candidate.health))
            pause = candidate.health.cooling_s(now)
            if pause > group.rule.retry_after_max_s:
                continue
            if past is not None:
                pause = max(pause, past.not_before - now)
            if pause <= 0:
                ready.append(candidate)
            elif pause < wait:
                soonest, wait = candidate, pause
        if not ready:
            return None if soonest is None else Turn(soonest, group, wait)
        return Turn(self._chosen(ready, group), group, 0.0)

    def _chosen(self, candidates: Sequence[Candidate], group: Group) -> Candidate:
        if len(candidates) == 1:
            return candidates[0]
        return STRATEGIES[group.rule.strategy](candidates, self._rng, self._streamed)

    def _may(self, candidate: Candidate, now: float) -> bool:
        if not candidate.health.admits(now):
            return False
        past = self._past.get(id(candidate.health))
        if past is not None and (past.excluded or past.attempts >= ATTEMPTS_AT_ONE):
            return False
        deployment = candidate.deployment
        if self._prefilled and not deployment.prefill:
            return False
        window = deployment.context_window
        return self._larger_than is None or window is None or window > self._larger_than

    def _retry_later(self, turn: Turn, past: _Past, failure: Failure) -> None:
        rule = turn.group.rule
        now = self._clock()
        if failure.retry_after_s is None:
            pause = min(_LONGEST_BACKOFF_S, rule.retry_backoff_s * 2 ** (past.attempts - 1))
            past.not_before = now + pause * self._rng.uniform(0.5, 1.0)
            return
        wanted = min(failure.retry_after_s, rule.max_cooldown_s)
        turn.candidate.health.cool_down(wanted)
        if failure.retry_after_s > rule.retry_after_max_s:
            past.excluded = True
        past.not_before = now + wanted * self._rng.uniform(1.0, 1.0 + _RETRY_AFTER_JITTER)

    def _only_larger(self, turn: Turn, error: SignalboxError) -> None:
        if turn.group is self._plan.group:
            self._error, self._error_is_ours = error, False
        window = turn.candidate.deployment.context_window
        for candidate in turn.group.candidates:
            other = candidate.deployment.context_window
            if window is None or other is None or other <= window:
                self._past.setdefault(id(candidate.health), _Past()).excluded = True
        if self._plan.larger and not self._larger_asked:
            self._larger_asked = True
            self._detour((turn.group, *self._plan.larger))
        else:
            self._larger_than = window

    def _exclude(self, group: Group) -> None:
        for candidate in group.candidates:
            self._past.setdefault(id(candidate.health), _Past()).excluded = True

    def _detour(self, groups: Sequence[Group]) -> None:
        """Go on with other groups, and with none of the earlier ones after them."""
        self._groups = groups
        self._index = 0
        self._made = 0

    def _last_resort(self, now: float) -> Turn:
        """One attempt where every circuit is open: the gateway's own refusal would help less than trying.

        Only one is made per call, at the deployment whose turn to be tried comes first, so that a provider in trouble
        gets no more calls than there are callers. A provider that said when to come again is not asked before.
        """
        groups = (self._plan.group, *self._plan.fallbacks)
        candidates = [(group, candidate) for group in groups for candidate in group.candidates]
        open_ones = [
            (candidate.health.breaker.probe_in_s(now), number, candidate, group)
            for number, (group, candidate) in enumerate(candidates)
            if candidate.health.cooling_s(now) <= 0
        ]
        if not open_ones:
            wait = min(candidate.health.cooling_s(now) for _, candidate in candidates)
            raise AllCoolingDown(self._plan.model, wait)
        _, _, candidate, group = min(open_ones, key=lambda one: one[:2])
        self._groups = ()
        return Turn(candidate, group, 0.0)
