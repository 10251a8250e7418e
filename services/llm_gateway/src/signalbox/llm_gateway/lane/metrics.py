"""What Prometheus sees of the fast lane."""

from collections.abc import Iterable

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class LaneCounter(Collector):
    """Counts the requests that the lane took; the others were served as everything else is."""

    def __init__(self) -> None:
        self.value = 0

    def collect(self) -> Iterable[Metric]:
        """The one sample."""
        help_text = "Requests that the fast lane answered."
        yield CounterMetricFamily("signalbox_llm_lane_requests", help_text, value=self.value)
