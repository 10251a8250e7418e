"""Prometheus metrics: one registry per service, joined where several services share a process."""

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The registry of one service, and the metrics that every service has."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "signalbox_http_requests",
            "HTTP requests served.",
            ["service", "method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "signalbox_http_request_seconds",
            "Time from the request's first byte to the answer's last, in seconds.",
            ["service", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one request."""
        self.requests.labels(self.service, method, route, str(status)).inc()
        self.seconds.labels(self.service, route).observe(seconds)

    def route(self, method: str, route: str) -> "RouteMetrics":
        """What ``observe`` records, for a route so busy that looking its series up each time costs something."""
        return RouteMetrics(self, method, route)


class RouteMetrics:
    """The request metrics of one route, whose series are looked up once."""

    def __init__(self, metrics: Metrics, method: str, route: str) -> None:
        self._count = partial(metrics.requests.labels, metrics.service, method, route)
        self._seconds = metrics.seconds.labels(metrics.service, route)
        self._by_status: dict[int, Counter] = {}

    def observe(self, status: int, seconds: float) -> None:
        """Record one request."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._count(str(status))
        counter.inc()
        self._seconds.observe(seconds)


class _Joined(Collector):
    """Families of several registries, those of the same name joined into one."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        self._registries = list(registries)

    def collect(self) -> Iterable[Metric]:
        """Each family once, with the samples of all registries."""
        families: dict[str, Metric] = {}
        for registry in self._registries:
            for family in registry.collect():
                joined = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type, family.unit)
                )
                joined.samples.extend(family.samples)
        return families.values()


def render_metrics(metrics: Iterable[Metrics]) -> bytes:
    """Text exposition of the metrics of one or several services."""
    joined = CollectorRegistry()
    joined.register(_Joined(entry.registry for entry in metrics))
    return generate_latest(joined)
