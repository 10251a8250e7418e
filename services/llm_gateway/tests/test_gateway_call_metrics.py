"""What Prometheus sees of calls: from rows, with labels that callers cannot multiply."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerAttempt, LedgerCall
from signalbox.llm_gateway.telemetry import CallMetrics, Names

DEPLOYMENTS = [
    Deployment(model="small", provider="vllm", upstream_model="qwen", base_url="http://127.0.0.1:1"),
    Deployment(model="small", provider="openai", upstream_model="gpt-4o-mini"),
    Deployment(model="*", provider="openai"),
]


def attempt(number: int = 1, deployment: str = "vllm/qwen", **given: Any) -> LedgerAttempt:
    values: dict[str, Any] = {
        "model_answered": "qwen-2", "tokens": Tokens(input=100, output=20, cached=60), "cost_pico": 2_500_000_000,
        "currency": "USD", "estimated": False, "outcome": "ok", "status": 200, "error_code": None, "latency_ms": 300,
    }  # fmt: skip
    return LedgerAttempt(number=number, deployment=deployment, **{**values, **given})


def call(*attempts: LedgerAttempt, **given: Any) -> LedgerCall:
    values: dict[str, Any] = {
        "tenant": "secret-tenant", "call_id": "llm_1", "subject": "key:secret-key", "labels": Labels(),
        "operation": "chat/completions", "model_asked": "small", "model_answered": "qwen-2",
        "deployment": attempts[-1].deployment if attempts else None, "streamed": False, "tokens": Tokens(),
        "cost_pico": None, "currency": None, "priced": True, "estimated": False, "emulated": None, "outcome": "ok",
        "status": 200, "error_code": None, "latency_ms": 700, "first_token_ms": None, "trace_id": None,
        "created_at": 0, "attempts": attempts,
    }  # fmt: skip
    return LedgerCall(**{**values, **given})


class Scraped:
    """The samples of one look at the metrics."""

    def __init__(self, metrics: CallMetrics) -> None:
        registry = CollectorRegistry()
        registry.register(metrics)
        self.text = generate_latest(registry).decode()
        self.samples = [
            sample for family in text_string_to_metric_families(self.text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.samples if sample.name == name}


def metrics_of(deployments: Sequence[Deployment] = DEPLOYMENTS) -> CallMetrics:
    return CallMetrics(Names(lambda: deployments), lambda: 7)


def test_a_call_is_counted_with_its_tokens_cost_and_time() -> None:
    metrics = metrics_of()
    metrics.finished(call(attempt()))
    metrics.finished(call(attempt(cost_pico=500_000_000_000), latency_ms=90_000))
    seen = Scraped(metrics)
    labels = {"operation": "chat", "model": "small", "deployment": "vllm/qwen", "outcome": "ok"}
    assert seen.value("signalbox_llm_calls_total", **labels) == 2
    of_model = {"model": "small", "deployment": "vllm/qwen"}
    assert seen.value("signalbox_llm_tokens_total", **of_model, kind="input") == 200
    assert seen.value("signalbox_llm_tokens_total", **of_model, kind="output") == 40
    assert seen.value("signalbox_llm_tokens_total", **of_model, kind="cached") == 120
    assert seen.labels("signalbox_llm_tokens_total", "kind") == {"input", "output", "cached"}
    assert seen.value("signalbox_llm_cost_total", **of_model, currency="USD") == pytest.approx(
        0.5025, abs=1e-9
    )
    assert seen.value("signalbox_llm_call_seconds_bucket", model="small", le="0.64") == 0
    assert seen.value("signalbox_llm_call_seconds_bucket", model="small", le="1.28") == 1
    assert seen.value("signalbox_llm_call_seconds_bucket", model="small", le="+Inf") == 2
    assert seen.value("signalbox_llm_call_seconds_sum", model="small") == pytest.approx(90.7)
    assert seen.value("signalbox_llm_ledger_rows_waiting") == 7


def test_attempts_have_the_names_of_the_semantic_conventions() -> None:
    metrics = metrics_of()
    metrics.finished(call(attempt(), streamed=True, first_token_ms=150))
    metrics.finished(call(attempt(deployment="openai/text-embedding"), operation="embeddings"))
    seen = Scraped(metrics)
    client = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "vllm", "gen_ai_request_model": "qwen"}
    assert seen.value("gen_ai_client_operation_duration_seconds_count", **client, error_type="") == 1
    assert seen.value("gen_ai_client_operation_duration_seconds_sum", **client) == pytest.approx(0.3)
    assert seen.value("gen_ai_client_token_usage_sum", **client, gen_ai_token_type="input") == 100
    assert seen.value("gen_ai_client_token_usage_bucket", **client, gen_ai_token_type="output", le="16") == 0
    assert seen.value("gen_ai_client_token_usage_bucket", **client, gen_ai_token_type="output", le="64") == 1
    assert seen.value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", **client) == pytest.approx(
        0.15
    )
    assert (
        seen.value("gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="embeddings") == 1
    )
    assert seen.value("gen_ai_client_operation_time_to_first_chunk_seconds_count") == 1


def test_what_was_tried_again_and_elsewhere_is_told_apart() -> None:
    metrics = metrics_of()
    failed = {
        "outcome": "error",
        "status": 503,
        "error_code": "overloaded",
        "tokens": Tokens(),
        "cost_pico": 0,
    }
    row = call(attempt(1, **failed), attempt(2, **failed), attempt(3, "openai/gpt-4o-mini", cost_pico=None))
    metrics.finished(row)
    seen = Scraped(metrics)
    assert seen.value("signalbox_llm_retries_total", model="small", deployment="vllm/qwen") == 1
    assert seen.value("signalbox_llm_fallbacks_total", model="small", deployment="openai/gpt-4o-mini") == 1
    attempts = {"deployment": "vllm/qwen", "outcome": "error", "error_type": "overloaded"}
    assert seen.value("signalbox_llm_attempts_total", **attempts) == 2
    assert seen.value("signalbox_llm_calls_total", deployment="openai/gpt-4o-mini", outcome="ok") == 1
    assert seen.value("signalbox_llm_unpriced_attempts_total", deployment="openai/gpt-4o-mini") == 1
    assert seen.value("gen_ai_client_token_usage_count", gen_ai_token_type="input") == 1


def test_names_that_callers_make_up_are_one_label_and_nobody_is_named() -> None:
    metrics = metrics_of()
    refused = {"outcome": "error", "status": 404, "tokens": Tokens(), "cost_pico": None, "currency": None}
    for number in range(500):
        made_up = f"made-up-{number}"
        failed = attempt(1, f"openai/{made_up}", **refused, error_code=f"no model {number}!")
        metrics.finished(call(failed, model_asked=made_up, outcome="error", error_code="model_not_found"))
    seen = Scraped(metrics)
    assert seen.labels("signalbox_llm_calls_total", "model") == {"_OTHER"}
    assert seen.labels("signalbox_llm_calls_total", "deployment") == {"openai/_OTHER"}
    assert seen.labels("signalbox_llm_attempts_total", "error_type") == {"_OTHER"}
    assert seen.value("signalbox_llm_calls_total", outcome="error") == 500
    assert "made-up" not in seen.text
    assert "secret-" not in seen.text
    assert len(metrics._of_calls) == len(metrics._of_attempts) == 0


def test_a_name_that_a_provider_answers_to_gets_its_label_and_only_so_many_do() -> None:
    metrics = metrics_of()
    for number in range(600):
        name = f"model-{number}"
        metrics.finished(call(attempt(1, f"openai/{name}"), model_asked=name))
    seen = Scraped(metrics)
    labels = seen.labels("signalbox_llm_calls_total", "model")
    assert "model-0" in labels
    assert len(labels) <= 201
    assert seen.value("signalbox_llm_calls_total") == 600


def test_a_provider_s_own_error_codes_are_bounded() -> None:
    metrics = metrics_of()
    for number in range(400):
        failed = attempt(outcome="error", error_code=f"code_{number}")
        metrics.finished(call(failed, outcome="error", error_code=f"code_{number}"))
    seen = Scraped(metrics)
    assert len(seen.labels("signalbox_llm_attempts_total", "error_type")) == 101
    assert seen.value("signalbox_llm_attempts_total") == 400


def test_a_deployment_that_is_found_later_gets_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Deployment] = []
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    metrics = metrics_of(found)
    metrics.finished(call(attempt(outcome="error"), outcome="error"))
    found += DEPLOYMENTS
    now = 102.0
    metrics.finished(call(attempt(outcome="error"), outcome="error"))
    assert Scraped(metrics).labels("signalbox_llm_calls_total", "model") == {"_OTHER", "small"}


def test_a_call_without_attempts_is_counted_without_a_deployment() -> None:
    metrics = metrics_of()
    metrics.finished(call(cached="exact"))
    seen = Scraped(metrics)
    assert seen.value("signalbox_llm_cached_calls_total", model="small", cached="exact") == 1
    assert seen.value("signalbox_llm_calls_total", model="small", deployment="") == 1
    assert seen.value("signalbox_llm_attempts_total") == 0
