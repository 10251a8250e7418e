"""What Prometheus sees of the circuits."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signalbox.llm_gateway.routing.breaker import BreakerState
from signalbox.llm_gateway.routing.health import HealthBook

_STATES: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}


class CircuitCollector(Collector):
    """Reads the state of every deployment's circuit when it is asked for."""

    def __init__(self, health: HealthBook) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """One sample for each deployment; of several under one name, the worst."""
        states: dict[str, int] = {}
        busy: dict[str, int] = {}
        for health in self._health:
            states[health.name] = max(states.get(health.name, 0), _STATES[health.state()])
            busy[health.name] = busy.get(health.name, 0) + health.in_flight
        circuits = GaugeMetricFamily(
            "signalbox_llm_circuit_state",
            "Circuit of a deployment: 0 closed, 1 half open (it is being tried), 2 open.",
            labels=["deployment"],
        )
        in_flight = GaugeMetricFamily(
            "signalbox_llm_deployment_in_flight",
            "Attempts at a deployment that are being answered.",
            labels=["deployment"],
        )
        for name, state in states.items():
            circuits.add_metric([name], state)
            in_flight.add_metric([name], busy[name])
        yield circuits
        yield in_flight
