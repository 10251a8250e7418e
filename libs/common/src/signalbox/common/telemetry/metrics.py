"""Prometheus metrics: one registry per service, joined where several services share a process."""

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signalbox.common.telemetry.series import Count, Spread, counters, histograms

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(Collector):
    """The registry of one service, and the metrics that every service has: added up by one thread, the event loop's."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self._counts: dict[tuple[str, str, str, str], Count] = {}
        self._seconds: dict[tuple[str, str], Spread] = {}
        self._routes: dict[tuple[str, str], RouteMetrics] = {}
        self.registry.register(self)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one request."""
        self.route(method, route).observe(status, seconds)

    def route(self, method: str, route: str) -> "RouteMetrics":
        """What ``observe`` records, for a route so busy that looking it up each time costs something."""
        found = self._routes.get((method, route))
        if found is None:
            seconds = self._seconds.setdefault((self.service, route), Spread(_SECONDS))
            count = partial(self._count, method, route)
            found = self._routes[method, route] = RouteMetrics(seconds, count)
        return found

    def _count(self, method: str, route: str, status: int) -> Count:
        return self._counts.setdefault((self.service, method, route, str(status)), Count())

    def collect(self) -> Iterable[Metric]:
        """What was recorded."""
        yield counters(
            "signalbox_http_requests",
            "HTTP requests served.",
            ("service", "method", "route", "status"),
            self._counts,
        )
        yield histograms(
            "signalbox_http_request_seconds",
            "Time from the request's first byte to the answer's last, in seconds.",
            ("service", "route"),
            ((key, spread) for key, spread in self._seconds.items() if spread.used),
        )


class RouteMetrics:
    """The request metrics of one route, whose series are looked up once."""

    def __init__(self, seconds: Spread, count: Callable[[int], Count]) -> None:
        self._seconds = seconds
        self._count = count
        self._by_status: dict[int, Count] = {}

    def observe(self, status: int, seconds: float) -> None:
        """Record one request."""
        count = self._by_status.get(status)
        if count is None:
            count = self._by_status[status] = self._count(status)
        count.value += 1
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
