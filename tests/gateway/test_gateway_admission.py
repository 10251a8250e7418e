"""Limits and budgets over HTTP: three gateways over one Redis and one PostgreSQL."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.gateway_app import RunningGateway, wait_for
from support.gateway_replicas import counters, ledger_rows

BODY = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}


def burst(gateways: list[RunningGateway], count: int, body: dict[str, Any] = BODY) -> list[httpx.Response]:
    """So many calls at once, over the gateways in turn."""
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(limits=limits, timeout=30) as client, ThreadPoolExecutor(count) as pool:
        urls = [gateways[index % len(gateways)].url for index in range(count)]
        return list(pool.map(lambda url: client.post(f"{url}/llm/v1/chat/completions", json=body), urls))


def statuses(responses: list[httpx.Response]) -> dict[int, int]:
    found = [response.status_code for response in responses]
    return {status: found.count(status) for status in sorted(set(found))}


def test_of_ten_times_the_limit_over_three_replicas_exactly_the_limit_is_admitted(
    gateways, provider, ledger_url
):
    running = gateways(3, limits=[{"name": "rpm", "of": "tenant", "requests": 12}])
    responses = burst(running, 120)
    assert statuses(responses) == {200: 12, 429: 108}
    assert len(provider.requests()) == 12
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.headers["signalbox-limit"] == "rpm"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.json()["error"]["code"] == "limit_exceeded"
    assert "'rpm'" in refused.json()["error"]["message"]
    wait_for(lambda: len(ledger_rows(ledger_url)) == 12)


@pytest.mark.parametrize("count", [1, 3])
def test_a_budget_for_k_calls_admits_exactly_k(gateways, provider, ledger_url, count):
    """A call costs at most 0.0020 USD for 1000 tokens of output and 0.0001 USD for its 90 bytes of input."""
    running = gateways(count, budgets=[{"name": "day", "of": "tenant", "amount": "0.0105", "window": "day"}])
    provider.script([{"latency_ms": 1000}])
    responses = burst(running, 40)
    assert statuses(responses) == {200: 5, 429: 35}
    assert len(provider.requests()) == 5
    assert {each.json()["error"]["code"] for each in responses if each.status_code == 429} == {
        "budget_exceeded"
    }
    wait_for(lambda: len(ledger_rows(ledger_url)) == 5)
    assert sum(row["cost_pico"] for row in ledger_rows(ledger_url)) <= 0.0105 * 10**12


async def test_counters_go_back_to_zero_whatever_happens_to_calls(
    gateways, provider, counting_redis, ledger_url
):
    """Calls that are answered, streamed, refused, broken and left, over two replicas; and each call has one row."""
    running = gateways(
        2,
        limits=[{"name": "many", "of": "tenant", "parallel": 30, "tokens": 10**9, "requests": 10**6}],
        budgets=[{"name": "day", "of": "tenant", "amount": "1000", "window": "day"}],
    )
    provider.script(
        [
            {"match": {"last_user_contains": "broken"}, "fault": {"status": 400}},
            {"match": {"last_user_contains": "slow"}, "latency_ms": 5000},
            {"match": {"last_user_contains": "cut"}, "fault": {"kind": "cut", "after_chunks": 3}},
            {"latency_ms": 20},
        ]
    )
    kinds = ("plain", "streamed", "broken", "slow", "cut")
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=20) as client:

        async def call(number: int) -> None:
            kind = kinds[number % len(kinds)]
            body = {**BODY, "messages": [{"role": "user", "content": f"{kind} answer " * 10}]}
            body["stream"] = kind in {"streamed", "cut"}
            url = f"{running[number % 2].url}/llm/v1/chat/completions"
            async with asyncio.timeout(0.3 if kind == "slow" else 20):
                await client.post(url, json=body)

        for _ in range(4):
            results = await asyncio.gather(*(call(number) for number in range(60)), return_exceptions=True)
            assert sum(isinstance(each, TimeoutError) for each in results) > 0
    await asyncio.to_thread(wait_for, lambda: counters(counting_redis.url) == {})
    found = ledger_rows(ledger_url)
    assert {row["outcome"] for row in found} == {"ok", "error", "aborted"}
    # A call may be retried; what the provider was asked is in the books of a call.
    asked = len(provider.requests())
    assert asked == len(ledger_rows(ledger_url, "ledger_attempts"))


def test_calls_wait_for_room_over_replicas(gateways, provider):
    """Twelve calls, two at a time over two replicas: nobody is refused, and the limit holds."""
    running = gateways(2, limits=[{"name": "two", "of": "tenant", "parallel": 2, "wait_s": 20}])
    provider.script([{"latency_ms": 100}])
    assert statuses(burst(running, 12)) == {200: 12}
    assert provider.peak_open_requests() == 2


@pytest.mark.parametrize(
    ("hard", "own_limit", "sent"), [(True, None, 4096), (True, 900, None), (False, None, None)]
)
def test_what_a_hard_budget_reserves_is_all_that_a_model_may_answer(
    gateways, provider, hard, own_limit, sent
):
    (gateway,) = gateways(
        1,
        {"max_output_tokens": own_limit},
        budgets=[{"name": "day", "of": "tenant", "amount": "1", "window": "day", "hard": hard}],
    )
    uncapped = {name: value for name, value in BODY.items() if name != "max_tokens"}
    assert statuses(burst([gateway], 1, uncapped)) == {200: 1}
    (asked,) = provider.requests()
    assert (asked.body.get("max_tokens") or asked.body.get("max_completion_tokens")) == sent
