"""What operators see of skills: tokens that their models read, how many of them providers had kept, open circuits.

The share of a skill is ``signalbox_skill_cached_tokens_total / signalbox_skill_input_tokens_total``; one that falls to
nothing says that something which changes has come to stand early in the prompt.
"""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.telemetry.series import Count, counters
from signalbox.contracts.events import UsageData

_LABELS = ("workflow", "skill")
_MOST = 500
_OTHERS = ("", "")
"""What all further skills are counted as: names are the tenants', and there may be any number of them."""


class SkillMetrics(Collector):
    """Counted by workflow and skill; not for threads."""

    def __init__(self, metrics: Metrics) -> None:
        self._input: dict[tuple[str, str], Count] = {}
        self._cached: dict[tuple[str, str], Count] = {}
        self._opened = Count()
        metrics.registry.register(self)

    def used(self, workflow: str, skill: str, usage: UsageData) -> None:
        """A model call of a skill is over."""
        key = (workflow, skill)
        if key not in self._input and len(self._input) >= _MOST:
            key = _OTHERS
        self._input.setdefault(key, Count()).value += usage.input_tokens
        self._cached.setdefault(key, Count()).value += usage.cached_tokens

    def opened(self) -> None:
        """A circuit has opened."""
        self._opened.value += 1

    def collect(self) -> Iterable[Metric]:
        """What was counted."""
        yield counters(
            "signalbox_skill_input_tokens",
            "Tokens of the prompts of a skill's model calls.",
            _LABELS,
            self._input,
        )
        yield counters(
            "signalbox_skill_cached_tokens",
            "Of these, tokens that the provider had in its prompt cache.",
            _LABELS,
            self._cached,
        )
        yield counters(
            "signalbox_skill_circuits_opened",
            "How often calls of a function skill's endpoint began to be held back because it kept failing.",
            (),
            {(): self._opened},
        )
