"""What ``/metrics`` says of real calls: with and without the fast lane, whole, streamed, failed and refused."""

import contextlib

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.gateway_app import deployment, wait_for


class Scraped:
    """One look at ``/metrics``."""

    def __init__(self, url):
        answer = httpx.get(f"{url}/metrics")
        assert answer.status_code == 200
        self.text = answer.text
        self._samples = [
            sample for family in text_string_to_metric_families(self.text) for sample in family.samples
        ]

    def value(self, name, **labels):
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def ask(gateway, model="alias", text="hello there", **options):
    return gateway.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **options
    )


@pytest.mark.parametrize("lane", [True, False], indirect=True, ids=["lane", "routes"])
def test_calls_are_counted_as_the_ledger_has_them(gateway, provider):
    ask(gateway)
    list(ask(gateway, stream=True))
    gateway.client().embeddings.create(model="fake-embedding", input="words")
    rows = gateway.wait_for_rows(3)
    seen = Scraped(gateway.url)
    chat = {"operation": "chat", "model": "alias", "deployment": "openai-compatible/fake-model"}
    assert seen.value("signalbox_llm_calls_total", **chat, outcome="ok") == 2
    assert seen.value("signalbox_llm_calls_total", operation="embeddings", model="fake-embedding") == 1
    of_alias = [row for row in rows if row["model_asked"] == "alias"]
    for kind in ("input", "output"):
        tokens = sum(row[f"{kind}_tokens"] for row in of_alias)
        assert tokens > 0
        assert seen.value("signalbox_llm_tokens_total", model="alias", kind=kind) == tokens
    cost = sum(row["cost_pico"] for row in of_alias) / 1e12
    assert seen.value("signalbox_llm_cost_total", model="alias", currency="USD") == pytest.approx(
        cost, rel=1e-9
    )
    client = {"gen_ai_provider_name": "openai-compatible", "gen_ai_request_model": "fake-model"}
    assert seen.value("gen_ai_client_operation_duration_seconds_count", **client, error_type="") == 2
    assert seen.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **client) == 1
    assert seen.value("gen_ai_client_token_usage_count", **client, gen_ai_token_type="output") == 2
    assert seen.value("signalbox_llm_calls_open") == 0
    wait_for(lambda: Scraped(gateway.url).value("signalbox_llm_ledger_rows_waiting") == 0)


def test_failed_calls_and_unknown_models_are_counted_and_nothing_said_is_shown(gateway, provider):
    provider.script([{"fault": {"status": 400, "code": "invalid_value", "message": "planted-reason"}}])
    with pytest.raises(openai.BadRequestError):
        ask(gateway, text="planted-prompt")
    for number in range(5):
        with pytest.raises(openai.NotFoundError):
            ask(gateway, f"planted-model-{number}")
    gateway.wait_for_rows(1)
    seen = Scraped(gateway.url)
    assert seen.value("signalbox_llm_calls_total", model="alias", outcome="error") == 1
    assert seen.value("gen_ai_client_operation_duration_seconds_count", error_type="invalid_value") == 1
    assert "planted" not in seen.text


def test_a_refusal_is_counted_by_the_limit_that_refused(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text("limits: [{name: few-calls, of: tenant, requests: 1, window_s: 60}]")
    gateway = start_gateway(llm_deployments=[deployment(provider)], llm_deployments_file=file)
    ask(gateway)
    for _ in range(3):
        with pytest.raises(openai.RateLimitError):
            ask(gateway)
    seen = Scraped(gateway.url)
    assert seen.value("signalbox_llm_refused_total", limit="few-calls") == 3
    assert seen.value("signalbox_llm_calls_open") == 0


def test_a_call_is_open_while_it_is_answered_and_not_when_its_client_has_left(gateway, provider):
    provider.script([{"reply": "one two three four five", "fault": {"kind": "stall", "after_chunks": 1}}])
    stream = ask(gateway, stream=True)
    next(iter(stream))
    assert Scraped(gateway.url).value("signalbox_llm_calls_open") == 1
    with contextlib.suppress(Exception):
        stream.close()
    wait_for(lambda: Scraped(gateway.url).value("signalbox_llm_calls_open") == 0)
    assert Scraped(gateway.url).value("signalbox_llm_calls_total", outcome="aborted") == 1
