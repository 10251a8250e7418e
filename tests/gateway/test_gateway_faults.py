"""Providers that are silent, slow or broken, and clients that leave."""

import asyncio

import httpx
import openai
import pytest
from support.gateway_app import deployment, wait_for

pytestmark = pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"], indirect=True)
ASK = [{"role": "user", "content": "hello gateway"}]
LONG = [{"role": "user", "content": "a long answer " * 40}]


def stream(gateway, **fields):
    return gateway.client().chat.completions.create(model="alias", messages=LONG, stream=True, **fields)


@pytest.mark.parametrize(
    "fault", [{"kind": "cut", "after_chunks": 5}, {"kind": "cut", "after_chunks": 5, "reset": True}]
)
def test_a_stream_that_is_cut_ends_with_an_error(gateway, provider, fault):
    provider.script([{"fault": fault}])
    seen = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(stream(gateway))
    assert raised.value.code == "provider_broke_off"
    assert len(seen) >= 1
    (row,) = gateway.wait_for_rows(1)
    assert (row["outcome"], row["status"], row["estimated"]) == ("error", 502, 1)
    assert 0 < row["output_tokens"] < 20


def test_an_error_in_a_stream_is_passed_on(gateway, provider):
    provider.script(
        [{"fault": {"kind": "error_in_stream", "after_chunks": 2, "message": "overloaded", "code": "busy"}}]
    )
    with pytest.raises(openai.APIError) as raised:
        list(stream(gateway))
    assert (raised.value.code, "overloaded" in raised.value.message) == ("busy", True)


def test_a_stream_without_done_and_one_with_a_broken_event_are_whole(gateway, provider):
    for fault in ("missing_done", {"kind": "malformed_chunk", "after_chunks": 3}):
        provider.script([{"fault": fault}])
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream(gateway))
        assert text.strip() == f"echo: {LONG[0]['content']}".strip()
    rows = gateway.wait_for_rows(2)
    assert [(row["outcome"], row["estimated"]) for row in rows] == [("ok", 0), ("ok", 0)]


def test_a_provider_that_reports_no_usage_is_estimated(gateway, provider):
    provider.script([{"usage": False}])
    list(stream(gateway))
    (row,) = gateway.wait_for_rows(1)
    assert (row["outcome"], row["estimated"]) == ("ok", 1)
    assert row["output_tokens"] > 50


def test_a_silent_provider_is_given_up_on_in_time(start_gateway, provider):
    gateway = start_gateway(
        llm_deployments=[
            deployment(provider, timeout_s=0.3),
            deployment(provider, "first", first_token_timeout_s=0.3),
            deployment(provider, "stall", stall_timeout_s=0.3),
        ]
    )
    client = gateway.client()
    provider.script([{"fault": "hang"}])
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="alias", messages=ASK)
    assert (raised.value.status_code, raised.value.code) == (504, "provider_timeout")
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="first", messages=ASK, stream=True)
    provider.script([{"fault": {"kind": "slow_first_token", "delay_ms": 20000}}])
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="first", messages=ASK, stream=True))
    assert raised.value.code == "provider_timeout"
    provider.script([{"fault": {"kind": "stall", "after_chunks": 2}}])
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="stall", messages=LONG, stream=True))
    assert raised.value.code == "provider_timeout"
    assert {row["outcome"] for row in gateway.wait_for_rows(4)} == {"timeout"}
    wait_for(lambda: provider.open_requests() == 0)
    provider.script([])
    assert client.chat.completions.create(model="alias", messages=ASK).choices


def test_the_callers_deadline_is_kept(gateway, provider):
    provider.script([{"fault": "hang"}])
    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client().chat.completions.create(
            model="alias", messages=ASK, extra_headers={"Signalbox-Timeout-Ms": "200"}
        )
    assert raised.value.status_code == 504


def test_a_provider_that_is_not_there_is_503(start_gateway, provider):
    gateway = start_gateway(llm_deployments=[deployment(provider, base_url="http://127.0.0.1:9/v1")])
    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client().chat.completions.create(model="alias", messages=ASK)
    assert (raised.value.status_code, raised.value.code) == (503, "provider_unreachable")
    (row,) = gateway.wait_for_rows(1)
    assert (row["input_tokens"], row["estimated"], row["cost_pico"]) == (0, 0, 0)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_stops_the_provider_and_has_one_row(gateway, provider, streamed):
    provider.script([{"fault": {"kind": "stall", "after_chunks": 3}} if streamed else {"fault": "hang"}])
    body = {"model": "alias", "messages": LONG, "stream": streamed}
    async with httpx.AsyncClient(timeout=10) as client:

        async def call():
            async with client.stream("POST", f"{gateway.url}/llm/v1/chat/completions", json=body) as response:
                async for _ in response.aiter_raw():
                    break

        if streamed:
            await call()
        else:
            task = asyncio.create_task(call())
            await asyncio.to_thread(provider.wait_until, bool)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(provider.wait_until, lambda seen: seen[-1].disconnected, timeout=2)
    (row,) = await asyncio.to_thread(gateway.wait_for_rows, 1)
    assert (row["outcome"], row["status"], row["estimated"], row["streamed"]) == (
        "aborted",
        499,
        1,
        int(streamed),
    )
    assert row["input_tokens"] > 0


async def test_many_calls_at_once_have_a_row_each(gateway):
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/llm/v1", api_key="local", max_retries=0)

    async def call(number):
        if number % 2:
            stream = await client.chat.completions.create(model="alias", messages=ASK, stream=True)
            return len([chunk async for chunk in stream])
        return len((await client.chat.completions.create(model="alias", messages=ASK)).choices)

    assert all(await asyncio.gather(*(call(number) for number in range(60))))
    await client.close()
    rows = await asyncio.to_thread(gateway.wait_for_rows, 60)
    assert len({row["call_id"] for row in rows}) == len(rows) == 60
    assert {row["outcome"] for row in rows} == {"ok"}
