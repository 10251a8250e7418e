"""Sums and spreads that cost next to nothing to add to; Prometheus' own form is made when somebody reads them.

prometheus_client locks and looks through the buckets at each observation, several microseconds for a call that has a
dozen of them. Here one thread, the event loop's, adds integers.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

_Key = TypeVar("_Key", bound=tuple[str, ...])


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Spread:
    """How often values fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def used(self) -> bool:
        """Whether any value was added."""
        return any(self._counts)

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, as Prometheus has them, and the sum of all values."""
        found, below = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found, self._sum


def counters(
    name: str, help_text: str, labels: Sequence[str], series: Mapping[_Key, Count], *, scale: float = 1
) -> CounterMetricFamily:
    """A family of counters; each value is multiplied by ``scale``."""
    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, count in series.items():
        family.add_metric(key, count.value * scale)
    return family


def histograms(
    name: str, help_text: str, labels: Sequence[str], series: Iterable[tuple[_Key, Spread]]
) -> HistogramMetricFamily:
    """A family of histograms."""
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for key, spread in series:
        buckets, total = spread.buckets()
        family.add_metric(key, buckets, total)
    return family
