import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.routing.breaker import Breaker
from signalbox.llm_gateway.routing.failures import Failure, Then
from signalbox.llm_gateway.routing.health import HealthBook
from signalbox.llm_gateway.routing.metrics import CircuitCollector
from signalbox.llm_gateway.routing.rules import BreakerRule

DOWN = Failure(Then.RETRY, counts=True)
BUSY = Failure(Then.RETRY, counts=False)
WRONG = Failure(Then.FINAL, counts=False)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_failures_in_a_row_open_the_circuit_and_an_answer_between_does_not():
    breaker = Breaker(BreakerRule(consecutive=3, min_calls=100))
    for _ in range(2):
        breaker.failed(0, 0)
    breaker.answered(0, 0)
    assert [breaker.failed(0, 0) for _ in range(3)] == [False, False, True]
    assert breaker.state(0) == "open"


def test_a_rate_of_failures_opens_the_circuit_once_there_are_enough_calls():
    breaker = Breaker(BreakerRule(consecutive=100, min_calls=6, failure_rate=0.5, window_s=10))
    for at in range(2):
        breaker.answered(at, at)
        assert breaker.failed(at, at) is False
    breaker.answered(2, 2)
    assert breaker.failed(2.5, 2.5) is True


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker(BreakerRule(consecutive=100, min_calls=4, failure_rate=0.5, window_s=10))
    for _ in range(3):
        breaker.failed(0, 0)
    assert breaker.failed(20, 20) is False
    assert breaker.state(20) == "closed"


def test_one_attempt_at_a_time_tries_an_open_circuit():
    breaker = Breaker(BreakerRule(consecutive=1, open_s=10))
    breaker.failed(0, 0)
    assert (breaker.admits(9.9), breaker.probe_in_s(4)) == (False, 6)
    assert (breaker.admits(10), breaker.state(10)) == (True, "half_open")
    assert breaker.begin() is True
    assert breaker.admits(10) is False
    assert breaker.failed(11, 10) is True
    breaker.release()
    assert (breaker.admits(20.9), breaker.admits(21)) == (False, True)
    breaker.begin()
    assert breaker.answered(22, 21) is True
    breaker.release()
    assert (breaker.state(22), breaker.admits(22)) == ("closed", True)


def test_an_attempt_that_began_before_the_circuit_opened_changes_nothing():
    breaker = Breaker(BreakerRule(consecutive=1, open_s=10))
    breaker.failed(5, 4)
    assert breaker.failed(9, 3) is False
    assert breaker.probe_in_s(9) == 6
    assert breaker.answered(9, 3) is False
    assert breaker.state(9) == "open"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def book(clock):
    return HealthBook(clock)


def of(book, model="m", **fields):
    return book.of(
        Deployment(model=model, base_url="http://x/v1", **fields), BreakerRule(consecutive=2, open_s=10)
    )


def test_a_probe_that_is_given_up_leaves_the_circuit_to_the_next(book, clock):
    health = of(book)
    for _ in range(2):
        health.begin().failed(DOWN, "x")
    clock.now += 10
    probe = health.begin()
    assert not health.admits(clock.now)
    probe.close()
    assert health.admits(clock.now)
    assert health.in_flight == 0


def test_a_provider_that_refuses_a_call_for_its_content_is_alive(book, clock):
    health = of(book)
    for _ in range(2):
        health.begin().failed(DOWN, "x")
    clock.now += 10
    health.begin().failed(WRONG, "bad")
    assert health.state() == "closed"


def test_being_busy_is_not_being_down_but_a_wish_to_be_left_alone_is_kept(book, clock):
    health = of(book)
    for _ in range(5):
        health.begin().failed(BUSY, "rate")
    assert health.state() == "closed"
    health.cool_down(7)
    health.cool_down(3)
    clock.now += 4
    assert health.cooling_s(clock.now) == 3


def test_transitions_are_logged_once_each(book, clock, caplog):
    caplog.set_level(logging.WARNING)
    health = of(book)
    for _ in range(4):
        health.begin().failed(DOWN, "provider_error")
    clock.now += 10
    health.begin().failed(DOWN, "provider_error")
    clock.now += 10
    health.begin().answered(streamed=False)
    said = [record.message for record in caplog.records]
    assert said == [
        "openai/m fails (provider_error); its circuit is open",
        "openai/m answers again; its circuit is closed",
    ]


def test_a_stream_that_breaks_after_its_begin_counts_as_a_failure(book):
    health = of(book)
    for _ in range(2):
        use = health.begin()
        use.answered(streamed=True)
        assert health.in_flight == 1
        use.failed(DOWN, "cut")
        use.close()
    assert (health.in_flight, health.state()) == (0, "closed")
    for _ in range(2):
        health.begin().failed(DOWN, "cut")
    assert health.state() == "open"


def test_a_latency_that_nothing_is_added_to_fades(book, clock):
    latency = of(book).whole
    assert latency.at(clock.now) == 0
    latency.add(2.0, clock.now)
    latency.add(1.0, clock.now)
    assert latency.at(clock.now) == pytest.approx(1.8)
    assert latency.at(clock.now + 60) == pytest.approx(1.8 / 2.718, rel=0.01)


def test_deployments_share_their_health_when_they_are_the_same_and_only_then(book):
    assert of(book) is of(book, "other", upstream_model="m")
    assert of(book) is not of(book, key="env:K")
    assert of(book) is not of(book, "n")


def test_models_that_nobody_misses_are_forgotten(book, monkeypatch):
    monkeypatch.setattr("signalbox.llm_gateway.routing.health._MAX_KNOWN", 3)
    busy, idle = of(book, "busy"), of(book, "idle")
    busy.begin()
    of(book, "third")
    of(book, "fourth")
    assert of(book, "busy") is busy
    assert of(book, "idle") is not idle


def test_prometheus_sees_each_circuit(book, clock):
    health = of(book)
    of(book, "well").begin()
    registry = CollectorRegistry()
    registry.register(CircuitCollector(book))
    for state in (0, 2, 1):
        if state == 2:
            for _ in range(2):
                health.begin().failed(DOWN, "x")
        if state == 1:
            clock.now += 10
        shown = generate_latest(registry).decode()
        assert f'signalbox_llm_circuit_state{{deployment="openai/m"}} {state}.0' in shown
    assert 'signalbox_llm_deployment_in_flight{deployment="openai/well"} 1.0' in shown
