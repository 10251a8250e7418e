"""What operators see of tool calls: how many end how, how long they take, and how often calls are held back."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.telemetry.series import Count, Spread, counters, histograms

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ToolMetrics(Collector):
    """Counted by effect and outcome, not by tool: names are the tenants', and there may be any number of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._calls: dict[tuple[str, str], Count] = {}
        self._seconds: dict[tuple[str], Spread] = {}
        self._opened = Count()
        metrics.registry.register(self)

    def called(self, effect: str, outcome: str, seconds: float) -> None:
        """A call is over; ``outcome`` is ``ok``, ``cached`` or the code of the failure."""
        self._calls.setdefault((effect, outcome), Count()).value += 1
        self._seconds.setdefault((effect,), Spread(_SECONDS)).observe(seconds)

    def opened(self) -> None:
        """A circuit has opened."""
        self._opened.value += 1

    def collect(self) -> Iterable[Metric]:
        """What was counted."""
        yield counters(
            "signalbox_tool_calls",
            "Tool calls by effect (read, write) and outcome (ok, cached, or the code of the failure).",
            ("effect", "outcome"),
            self._calls,
        )
        yield histograms(
            "signalbox_tool_call_seconds",
            "Time that a tool call took with all its attempts, in seconds.",
            ("effect",),
            self._seconds.items(),
        )
        yield counters(
            "signalbox_tool_circuits_opened",
            "How often calls to a backend began to be held back because it kept failing.",
            (),
            {(): self._opened},
        )
