"""How a deployment is doing, as this process sees it: calls in flight, latency, circuit, cooldown."""

import logging
import math
import time
from collections.abc import Callable, Iterator

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.routing.breaker import Breaker, BreakerState
from signalbox.llm_gateway.routing.failures import Failure, Then
from signalbox.llm_gateway.routing.rules import BreakerRule

_LOG = logging.getLogger(__name__)

Clock = Callable[[], float]

_WEIGHT = 0.2
"""Of the newest latency in the moving average."""

_MAX_KNOWN = 1000
"""Callers choose the names of models that a deployment of every model serves."""

_FORGET_S = 60.0
"""An average that nothing was added to falls to a third in this time, so that a slow deployment is tried again."""


class Latency:
    """An exponentially weighted moving average in seconds, which fades while nothing is added."""

    def __init__(self) -> None:
        self._average = 0.0
        self._added_at = 0.0

    def add(self, seconds: float, now: float) -> None:
        """One more latency."""
        self._average = (
            seconds if self._average == 0.0 else self._average + _WEIGHT * (seconds - self._average)
        )
        self._added_at = now

    def at(self, now: float) -> float:
        """The average now; 0 where nothing is known."""
        return self._average * math.exp((self._added_at - now) / _FORGET_S)


class Health:
    """One deployment's. ``name`` is what logs and metrics call it."""

    def __init__(self, name: str, rule: BreakerRule, clock: Clock = time.monotonic) -> None:
        self.name = name
        self.clock = clock
        self.in_flight = 0
        self.breaker = Breaker(rule)
        self.first_token = Latency()
        self.whole = Latency()
        self._cooling_until = 0.0

    def admits(self, now: float) -> bool:
        """Whether the circuit lets an attempt through."""
        return self.breaker.admits(now)

    def is_well(self, now: float) -> bool:
        """Whether an attempt may begin and is none that tries something."""
        return self.breaker.is_closed and self._cooling_until <= now

    def cooling_s(self, now: float) -> float:
        """Seconds that the provider has asked to be left alone for."""
        return max(0.0, self._cooling_until - now)

    def state(self) -> BreakerState:
        """The circuit's state now."""
        return self.breaker.state(self.clock())

    def remembers_anything(self) -> bool:
        """Whether it would be missed: for calls in flight, an open circuit, or a provider that asked for rest."""
        return self.in_flight > 0 or self.state() == "open" or self.cooling_s(self.clock()) > 0

    def cool_down(self, seconds: float) -> None:
        """The provider asked to be left alone for so long."""
        self._cooling_until = max(self._cooling_until, self.clock() + seconds)

    def begin(self) -> "Use":
        """An attempt begins."""
        return Use(self)


class Use:
    """One attempt as the deployment's health sees it; ``close`` must be called, whatever else was."""

    __slots__ = ("_began_at", "_health", "_open", "_probes")

    def __init__(self, health: Health) -> None:
        self._health = health
        self._began_at = health.clock()
        breaker = health.breaker
        self._probes = not breaker.is_closed and breaker.begin()
        self._open = True
        health.in_flight += 1

    def answered(self, *, streamed: bool) -> None:
        """The whole answer, or the first piece of a streamed one, is there."""
        health = self._health
        now = health.clock()
        latency = health.first_token if streamed else health.whole
        latency.add(now - self._began_at, now)
        if health.breaker.answered(now, self._began_at):
            _LOG.warning("%s answers again; its circuit is closed", health.name)
        if self._probes:
            self._release()

    def failed(self, failure: Failure, code: str) -> None:
        """The attempt failed, at its begin or later."""
        health = self._health
        if failure.counts:
            was = health.state()
            if health.breaker.failed(health.clock(), self._began_at) and was == "closed":
                _LOG.warning("%s fails (%s); its circuit is open", health.name, code)
        elif failure.then in {Then.LARGER, Then.FILTERED, Then.FINAL} and health.breaker.answered(
            health.clock(), self._began_at
        ):
            # A provider that refuses a call for what is in it does answer.
            _LOG.warning("%s answers again; its circuit is closed", health.name)
        self.close()

    def close(self) -> None:
        """It is over, one way or another."""
        if self._open:
            self._open = False
            self._health.in_flight -= 1
            if self._probes:
                self._release()

    def _release(self) -> None:
        self._probes = False
        self._health.breaker.release()


class HealthBook:
    """The health of each deployment that was planned with, and of each model of those that serve every model."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str | None, ...], Health] = {}

    def of(self, deployment: Deployment, rule: BreakerRule) -> Health:
        """A deployment's, which keeps the rule it was first asked for with."""
        key = (deployment.name, deployment.provider_model, deployment.url, deployment.key)
        health = self._known.get(key)
        if health is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known = {key: one for key, one in self._known.items() if one.remembers_anything()}
            health = self._known[key] = Health(deployment.name, rule, self._clock)
        return health

    def __iter__(self) -> Iterator[Health]:
        return iter(list(self._known.values()))
