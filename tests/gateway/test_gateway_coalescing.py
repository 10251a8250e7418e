"""Identical calls at a time: made once, heard by all, each admitted and in the books, whoever leaves or fails."""

import asyncio

import httpx
import pytest
import yaml
from support.gateway_app import deployment, wait_for

ASK = [{"role": "user", "content": "tell me a long story"}]
SLOW = {"reply": "one two three four five six seven eight", "latency_ms": 150, "chunk_delay_ms": 30}
ALLOW = {"signalbox-llm-coalesce": "allow"}


@pytest.fixture
def coalescing(start_gateway, provider, tmp_path):
    """A gateway that coalesces the calls of ``alias``, those of ``plain`` when their callers allow it."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "deployments": [deployment(provider), deployment(provider, "plain")],
                "caches": [{"model": "alias", "coalesce": True}],
                "models": [{"name": "*", "max_attempts": 1}],
                "limits": [{"name": "at-once", "of": "tenant", "parallel": 8}],
            }
        )
    )
    return start_gateway(llm_deployments_file=file)


@pytest.fixture
async def client(coalescing):
    async with httpx.AsyncClient(
        base_url=f"{coalescing.url}/llm/v1", headers={"authorization": "Bearer local"}, timeout=20
    ) as opened:
        yield opened


def body(model="alias", **fields):
    return {"model": model, "messages": ASK, **fields}


async def post(client, headers=None, **fields):
    return await client.post("chat/completions", json=body(**fields), headers=headers)


async def seen(provider, count):
    await asyncio.to_thread(provider.wait_until, lambda found: len(found) >= count)


def labels(responses):
    return sorted(response.headers.get("signalbox-llm-cache", "none") for response in responses)


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_at_a_time_are_one_at_the_provider_and_one_row_each(
    coalescing, client, provider, streamed
):
    provider.script([SLOW])
    responses = await asyncio.gather(*(post(client, stream=streamed) for _ in range(6)))
    assert labels(responses) == ["coalesced"] * 5 + ["miss"]
    assert len(await asyncio.to_thread(provider.requests)) == 1
    assert len({response.content for response in responses}) == 1
    assert len({response.headers["signalbox-llm-call-id"] for response in responses}) == 6
    rows = await asyncio.to_thread(coalescing.wait_for_rows, 6)
    assert {row["outcome"] for row in rows} == {"ok"}
    (made,) = [row for row in rows if row["cached"] is None]
    assert made["cost_pico"] > 0
    followed = [row for row in rows if row["cached"] == "coalesced"]
    assert [
        (row["cost_pico"], row["priced"], row["input_tokens"], row["output_tokens"]) for row in followed
    ] == [(0, 1, 0, 0)] * 5
    assert len(coalescing.rows("ledger_attempts")) == 1
    # Slots are free again: eight more fit at a time.
    again = await asyncio.gather(*(post(client, seed=number) for number in range(8)))
    assert {response.status_code for response in again} == {200}


async def test_who_joins_late_hears_the_stream_from_its_beginning_and_then_live(client, provider):
    provider.script([{**SLOW, "chunk_delay_ms": 100}])
    first = asyncio.create_task(post(client, stream=True))
    await asyncio.to_thread(provider.wait_until, lambda found: bool(found) and found[0].chunks_sent >= 3)
    second = asyncio.create_task(post(client, stream=True, stream_options={"include_usage": True}))
    one, two = await asyncio.gather(first, second)
    assert labels([one, two]) == ["coalesced", "miss"]
    assert '"usage":{' not in one.text
    usage = [line for line in two.text.splitlines() if '"usage":{' in line]
    assert len(usage) == 1
    rest = [line for line in two.text.splitlines() if line and line not in usage]
    assert rest == [line for line in one.text.splitlines() if line]
    assert len(await asyncio.to_thread(provider.requests)) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_call_goes_on_when_the_first_client_leaves(coalescing, client, provider, streamed):
    provider.script([{**SLOW, "latency_ms": 400}])
    first = asyncio.create_task(post(client, stream=streamed))
    await seen(provider, 1)
    second = asyncio.create_task(post(client, stream=streamed))
    await asyncio.sleep(0.1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    response = await second
    assert response.status_code == 200
    assert labels([response]) == ["coalesced"]
    assert "[DONE]" in response.text or not streamed
    (record,) = await asyncio.to_thread(provider.requests)
    assert not record.disconnected
    rows = await asyncio.to_thread(coalescing.wait_for_rows, 2)
    assert sorted((row["outcome"], row["cached"] or "") for row in rows) == [("ok", ""), ("ok", "coalesced")]
    assert sum(row["cost_pico"] for row in rows) > 0
    assert {row["estimated"] for row in rows} == {0}


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_provider_is_stopped_when_the_last_one_leaves(coalescing, client, provider, streamed):
    provider.script([{"fault": {"kind": "stall", "after_chunks": 1}} if streamed else {"fault": "hang"}])
    callers = [asyncio.create_task(post(client, stream=streamed)) for _ in range(3)]
    await seen(provider, 1)
    await asyncio.sleep(0.2)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.to_thread(provider.wait_until, lambda found: found[-1].disconnected, timeout=2)
    rows = await asyncio.to_thread(coalescing.wait_for_rows, 3)
    assert {(row["outcome"], row["status"]) for row in rows} == {("aborted", 499)}
    assert sorted(row["cached"] or "" for row in rows) == ["", "coalesced", "coalesced"]
    # The next one is a call of its own.
    provider.script([])
    assert labels([await post(client, stream=streamed)]) == ["miss"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_is_everybodys_each_in_its_own_row(coalescing, client, provider, streamed):
    fault = {"kind": "cut", "after_chunks": 2} if streamed else {"status": 503, "code": "busy"}
    provider.script([{**SLOW, "fault": fault}])
    responses = await asyncio.gather(*(post(client, stream=streamed) for _ in range(4)))
    assert len(await asyncio.to_thread(provider.requests)) == 1
    if streamed:
        assert all('"error":' in response.text for response in responses)
        assert all("[DONE]" not in response.text for response in responses)
    else:
        assert {(response.status_code, response.json()["error"]["code"]) for response in responses} == {
            (503, "busy")
        }
    rows = await asyncio.to_thread(coalescing.wait_for_rows, 4)
    assert {row["outcome"] for row in rows} == {"error"}
    assert sum(row["cached"] == "coalesced" for row in rows) == 3
    provider.script([])
    assert labels([await post(client, stream=streamed)]) == ["miss"]


async def test_who_listens_waits_no_longer_than_it_may(coalescing, client, provider):
    provider.script([{**SLOW, "latency_ms": 600}])
    first = asyncio.create_task(post(client))
    await seen(provider, 1)
    hasty = await post(client, headers={"signalbox-timeout-ms": "100"})
    assert hasty.status_code == 504
    assert (await first).status_code == 200
    assert len(await asyncio.to_thread(provider.requests)) == 1


async def test_calls_that_differ_are_apart_and_so_are_those_that_want_to_be(client, provider):
    provider.script([SLOW])
    responses = await asyncio.gather(
        post(client),
        post(client, seed=1),
        post(client, stream=True),
        post(client, headers={"cache-control": "no-cache"}),
        post(client, model="plain"),
        post(client, model="plain"),
    )
    assert {response.status_code for response in responses} == {200}
    assert len(await asyncio.to_thread(provider.requests)) == 6


async def test_a_caller_may_allow_it_where_no_rule_does(client, provider):
    provider.script([SLOW])
    responses = await asyncio.gather(*(post(client, ALLOW, model="plain") for _ in range(3)))
    assert labels(responses) == ["coalesced", "coalesced", "miss"]
    assert len(await asyncio.to_thread(provider.requests)) == 1


async def test_each_is_admitted(coalescing, client, provider):
    provider.script([SLOW])
    responses = await asyncio.gather(*(post(client) for _ in range(12)))
    assert sorted(response.status_code for response in responses) == [200] * 8 + [429] * 4
    assert len(await asyncio.to_thread(provider.requests)) == 1
    await asyncio.to_thread(wait_for, lambda: len(coalescing.rows()) == 8)
