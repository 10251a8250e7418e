"""However a call ends, its slot is free, its tokens are trued up, and it has one row."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml
from support.gateway_app import deployment, wait_for

PARALLEL = [{"name": "one", "of": "tenant", "parallel": 1}]
ASK = {"model": "alias", "messages": [{"role": "user", "content": "hello"}]}
LONG = {"model": "alias", "messages": [{"role": "user", "content": "a long answer " * 40}]}


@pytest.fixture
def one_at_a_time(start_gateway, provider, tmp_path):
    """A gateway that makes one call at a time, in memory."""

    def start(**model: Any):
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump({"deployments": [deployment(provider, **model)], "limits": PARALLEL}))
        return start_gateway(llm_deployments_file=file)

    return start


def post(gateway, body=ASK, **headers):
    return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=body, headers=headers, timeout=20)


def assert_free(gateway, provider):
    """The slot is free: a call is made; and there was nothing else that it had to wait for."""
    provider.script([])

    def admitted():
        return post(gateway).status_code == 200

    wait_for(admitted, timeout=3)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves(one_at_a_time, provider, streamed):
    gateway = one_at_a_time()
    provider.script([{"fault": {"kind": "stall", "after_chunks": 3}} if streamed else {"fault": "hang"}])
    async with httpx.AsyncClient(timeout=10) as client:

        async def call():
            body = {**LONG, "stream": streamed}
            async with client.stream("POST", f"{gateway.url}/llm/v1/chat/completions", json=body) as response:
                async for _ in response.aiter_raw():
                    await asyncio.Event().wait()

        task = asyncio.ensure_future(call())
        await asyncio.to_thread(wait_for, lambda: provider.open_requests() == 1)
        refused = await client.post(f"{gateway.url}/llm/v1/chat/completions", json=ASK)
        assert refused.status_code == 429
        assert refused.headers["signalbox-limit"] == "one"
        left = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(wait_for, lambda: provider.open_requests() == 0, 2)
    assert time.monotonic() - left < 2
    (row,) = await asyncio.to_thread(gateway.wait_for_rows, 1)
    assert (row["outcome"], row["estimated"], row["error_code"]) == ("aborted", 1, "client_left")
    assert row["cost_pico"] > 0
    await asyncio.to_thread(assert_free, gateway, provider)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_provider_that_is_silent(one_at_a_time, provider, streamed):
    gateway = one_at_a_time(timeout_s=0.3, first_token_timeout_s=0.3)
    provider.script([{"fault": "hang"}])
    assert post(gateway, {**ASK, "stream": streamed}).status_code == 504
    assert_free(gateway, provider)


def test_a_caller_without_time(one_at_a_time, provider):
    gateway = one_at_a_time()
    provider.script([{"fault": "hang"}])
    assert post(gateway, **{"Signalbox-Timeout-Ms": "200"}).status_code == 504
    assert_free(gateway, provider)


@pytest.mark.parametrize("fault", [{"status": 400}, {"kind": "cut"}, "content_filter"])
def test_a_provider_that_fails(one_at_a_time, provider, fault):
    gateway = one_at_a_time()
    provider.script([{"fault": fault}])
    assert post(gateway).status_code >= 400
    assert_free(gateway, provider)


@pytest.mark.parametrize(
    "fault", [{"kind": "cut", "after_chunks": 3}, {"kind": "error_in_stream", "after_chunks": 3}]
)
def test_a_stream_that_breaks(one_at_a_time, provider, fault):
    gateway = one_at_a_time()
    provider.script([{"fault": fault}])
    post(gateway, {**LONG, "stream": True})
    assert_free(gateway, provider)


def test_many_calls_at_once_and_one_after_the_other_leave_nothing(one_at_a_time, provider):
    gateway = one_at_a_time()
    for _ in range(20):
        assert post(gateway).status_code == 200
    assert post(gateway, {**ASK, "stream": True}).status_code == 200
    assert_free(gateway, provider)


def test_answers_from_the_cache_free_the_slot_and_use_no_tokens(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    limits = [{"name": "one", "of": "tenant", "parallel": 1, "tokens": 1500}]
    file.write_text(
        yaml.safe_dump(
            {
                "deployments": [deployment(provider)],
                "limits": limits,
                "caches": [{"model": "alias", "ttl_s": 60}],
            }
        )
    )
    gateway = start_gateway(llm_deployments_file=file)
    provider.script([{"usage": {"prompt_tokens": 50, "completion_tokens": 50}}])
    # Each takes 1000 and some until it is known that it used 100, or none.
    again = {**ASK, "max_tokens": 1000}
    answers = [post(gateway, {**again, "stream": index % 2 == 1}) for index in range(10)]
    assert [each.status_code for each in answers] == [200] * 10
    assert {each.headers["signalbox-llm-cache"] for each in answers[1:]} == {"hit"}
    assert len(provider.requests()) == 1


def test_tokens_are_trued_up_to_what_was_used(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    limits = [{"name": "tpm", "of": "tenant", "tokens": 2100}]
    file.write_text(yaml.safe_dump({"deployments": [deployment(provider)], "limits": limits}))
    gateway = start_gateway(llm_deployments_file=file)
    provider.script([{"usage": {"prompt_tokens": 50, "completion_tokens": 50}}])
    large = {**ASK, "max_tokens": 2000}
    # Each takes 2000 and some until it has used 100.
    assert [post(gateway, large).status_code for _ in range(2)] == [200, 429]
    small = {**ASK, "max_tokens": 900}
    assert [post(gateway, small).status_code for _ in range(12)] == [200] * 11 + [429]
    refused = post(gateway, small)
    assert refused.headers["signalbox-limit"] == "tpm"
    assert int(refused.headers["retry-after"]) >= 1


def test_users_that_callers_name_are_counted_apart(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    limits = [{"name": "each", "of": "user", "requests": 1}]
    file.write_text(yaml.safe_dump({"deployments": [deployment(provider)], "limits": limits}))
    gateway = start_gateway(llm_deployments_file=file)
    asked = [{**ASK, "user": user} for user in ("ann", "ann", "bob")] + [ASK, ASK]
    assert [post(gateway, body).status_code for body in asked] == [200, 429, 200, 200, 200]
    message = {"model": "alias", "max_tokens": 9, "messages": ASK["messages"], "metadata": {"user_id": "bob"}}
    refused = httpx.post(f"{gateway.url}/llm/v1/messages", json=message)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.headers["signalbox-limit"] == "each"


def test_a_process_that_starts_again_knows_what_was_spent(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    budgets = [{"name": "day", "of": "tenant", "amount": "0.0012", "window": "day"}]
    file.write_text(yaml.safe_dump({"deployments": [deployment(provider)], "budgets": budgets}))
    gateway = start_gateway(llm_deployments_file=file)
    # Costs 0.0003 USD, and may cost 0.0003 for its output and less than 0.0001 for its input.
    provider.script([{"usage": {"prompt_tokens": 0, "completion_tokens": 150}}])
    asked = {**ASK, "max_tokens": 150}
    assert [post(gateway, asked).status_code for _ in range(2)] == [200] * 2
    gateway.restart()
    assert [post(gateway, asked).status_code for _ in range(3)] == [200, 429, 429]
    refused = post(gateway, asked)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert sum(row["cost_pico"] for row in gateway.rows()) == 900_000_000


def test_a_deployment_without_room_leaves_the_call_to_another(start_gateway, provider, tmp_path):
    file = tmp_path / "gateway.yaml"
    deployments = [
        deployment(provider, id="first", weight=1_000_000, limits={"parallel": 1}),
        deployment(provider, id="second", weight=1, limits={"requests": 2}),
    ]
    file.write_text(yaml.safe_dump({"deployments": deployments}))
    gateway = start_gateway(llm_deployments_file=file)
    provider.script([{"latency_ms": 700}])
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(each.status_code for each in pool.map(lambda _: post(gateway), range(4)))
    assert statuses == [200, 200, 200, 429]
    gateway.wait_for_rows(4)
    attempts = gateway.rows("ledger_attempts")
    assert sorted(row["deployment"] for row in attempts) == ["first", "second", "second"]
    assert post(gateway).status_code == 200
