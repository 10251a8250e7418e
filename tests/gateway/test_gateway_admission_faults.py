"""Processes that are killed, and a Redis that is down, slow, frozen or emptied, while gateways answer calls."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import redis
import yaml
from support.databases import DatabaseSupply
from support.gateway_app import RunningGateway, deployment, wait_for
from support.gateway_replicas import GatewayProcess, counters, ledger_rows
from support.slow_proxy import SlowProxy

from signalbox.common.storage.migrations import MigrationSource
from signalbox_fake_provider import FakeProvider
from signalbox_local import RedisServer

pytestmark = pytest.mark.faults
SOURCE = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
ASK = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
LIMITS = [{"name": "many", "of": "tenant", "parallel": 100, "requests": 10_000, "tokens": 10**9}]
BUDGET = {"name": "day", "of": "tenant", "amount": "1", "window": "day"}


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer(own=True) as server:
        yield server


@pytest.fixture
def database_url(database_supply: DatabaseSupply, tmp_path: Path) -> str:
    return database_supply.url(SOURCE, "postgresql", tmp_path)


@pytest.fixture
def file(tmp_path: Path, provider: FakeProvider) -> Callable[..., Path]:
    def write(**sections: Any) -> Path:
        path = tmp_path / "gateway.yaml"
        path.write_text(yaml.safe_dump({"deployments": [deployment(provider)], **sections}))
        return path

    return write


@pytest.fixture
def processes(
    redis_server: RedisServer, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts gateway processes over one Redis, emptied, and one PostgreSQL."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    started: list[GatewayProcess] = []

    def start(file: Path, **settings: Any) -> GatewayProcess:
        directory = tmp_path / f"process{len(started)}"
        process = GatewayProcess(directory, redis_server.url, database_url, file, **settings)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()


class Callers:
    """Threads that call gateways one call after the other, and count the answers."""

    def __init__(self, gateways: list[Any], threads: int = 4, body: dict[str, Any] = ASK) -> None:
        self.statuses: list[int] = []
        self.ids: list[str] = []
        self.slowest = 0.0
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(gateways[index % len(gateways)], body))
            for index in range(threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(20)

    def _call(self, gateway: Any, body: dict[str, Any]) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._ending.is_set():
                started = time.monotonic()
                try:
                    response = client.post(f"{gateway.url}/llm/v1/chat/completions", json=body)
                except httpx.TransportError:
                    return
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses.append(response.status_code)
                if response.status_code == 200:
                    self.ids.append(response.headers["signalbox-llm-call-id"])


def post(gateway: Any, body: dict[str, Any] = ASK) -> httpx.Response:
    return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=body, timeout=20)


def test_kill_9_loses_no_call(processes, file, provider, database_url, redis_server):
    """Answered calls have their own row, those that were open an estimated one; slots are free again."""
    path = file(limits=LIMITS, budgets=[BUDGET])
    killed, other = processes(path, llm_silent_s=2), processes(path, llm_silent_s=2)
    provider.script(
        [
            {"match": {"last_user_contains": "hang"}, "fault": "hang"},
            {"usage": {"prompt_tokens": 10, "completion_tokens": 5}},
        ]
    )
    hanging = {**ASK, "messages": [{"role": "user", "content": "hang"}]}
    with Callers([killed], threads=3, body=hanging):
        wait_for(lambda: provider.open_requests() == 3)
        with Callers([killed], threads=4) as callers:
            wait_for(lambda: len(callers.ids) > 50)
            killed.signal(signal.SIGKILL)
    asked = len([each for each in provider.requests() if each.status == 200])
    wait_for(lambda: not counters(redis_server.url), timeout=15)
    rows = ledger_rows(database_url)
    by_id = {row["call_id"]: row for row in rows}
    assert len(rows) == len(by_id)
    answered = [by_id[call_id] for call_id in callers.ids]
    own = [row for row in answered if not row["reaped"]]
    assert all(row["cost_pico"] == 20_000_000 for row in own)
    # What a thread was answered last may have been on its way to Redis.
    assert len(own) >= len(answered) - 4
    died = [row for row in rows if row["error_code"] == "gateway_died"]
    assert all(row["estimated"] and row["reaped"] and row["outcome"] == "aborted" for row in died)
    # The cost is that of the tokens in the row, and budgets hold what was reserved.
    assert all(
        row["cost_pico"] == (row["input_tokens"] + 2 * row["output_tokens"]) * 10**6 < row["held_pico"]
        for row in died
    )
    # What the provider answered, and not the client, is one of both.
    assert len(callers.ids) <= asked <= len(rows) - 3 <= len(callers.ids) + 4
    assert len(died) >= 3
    assert post(other).status_code == 200


def test_sigterm_loses_no_row(processes, file, database_url, redis_server):
    ended = processes(file(limits=LIMITS, budgets=[BUDGET]))
    with Callers([ended], threads=4) as callers:
        wait_for(lambda: len(callers.ids) > 50)
        ended.signal(signal.SIGTERM)
        assert ended.wait() in {0, -signal.SIGTERM}
    rows = {row["call_id"] for row in ledger_rows(database_url)}
    assert set(callers.ids) <= rows
    assert counters(redis_server.url) == {}
    with redis.Redis.from_url(redis_server.url) as client:
        assert not [name for name in client.scan_iter() if b"calls:" in name or b"processes" in name]


def test_a_process_that_was_frozen_writes_its_own_rows(processes, file, provider, database_url, redis_server):
    path = file(limits=LIMITS, budgets=[BUDGET])
    frozen, _ = processes(path, llm_silent_s=2), processes(path, llm_silent_s=2)
    provider.script([{"latency_ms": 500, "usage": {"prompt_tokens": 10, "completion_tokens": 5}}])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, frozen)
        wait_for(lambda: provider.open_requests() == 1)
        frozen.signal(signal.SIGSTOP)
        wait_for(lambda: len(ledger_rows(database_url)) == 1, timeout=15)
        (estimated,) = ledger_rows(database_url)
        assert (estimated["error_code"], estimated["estimated"]) == ("gateway_died", 1)
        frozen.signal(signal.SIGCONT)
        assert answer.result(10).status_code == 200
    wait_for(lambda: ledger_rows(database_url)[0]["error_code"] is None)
    (row,) = ledger_rows(database_url)
    assert (row["outcome"], row["cost_pico"], row["estimated"]) == ("ok", 20_000_000, 0)
    wait_for(lambda: not counters(redis_server.url))


@pytest.fixture
def replicas(
    start_gateway: Callable[..., RunningGateway],
    redis_server: RedisServer,
    database_url: str,
) -> Iterator[Callable[..., list[RunningGateway]]]:
    """Starts gateways in threads of this process; Redis is behind a proxy, ``replicas.proxy``."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    with SlowProxy(redis_server.url) as proxy:

        def start(file: Path, count: int = 2) -> list[RunningGateway]:
            gateways = [
                start_gateway(llm_deployments_file=file, redis_url=proxy.url, database_url=database_url)
                for _ in range(count)
            ]
            wait_for(lambda: all(is_ready(each) for each in gateways))
            return gateways

        start.proxy = proxy  # type: ignore[attr-defined]
        yield start


def is_ready(gateway: RunningGateway) -> bool:
    return httpx.get(f"{gateway.url}/ready", timeout=5).status_code == 200


@pytest.mark.parametrize("trouble", ["down", "slow", "frozen"])
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_redis_that_is_away(replicas, file, redis_server, database_url, caplog, trouble, policy):
    limits = [{**LIMITS[0], "when_unavailable": policy}]
    gateways = replicas(file(limits=limits))
    assert post(gateways[0]).status_code == 200
    caplog.set_level("INFO", "signalbox.common.cache.redis.client")
    caplog.clear()
    with Callers(gateways, threads=6) as callers:
        _begin(trouble, redis_server, replicas.proxy)
        try:
            wait_for(lambda: not any(is_ready(each) for each in gateways))
            callers.statuses.clear()
            before = len(callers.statuses)
            wait_for(lambda: len(callers.statuses) > before + 100, timeout=20)
            during = list(callers.statuses)
            assert "limits" in httpx.get(f"{gateways[0].url}/ready", timeout=5).text
        finally:
            _end(trouble, redis_server, replicas.proxy)
        wait_for(lambda: all(is_ready(each) for each in gateways), timeout=15)
        wait_for(lambda: post(gateways[0]).status_code == 200, timeout=5)
    assert set(during) <= ({200} if policy == "open" else {503})
    # The call that finds out waits for the cache's second, and one that came meanwhile for no more than that again.
    assert callers.slowest < 5
    assert set(callers.statuses[-10:]) == {200}
    # Other calls than theirs have rows too, so it is not enough that there are as many.
    wait_for(lambda: set(callers.ids) <= {row["call_id"] for row in ledger_rows(database_url)})
    said = [each.message for each in caplog.records if each.name == "signalbox.common.cache.redis.client"]
    assert sum("is unavailable" in text for text in said) == len(gateways)
    assert sum("answers again" in text for text in said) == len(gateways)
    assert not [each for each in caplog.records if "limits_unavailable" in each.message]
    wait_for(lambda: set(counters(redis_server.url).values()) <= {0})


def _begin(trouble: str, server: RedisServer, proxy: SlowProxy) -> None:
    if trouble == "down":
        server.process.kill()
    elif trouble == "frozen":
        server.process.freeze()
    else:
        proxy.delay_s = 2.0


def _end(trouble: str, server: RedisServer, proxy: SlowProxy) -> None:
    if trouble == "down":
        server.process.start()
    elif trouble == "frozen":
        server.process.thaw()
    else:
        proxy.delay_s = 0.0


def test_an_emptied_redis_lets_nobody_spend_more_than_the_budget(
    replicas, file, provider, redis_server, database_url
):
    """Partly spent, and with calls open, it is emptied again and again under load."""
    worst = 100 * 2_000_000 + 200 * 1_000_000
    amount = worst * 120 / 10**12
    gateways = replicas(file(budgets=[{**BUDGET, "amount": f"{amount:.6f}"}]), 3)
    provider.script([{"latency_ms": 150, "usage": {"prompt_tokens": 80, "completion_tokens": 100}}])
    with Callers(gateways, threads=9) as callers, redis.Redis.from_url(redis_server.url) as client:
        for emptied in range(1, 4):
            wait_for(lambda emptied=emptied: len(callers.ids) >= 25 * emptied, timeout=20)
            client.flushall()
        wait_for(lambda: callers.statuses[-9:] == [429] * 9, timeout=30)
    wait_for(lambda: len(ledger_rows(database_url)) == len(callers.ids))
    spent = sum(row["cost_pico"] for row in ledger_rows(database_url))
    assert spent <= amount * 10**12
    assert spent > amount * 10**12 - 10 * worst
