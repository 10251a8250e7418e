"""``Idempotency-Key`` over two processes, one PostgreSQL and one Redis; owners that die, a database that is away."""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import yaml
from support.gateway_app import deployment, wait_for
from support.gateway_replicas import GatewayProcess, ledger_rows

from signalbox.common.storage.migrations import MigrationSource
from signalbox_local import PostgresServer, RedisServer

SOURCE = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
BODY = {"model": "alias", "messages": [{"role": "user", "content": "hello gateway"}]}


@pytest.fixture(scope="module")
def redis_server():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def database_url(database_supply, tmp_path_factory):
    return database_supply.url(SOURCE, "postgresql", tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="module")
def replicas(redis_server, database_url, shared_provider, tmp_path_factory):
    """Two processes, of which a silent one is taken for dead after two seconds. The last test kills one of them."""
    directory = tmp_path_factory.mktemp("replicas")
    file = directory / "gateway.yaml"
    file.write_text(yaml.safe_dump({"deployments": [deployment(shared_provider)]}))
    started = [
        GatewayProcess(directory / name, redis_server.url, database_url, file, llm_silent_s=2)
        for name in ("first", "second")
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(GatewayProcess.start, started))
    yield started
    for process in started:
        process.stop()


def post(gateway, key="k", **fields):
    headers = {} if key is None else {"idempotency-key": key}
    return httpx.post(
        f"{gateway.url}/llm/v1/chat/completions", json={**BODY, **fields}, headers=headers, timeout=30
    )


def replayed(response):
    return response.headers.get("signalbox-llm-replayed") == "true"


@pytest.mark.parametrize("streamed", [False, True])
async def test_fifty_at_once_over_two_replicas_are_one_call_one_row_and_one_reply(
    replicas, provider, database_url, streamed
):
    provider.script([{"latency_ms": 300}])
    async with httpx.AsyncClient(headers={"idempotency-key": f"fifty-{streamed}"}, timeout=30) as client:
        replies = await asyncio.gather(
            *(
                client.post(
                    f"{replicas[number % 2].url}/llm/v1/chat/completions", json={**BODY, "stream": streamed}
                )
                for number in range(50)
            )
        )
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["signalbox-llm-call-id"] for reply in replies}) == 1
    assert sum(not replayed(reply) for reply in replies) == 1
    assert len(await asyncio.to_thread(provider.requests)) == 1

    def rows():
        return [row for row in ledger_rows(database_url) if row["streamed"] == streamed]

    await asyncio.to_thread(wait_for, lambda: bool(rows()))
    (row,) = rows()
    assert row["call_id"] == replies[0].headers["signalbox-llm-call-id"]


def test_a_key_of_a_slow_call_is_not_taken_from_its_process(replicas, provider):
    first, second = replicas
    provider.script([{"latency_ms": 4000}])
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(post, first, "slow")
        provider.wait_until(lambda seen: len(seen) == 1)
        two = pool.submit(post, second, "slow")
        assert [replayed(one.result()), replayed(two.result())] == [False, True]
    assert len(provider.requests()) == 1


def test_a_key_of_a_process_that_was_killed_is_free_soon_after(replicas, provider):
    killed, other = replicas
    provider.script([{"fault": "hang", "times": 1}])
    with ThreadPoolExecutor(2) as pool:
        lost = pool.submit(post, killed)
        provider.wait_until(lambda seen: len(seen) == 1)
        waiting = pool.submit(post, other)
        began = time.monotonic()
        killed.signal(signal.SIGKILL)
        assert isinstance(lost.exception(), httpx.TransportError)
        response = waiting.result()
    assert response.status_code == 200
    assert not replayed(response)
    assert 0.5 < time.monotonic() - began < 6
    assert len(provider.requests()) == 2
    assert replayed(post(other))
    assert post(other, temperature=0).status_code == 422


@pytest.mark.faults
def test_while_the_database_is_away_no_call_is_made_twice_and_none_without_a_key_fails(
    start_gateway, provider
):
    with PostgresServer(own=True) as postgres, RedisServer() as redis:
        url = postgres.create_database("idempotency")
        shared = {"database_url": url, "redis_url": redis.url, "llm_deployments": [deployment(provider)]}
        closed, opened = start_gateway(**shared), start_gateway(**shared, idempotency_when_unavailable="open")
        assert not replayed(post(closed))
        postgres.freeze()
        began = time.monotonic()
        refused = post(closed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "idempotency_unavailable")
        assert refused.headers["retry-after"]
        assert time.monotonic() - began < 4
        assert post(opened).status_code == 200
        assert post(closed, key=None).status_code == 200
        postgres.thaw()
        wait_for(lambda: replayed(post(closed)))
        for gateway in (closed, opened):
            gateway.stop()
