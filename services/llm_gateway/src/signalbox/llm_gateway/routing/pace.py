"""How long a model's answers take, so that one which takes unusually long can be asked for a second time."""

from collections import deque

from signalbox.llm_gateway.routing.rules import HedgeRule

_KEPT = 200
_REFRESH = 10
_MAX_MODELS = 1000
"""Callers choose the names of models that a deployment of every model serves."""


class Pace:
    """One model's: the newest answers' times in seconds, and how many of its calls were asked twice."""

    def __init__(self, rule: HedgeRule) -> None:
        self._rule = rule
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._added = 0
        self._unusual_s: float | None = None
        self._calls = 0
        self._hedged = 0

    def add(self, seconds: float) -> None:
        """An answer, or the first piece of a streamed one, took so long."""
        self._times.append(seconds)
        self._added += 1
        if self._unusual_s is None or self._added % _REFRESH == 0:
            self._measure()

    def unusual_s(self) -> float | None:
        """One more call begins: after so many seconds it takes unusually long; None where that is not known."""
        self._calls += 1
        return self._unusual_s

    def take(self) -> bool:
        """Whether the call may be asked for a second time, which counts it."""
        if self._hedged + 1 > self._rule.max_share * self._calls:
            return False
        self._hedged += 1
        return True

    def _measure(self) -> None:
        if len(self._times) >= self._rule.min_samples:
            times = sorted(self._times)
            self._unusual_s = times[min(len(times) - 1, int(len(times) * self._rule.quantile))]


class PaceBook:
    """The pace of each model that is hedged; whole answers and first pieces of streams apart."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], Pace] = {}

    def of(self, model: str, rule: HedgeRule, *, streamed: bool) -> Pace:
        """A model's."""
        pace = self._known.get((model, streamed))
        if pace is None:
            if len(self._known) >= _MAX_MODELS:
                self._known.clear()
            pace = self._known[model, streamed] = Pace(rule)
        return pace
