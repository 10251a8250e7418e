"""``Idempotency-Key``: one call and one charge, the same reply, for whom, how long, and when a key is free again."""

import asyncio
import sqlite3
import threading

import anthropic
import httpx
import openai
import pytest
from support.gateway_app import deployment, wait_for

from signalbox.common.auth import ServiceTokens
from signalbox.contracts.identity import Principal, Scope

ASK = [{"role": "user", "content": "hello gateway"}]
BODIES = {
    "chat/completions": {"model": "alias", "messages": ASK},
    "embeddings": {"model": "fake-embedding", "input": "hello"},
    "messages": {"model": "alias", "messages": ASK, "max_tokens": 50},
    "responses": {"model": "alias", "input": "hello gateway"},
}
SECRET = "a secret that every service of this test knows"


def key_of(tenant, subject="key:1"):
    """A credential of a service that acts for a principal."""
    principal = Principal(tenant=tenant, subject=subject, scopes=frozenset({Scope.LLM}))
    return ServiceTokens(SECRET, "workflow").mint("llm_gateway", principal)


def post(gateway, path="chat/completions", key="k1", credential="local", headers=None, **fields):
    sent = {"authorization": f"Bearer {credential}", **(headers or {})}
    if key is not None:
        sent["idempotency-key"] = key
    body = {**BODIES[path], **fields}
    return httpx.post(f"{gateway.url}/llm/v1/{path}", json=body, headers=sent, timeout=30)


def replayed(response):
    return response.headers.get("signalbox-llm-replayed") == "true"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", list(BODIES))
def test_a_repeated_call_gets_the_same_reply_and_is_made_once(gateway, provider, path, streamed):
    fields = {"stream": True} if streamed and path != "embeddings" else {}
    first, second = (post(gateway, path, **fields) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert (replayed(first), replayed(second)) == (False, True)
    assert second.content == first.content
    for name in ("content-type", "signalbox-llm-call-id", "signalbox-llm-cost"):
        assert second.headers.get(name) == first.headers.get(name), name
    assert len(provider.requests()) == 1
    other = post(gateway, path, key="k2", **fields)
    assert not replayed(other)
    assert len(gateway.wait_for_rows(2)) == 2


def test_another_body_is_refused_in_the_protocols_shape(gateway, provider):
    for path in BODIES:
        post(gateway, path)
    calls = len(provider.requests())
    extra = {"extra_headers": {"idempotency-key": "k1"}}
    client = gateway.client()
    for refused_call in (
        lambda: client.chat.completions.create(**BODIES["chat/completions"], temperature=0, **extra),
        lambda: client.embeddings.create(**BODIES["embeddings"], dimensions=8, **extra),
        lambda: client.responses.create(**BODIES["responses"], temperature=0, **extra),
    ):
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            refused_call()
        assert refused.value.code == "idempotency_key_reused"
    messages = anthropic.Anthropic(base_url=f"{gateway.url}/llm", api_key="local", max_retries=0).messages
    with pytest.raises(anthropic.UnprocessableEntityError) as refused:
        messages.create(**BODIES["messages"], stop_sequences=["x"], **extra)
    assert refused.value.body["error"]["code"] == "idempotency_key_reused"
    assert len(provider.requests()) == calls


def test_the_order_of_members_makes_no_other_body(gateway, provider):
    turned = dict(reversed(BODIES["chat/completions"].items()))
    assert not replayed(post(gateway))
    response = httpx.post(
        f"{gateway.url}/llm/v1/chat/completions", json=turned, headers={"idempotency-key": "k1"}
    )
    assert replayed(response)


def test_a_key_is_its_tenants_principals_and_routes(start_gateway, provider):
    gateway = start_gateway(auth="keys", service_secret=SECRET, llm_deployments=[deployment(provider)])
    for credential in (key_of("acme"), key_of("rival"), key_of("acme", "key:2")):
        assert not replayed(post(gateway, credential=credential))
        assert not replayed(post(gateway, "messages", credential=credential))
        assert replayed(post(gateway, credential=credential))
    assert len(provider.requests()) == 6


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"kind": "cut", "after_chunks": 1}])
def test_a_call_that_failed_frees_its_key(gateway, provider, fault, streamed):
    provider.script([{"fault": fault}])
    failed = post(gateway, stream=streamed)
    assert failed.status_code != 200 or "error" in failed.text
    made = len(provider.requests())
    provider.script([])
    second, third = (post(gateway, stream=streamed) for _ in range(2))
    assert second.status_code == 200
    assert "[DONE]" in second.text or not streamed
    assert (replayed(second), replayed(third)) == (False, True)
    assert len(provider.requests()) == made + 1


def test_a_refusal_of_the_request_is_the_reply_too(gateway, provider):
    provider.script([{"fault": "content_filter"}])
    first, second = post(gateway), post(gateway)
    assert (first.status_code, second.status_code) == (400, 400)
    assert second.content == first.content
    assert len(provider.requests()) == 1


def test_a_second_call_waits_for_the_first_and_no_longer_than_it_may(gateway, provider):
    provider.script([{"latency_ms": 700}])
    replies = []
    first = threading.Thread(target=lambda: replies.append(post(gateway)))
    first.start()
    provider.wait_until(lambda seen: len(seen) == 1)
    hasty = post(gateway, headers={"signalbox-timeout-ms": "150"})
    assert (hasty.status_code, hasty.json()["error"]["code"]) == (409, "idempotency_in_progress")
    assert int(hasty.headers["retry-after"]) >= 1
    reused = post(gateway, temperature=0)
    assert reused.status_code == 422
    second = post(gateway)
    first.join()
    assert replayed(second)
    assert second.content == replies[0].content
    assert len(provider.requests()) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_when_the_first_client_leaves_the_next_one_makes_the_call(gateway, provider, streamed):
    fault = {"kind": "stall", "after_chunks": 1} if streamed else "hang"
    provider.script([{"fault": fault, "times": 1}])
    url = f"{gateway.url}/llm/v1/chat/completions"
    body = {**BODIES["chat/completions"], "stream": streamed}
    async with httpx.AsyncClient(timeout=20, headers={"idempotency-key": "k1"}) as client:

        async def leaving():
            async with client.stream("POST", url, json=body) as response:
                async for _ in response.aiter_raw():
                    pass

        first = asyncio.create_task(leaving())
        await asyncio.to_thread(provider.wait_until, lambda seen: len(seen) == 1)
        second = asyncio.create_task(client.post(url, json=body))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        response = await second
    assert response.status_code == 200
    assert not replayed(response)
    assert len(await asyncio.to_thread(provider.requests)) == 2
    outcomes = sorted(row["outcome"] for row in await asyncio.to_thread(gateway.wait_for_rows, 2))
    assert outcomes == ["aborted", "ok"]


async def test_fifty_at_once_are_one_call(gateway, provider):
    provider.script([{"latency_ms": 200}])
    async with httpx.AsyncClient(timeout=30, headers={"idempotency-key": "k1"}) as client:
        url = f"{gateway.url}/llm/v1/chat/completions"
        replies = await asyncio.gather(
            *(client.post(url, json=BODIES["chat/completions"]) for _ in range(50))
        )
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert sum(not replayed(reply) for reply in replies) == 1
    assert len(await asyncio.to_thread(provider.requests)) == 1
    assert len(await asyncio.to_thread(gateway.wait_for_rows, 1)) == 1


def test_a_reply_that_is_too_large_is_not_made_twice(start_gateway, provider):
    gateway = start_gateway(llm_deployments=[deployment(provider)], idempotency_max_reply_bytes=300)
    provider.script([{"reply": "x " * 400}])
    for streamed in (False, True):
        assert post(gateway, key=f"k{streamed}", stream=streamed).status_code == 200
        refused = post(gateway, key=f"k{streamed}", stream=streamed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_not_replayable")
    assert len(provider.requests()) == 2


def test_a_key_is_free_after_its_time_and_its_row_is_deleted(gateway, provider):
    post(gateway)
    post(gateway, key="k2")
    with sqlite3.connect(gateway.settings.data / "llm_gateway.db", timeout=10) as connection:
        (kept,) = connection.execute(
            "SELECT DISTINCT expires_at - created_at FROM llm_idempotency"
        ).fetchone()
        connection.execute("UPDATE llm_idempotency SET expires_at = 1")
    assert kept == 86_400_000
    assert not replayed(post(gateway))
    gateway.restart()
    wait_for(lambda: len(gateway.rows("llm_idempotency")) == 1)
    assert replayed(post(gateway))


def test_a_call_without_a_key_leaves_nothing_and_a_key_has_a_length(gateway, provider):
    assert post(gateway, key=None).status_code == 200
    assert gateway.rows("llm_idempotency") == []
    for key in ("", "k" * 256):
        refused = post(gateway, key=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "malformed_request")
    assert post(gateway, key="k" * 255).status_code == 200
    assert len(provider.requests()) == 2


def test_a_background_response_is_created_once(gateway, provider):
    first, second = (post(gateway, "responses", background=True) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    wait_for(lambda: gateway.client().responses.retrieve(first.json()["id"]).status == "completed")
    assert len(provider.requests()) == 1
