"""Calls that several deployments may answer: what becomes of them when providers fail, slow down or come back.

Streams and their sixteen ways to fail are in ``test_gateway_failover_scenarios.py``.
"""

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import anthropic
import httpx
import openai
import pytest
from support.gateway_app import deployment, wait_for

from signalbox.common.settings import SettingsError
from signalbox.llm_gateway.app import create_app
from signalbox.llm_gateway.settings import GatewaySettings
from signalbox_fake_provider import FakeProvider

ASK = [{"role": "user", "content": "hello gateway"}]
ANSWER = " ".join(f"word{number}" for number in range(60))
QUICK = {"retry_backoff_s": 0.05, "breaker": {"open_s": 0.5}}


@pytest.fixture
def other():
    """A second provider."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def start(start_gateway, provider):
    """A gateway with the models ``primary`` and ``fallback`` at the first provider."""

    def started(*more, prefill=False, limits=None, **route):
        limits = {"timeout_s": 0.6, "stall_timeout_s": 0.4, "first_token_timeout_s": 0.4, **(limits or {})}
        primary = deployment(provider, "primary", upstream_model=None, **limits)
        fallback = deployment(provider, "fallback", upstream_model=None, prefill=prefill, **limits)
        return start_gateway(
            llm_deployments=[primary, fallback, *more],
            llm_models=[{"name": "primary", "fallbacks": ["fallback"], **QUICK, **route}],
        )

    return started


def ask(gateway, model="primary", **fields):
    return gateway.client(timeout=20).chat.completions.create(model=model, messages=ASK, **fields)


def fails(provider, fault, **rule):
    provider.script([{"match": {"model": "primary"}, "fault": fault, **rule}])


def asked(provider, model="primary"):
    return [record for record in provider.requests() if record.model == model]


def test_item_1_a_retry_after_is_kept(start, provider):
    fails(provider, {"status": 429, "headers": {"Retry-After": "2"}}, times=1)
    assert ask(start()).model == "primary"
    first, second = asked(provider)
    assert second.started_at - first.started_at >= 1.8


def test_item_1_a_long_retry_after_is_not_waited_for_and_keeps_other_calls_away(start, provider):
    fails(provider, {"status": 429, "headers": {"Retry-After": "60"}})
    gateway = start()
    started = time.monotonic()
    assert [ask(gateway).model for _ in range(3)] == ["fallback"] * 3
    assert time.monotonic() - started < 5
    assert len(asked(provider)) == 1


def test_item_2_a_persistent_503_is_at_most_six_attempts_then_the_fallback(start, provider):
    fails(provider, {"status": 503})
    gateway = start(max_attempts=20, breaker={"consecutive": 100, "min_calls": 100})
    assert ask(gateway).model == "fallback"
    times = [record.started_at for record in asked(provider)]
    assert len(times) == 6
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


def test_item_3_a_silent_provider_is_one_timeout(start, provider):
    fails(provider, "hang")
    gateway = start()
    assert ask(gateway).model == "fallback"
    (silent,) = asked(provider)
    assert silent.disconnected
    (row,) = gateway.wait_for_rows(1)
    assert [one["outcome"] for one in gateway.rows("ledger_attempts")] == ["timeout", "ok"]
    assert row["outcome"] == "ok"


def test_items_4_and_5_an_anthropic_client_does_not_notice_either(start, provider):
    gateway = start(prefill=True, limits={"first_token_timeout_s": 0.5})
    client = anthropic.Anthropic(base_url=f"{gateway.url}/llm", api_key="local", max_retries=0)
    cut = {"kind": "cut", "after_chunks": 40}
    rest = ANSWER[len(ANSWER) * 40 // 60 :]
    for fault in (cut, {"kind": "slow_first_token"}):
        provider.script(
            [
                {"match": {"model": "primary"}, "reply": ANSWER, "chunks": 60, "fault": fault},
                {"match": {"last_role": "assistant"}, "reply": rest},
                {"reply": ANSWER},
            ]
        )
        with client.messages.stream(model="primary", max_tokens=500, messages=ASK) as stream:
            message = stream.get_final_message()
        assert message.content[0].text == ANSWER
        assert message.stop_reason == "end_turn"


def test_item_6_a_stall_is_bounded_and_the_next_call_healthy(start, provider):
    fails(provider, {"kind": "stall", "after_chunks": 5}, reply=ANSWER)
    gateway = start()
    started = time.monotonic()
    with pytest.raises(openai.APIError) as raised:
        list(ask(gateway, stream=True))
    assert raised.value.code == "provider_timeout"
    assert time.monotonic() - started < 2
    provider.script([])
    assert ask(gateway).model == "primary"
    wait_for(lambda: provider.open_requests() == 0)


def test_item_7_a_whole_answer_that_is_no_json_is_asked_for_again(start, provider):
    fails(provider, {"kind": "malformed_chunk", "after_chunks": 1}, times=1)
    gateway = start()
    answer = ask(gateway)
    assert (answer.model, answer.usage.completion_tokens > 0) == ("primary", True)
    assert len(asked(provider)) == 2


def test_item_8_a_call_that_is_too_long_goes_to_the_larger_model(start, provider):
    fails(provider, "context_length_exceeded")
    larger = deployment(provider, "larger", upstream_model=None, context_window=1_000_000)
    gateway = start(larger, context_window_fallbacks=["larger"])
    assert ask(gateway).model == "larger"
    assert (len(asked(provider)), asked(provider, "fallback")) == (1, [])
    provider.script([{"fault": "context_length_exceeded"}])
    with pytest.raises(openai.BadRequestError) as raised:
        ask(gateway)
    assert raised.value.code == "context_length_exceeded"


def test_item_9_a_content_filter_is_not_routed_around_unless_the_operator_says_so(start, provider):
    fails(provider, {"kind": "content_filter", "message": "filtered by our safety system"})
    gateway = start()
    with pytest.raises(openai.BadRequestError, match="safety system") as raised:
        ask(gateway)
    assert raised.value.code == "content_filter"
    assert (len(asked(provider)), asked(provider, "fallback")) == (1, [])
    gateway = start(content_filter_fallbacks=["fallback"])
    assert ask(gateway).model == "fallback"


def test_item_10_a_flap_is_survived_and_seen(start, provider):
    """Ten times as fast as life: 4 s down, and back within 2 s of recovery."""
    down_s = 4.0
    gateway = start()
    fails(provider, {"status": 503})
    recovery = threading.Timer(down_s, lambda: provider.script([]))
    begun = time.time()
    recovery.start()
    models, circuits = [], set()
    while time.time() - begun < down_s + 2:
        models.append(ask(gateway).model)
        shown = httpx.get(f"{gateway.url}/metrics").text
        circuits |= {
            line.rpartition(" ")[2]
            for line in shown.splitlines()
            if "signalbox_llm_circuit_state{" in line and "/primary" in line
        }
        time.sleep(max(0.0, begun + 0.15 * len(models) - time.time()))
    recovery.join()
    failed = [record for record in asked(provider) if record.status == 503]
    first_up = next(record for record in asked(provider) if record.status == 200)
    assert len(failed) <= 5 + down_s / 0.5
    assert first_up.started_at - (begun + down_s) < 2
    assert models[-1] == "primary"
    assert circuits >= {"0.0", "2.0"}


def test_item_11_each_attempt_is_accounted_for_and_the_call_names_who_answered(start, provider):
    provider.script(
        [
            {"match": {"model": "primary"}, "fault": "hang"},
            {"reply": "x", "usage": {"prompt_tokens": 100, "completion_tokens": 10}},
        ]
    )
    gateway = start()
    ask(gateway)
    (call,) = gateway.wait_for_rows(1)
    lost, won = gateway.rows("ledger_attempts")
    assert (call["model_asked"], call["deployment"]) == ("primary", "openai-compatible/fallback")
    assert (lost["deployment"], lost["estimated"], won["estimated"]) == ("openai-compatible/primary", 1, 0)
    assert won["cost_pico"] == 120_000_000
    assert lost["cost_pico"] == lost["input_tokens"] * 1_000_000 > 0
    assert call["cost_pico"] == lost["cost_pico"] + won["cost_pico"]
    assert call["input_tokens"] == lost["input_tokens"] + 100


def test_embeddings_fall_back_too(start_gateway, provider):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider, name, upstream_model=None, capabilities={"chat": False, "embeddings": True})
            for name in ("primary", "fallback")
        ],
        llm_models=[{"name": "primary", "fallbacks": ["fallback"], **QUICK}],
    )
    provider.script([{"match": {"endpoint": "embeddings", "model": "primary"}, "fault": {"status": 500}}])
    answer = gateway.client().embeddings.create(model="primary", input="x")
    assert (answer.model, len(answer.data)) == ("fallback", 1)


def test_the_gateways_own_credential_is_not_the_callers_fault(start_gateway, provider, other):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider, "m", id="bad", weight=1000),
            deployment(other, "m", id="good", weight=0),
        ],
        llm_models=[{"name": "m", **QUICK}],
    )
    provider.script([{"fault": {"status": 401}}])
    assert gateway.client().chat.completions.create(model="m", messages=ASK).choices
    assert [one["deployment"] for one in gateway.rows("ledger_attempts")] in ([], ["bad", "good"])
    (row,) = gateway.wait_for_rows(1)
    assert row["deployment"] == "good"


@pytest.mark.parametrize("stream", [False, True])
def test_a_credential_that_is_refused_everywhere_is_an_error_of_ours(start, provider, caplog, stream):
    words = "Incorrect API key provided: sk-proj-1234567890abcdef of org-acme"
    provider.script([{"fault": {"status": 401, "message": words, "code": "invalid_api_key"}}])
    gateway = start(max_attempts=1)
    with pytest.raises(openai.InternalServerError) as raised:
        list(ask(gateway, stream=stream))
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_credential_refused")
    assert "acme" not in raised.value.response.text
    assert "not at fault" in raised.value.message
    assert [record.model for record in provider.requests()] == ["primary", "fallback"]
    logged = [record.provider_said for record in caplog.records if hasattr(record, "provider_said")]
    assert len(logged) == 2
    assert all("org-acme" in said and "1234567890" not in said for said in logged)
    gateway.wait_for_rows(1)
    assert {(row["status"], row["error_code"]) for row in gateway.rows("ledger_attempts")} == {
        (401, "upstream_credential_refused")
    }
    with pytest.raises(anthropic.InternalServerError) as other:
        anthropic.Anthropic(base_url=f"{gateway.url}/llm", api_key="local", max_retries=0).messages.create(
            model="primary", messages=ASK, max_tokens=5
        )
    assert "acme" not in other.value.response.text


def test_a_fallbacks_error_is_not_told_as_that_of_a_model_whose_circuit_is_open(start, provider):
    provider.script(
        [
            {"match": {"model": "primary"}, "fault": {"status": 503}},
            {"match": {"model": "fallback"}, "fault": {"status": 400, "message": "no such parameter"}},
        ]
    )
    gateway = start(max_attempts=1, breaker={"consecutive": 1, "open_s": 60})
    with pytest.raises(openai.InternalServerError, match="503") as first:
        ask(gateway)
    assert first.value.code == "provider_error"
    with pytest.raises(openai.InternalServerError) as second:
        ask(gateway)
    assert (second.value.status_code, second.value.code) == (503, "model_not_asked")
    assert "'primary' was not asked, as the circuit of its provider is open" in second.value.message
    assert "'fallback': 400 provider_error: no such parameter" in second.value.message
    assert 50 < int(second.value.response.headers["retry-after"]) <= 60
    assert [record.model for record in provider.requests()] == ["primary", "fallback", "fallback"]
    assert gateway.wait_for_rows(2)[1]["error_code"] == "model_not_asked"


def test_calls_are_shared_by_weight(start_gateway, provider, other):
    gateway = start_gateway(
        llm_deployments=[deployment(provider, "m", weight=3), deployment(other, "m", weight=1)]
    )
    client = gateway.client()
    for _ in range(60):
        client.chat.completions.create(model="m", messages=ASK)
    heavy = len(provider.requests())
    assert heavy + len(other.requests()) == 60
    assert 30 <= heavy <= 58


def test_the_least_busy_deployment_is_asked(start_gateway, provider, other):
    gateway = start_gateway(
        llm_deployments=[deployment(provider, "m"), deployment(other, "m")],
        llm_models=[{"name": "m", "strategy": "least_busy"}],
    )
    for one in (provider, other):
        one.script([{"latency_ms": 400}])
    client = gateway.client()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda _: client.chat.completions.create(model="m", messages=ASK), range(8)),
        )
    assert (len(provider.requests()), len(other.requests())) == (4, 4)


def test_the_fastest_deployment_is_asked_and_the_cheapest(start_gateway, provider, other):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider, "fast"),
            deployment(other, "fast"),
            deployment(provider, "cheap", price={"input": "9", "output": "9"}),
            deployment(other, "cheap", price={"input": "1", "output": "1"}),
        ],
        llm_models=[
            {"name": "fast", "strategy": "lowest_latency"},
            {"name": "cheap", "strategy": "cheapest"},
        ],
    )
    provider.script([{"latency_ms": 150}])
    client = gateway.client()
    for _ in range(12):
        client.chat.completions.create(model="fast", messages=ASK)
    assert len(provider.requests()) <= 2
    other.reset()
    for _ in range(5):
        client.chat.completions.create(model="cheap", messages=ASK)
    assert len(other.requests()) == 5


def test_a_slow_answer_is_asked_for_twice_and_the_loser_is_stopped(start_gateway, provider):
    gateway = start_gateway(
        llm_deployments=[deployment(provider, "m")],
        llm_models=[{"name": "m", "hedge": {"min_samples": 5, "max_share": 1}}],
    )
    client = gateway.client(timeout=10)
    for _ in range(8):
        client.chat.completions.create(model="m", messages=ASK)
    provider.script([{"fault": "hang", "times": 1}])
    assert client.chat.completions.create(model="m", messages=ASK).choices
    provider.wait_until(lambda seen: any(record.disconnected for record in seen))
    rows = gateway.wait_for_rows(9)
    attempts = [one for one in gateway.rows("ledger_attempts") if one["call_id"] == rows[-1]["call_id"]]
    assert [(one["outcome"], one["error_code"]) for one in attempts] == [
        ("aborted", "hedge_lost"),
        ("ok", None),
    ]
    assert rows[-1]["cost_pico"] == sum(one["cost_pico"] for one in attempts)


def test_a_deployment_over_its_own_limit_is_not_asked(start_gateway, provider, other):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider, "m", id="first", weight=1000, limits={"requests": 2}),
            deployment(other, "m", id="second", weight=0),
        ]
    )
    client = gateway.client()
    for _ in range(5):
        client.chat.completions.create(model="m", messages=ASK)
    assert (len(provider.requests()), len(other.requests())) == (2, 3)
    assert {row["outcome"] for row in gateway.wait_for_rows(5)} == {"ok"}
    assert len(gateway.rows("ledger_attempts")) == 5


def test_with_every_circuit_open_a_call_is_one_attempt(start_gateway, provider):
    gateway = start_gateway(llm_deployments=[deployment(provider, "m")])
    provider.script([{"fault": {"status": 500}}])
    client = gateway.client()
    statuses = Counter()
    for _ in range(5):
        before = len(provider.requests())
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="m", messages=ASK)
        statuses[len(provider.requests()) - before] += 1
    assert statuses == {3: 1, 2: 1, 1: 3}
    provider.script([])
    assert client.chat.completions.create(model="m", messages=ASK).choices


def test_names_that_nobody_serves_are_refused_at_the_start(tmp_path):
    settings = GatewaySettings(
        data=tmp_path,
        ollama_url="",
        database_url=None,
        openai_api_key=None,
        llm_deployments=[{"model": "a", "base_url": "http://127.0.0.1:9/v1"}],
        llm_models=[{"name": "a", "fallbacks": ["b"], "content_filter_fallbacks": ["c"]}],
    )
    with pytest.raises(SettingsError, match=r"'b'.*'c'"):
        create_app(settings)
