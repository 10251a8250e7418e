"""What admission shows of itself to Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signalbox.common.telemetry.series import Count, Spread, counters, histograms

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1)
_WAITS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)


class AdmissionMetrics(Collector):
    """Counters of admitted and refused calls; limits are called by the names that operators gave them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # What every call adds to is added up without Prometheus' locks.
        self.counted = Count()
        self.uncounted = Count()
        self.turns = Spread(_SECONDS)
        registry.register(self)
        self.refused = Counter(
            "signalbox_llm_refused",
            "Model calls that were refused, by the limit or budget.",
            ["limit"],
            registry=registry,
        )
        self.exceeded = Counter(
            "signalbox_llm_soft_budget_exceeded",
            "Model calls that were admitted after more than a soft budget was spent.",
            ["budget"],
            registry=registry,
        )
        self.waiting = Gauge(
            "signalbox_llm_waiting", "Model calls that wait for a limit to have room.", registry=registry
        )
        self.waited = Histogram(
            "signalbox_llm_wait_seconds",
            "How long calls waited for a limit to have room.",
            buckets=_WAITS,
            registry=registry,
        )

    def collect(self) -> Iterable[Metric]:
        """What every call adds to."""
        yield counters(
            "signalbox_llm_admitted",
            "Model calls that were admitted, by whether they were counted.",
            ["counted"],
            {("yes",): self.counted, ("no",): self.uncounted},
        )
        yield histograms(
            "signalbox_llm_counting_seconds",
            "How long Redis took to count what one process had to say at one moment.",
            [],
            [((), self.turns)],
        )
