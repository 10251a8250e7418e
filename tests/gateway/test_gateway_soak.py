"""A gateway under mixed load for a while: nothing grows, nothing stays taken, and the books have every call once.

Short here; ten minutes with ``make test-long``.
"""

import asyncio
import contextlib
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.databases import DatabaseSupply
from support.gateway_app import deployment, wait_for

from signalbox.common.storage.migrations import MigrationSource
from signalbox_fake_provider import FakeProvider
from signalbox_local import RedisServer, free_port

SOURCE = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
CLIENTS = 16
ABORTED = 0.05
"""Share of calls whose client leaves, at a random moment."""
PARALLEL = 64
WARM_UP_S = 8.0
"""Until what is loaded after the start is loaded, pools have their size, and caches their content."""
GROWTH_MB = 8.0
"""By how much memory may be more in the last third than in the first, for a heap's own ups and downs."""

TAKEN = (
    "signalbox_llm_calls_open",
    "signalbox_llm_deployment_in_flight",
    "signalbox_llm_ledger_rows_waiting",
    "signalbox_llm_waiting",
)
"""Metrics that are zero at rest."""

SCRIPT = [
    {"match": {"last_user_contains": "cut me"}, "reply": "one two three four five six", "chunk_delay_ms": 2,
     "fault": {"kind": "cut", "after_chunks": 3}},
    {"match": {"model": "fake-model", "last_user_contains": "fall over"}, "fault": {"status": 503}},
    {"match": {"last_user_contains": "refuse me"}, "fault": {"status": 400, "code": "invalid_value"}},
    {"latency_ms": 15, "chunk_delay_ms": 2},
]  # fmt: skip
TEXTS = ["hello there, how are you today?"] * 16 + [
    "cut me off",
    "fall over now",
    "fall over now",
    "refuse me",
]


@dataclass
class Tally:
    """What the clients know of their calls."""

    call_ids: dict[str, str] = field(default_factory=dict)
    """The call's id by session, of calls that were answered far enough to have one."""
    statuses: Counter[int] = field(default_factory=Counter)
    left: int = 0
    by_key: dict[str, set[str]] = field(default_factory=dict)
    """The calls' ids by idempotency key, of calls that were answered."""


@dataclass
class Gateway:
    """A gateway process and what can be seen of it."""

    url: str
    process: psutil.Process

    def metrics(self) -> dict[str, float]:
        """Sums of all samples by name."""
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(httpx.get(f"{self.url}/metrics").text):
            for sample in family.samples:
                found[sample.name] += sample.value
        return found

    def labelled(self, name: str, label: str) -> Counter[str]:
        """Sums of the samples of one name, by a label."""
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(httpx.get(f"{self.url}/metrics").text):
            for sample in family.samples:
                if sample.name == name:
                    found[sample.labels[label]] += sample.value
        return found


@pytest.fixture
def database_url(database_supply: DatabaseSupply, tmp_path: Path) -> str:
    return database_supply.url(SOURCE, "postgresql", tmp_path)


@pytest.fixture
def redis_url() -> Iterator[str]:
    with RedisServer(own=True) as server:
        yield server.url


@pytest.fixture
def gateway(tmp_path: Path, provider: FakeProvider, database_url: str, redis_url: str) -> Iterator[Gateway]:
    provider.script(SCRIPT)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "deployments": [
                    deployment(provider),
                    deployment(provider, "second", upstream_model="fake-small"),
                    deployment(provider, "kept", upstream_model="fake-small"),
                    deployment(
                        provider, "embedding", upstream_model="fake-embedding",
                        capabilities={"embeddings": True, "chat": False},
                    ),
                ],
                "models": [{"name": "alias", "fallbacks": ["second"], "retry_backoff_s": 0.02}],
                "caches": [{"model": "kept", "ttl_s": 1, "coalesce": True}],
                "limits": [
                    {"name": "many", "of": "tenant", "requests": 10_000_000, "tokens": 10**12},
                    {"name": "slots", "of": "tenant", "parallel": PARALLEL},
                ],
                "budgets": [{"name": "month", "of": "tenant", "amount": "100000", "window": "month"}],
            }
        )
    )  # fmt: skip
    port = free_port()
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SIGNALBOX_", "OPENAI_"))
        },
        "SIGNALBOX_DATA": str(tmp_path / "data"),
        "SIGNALBOX_DATABASE_URL": database_url,
        "SIGNALBOX_REDIS_URL": redis_url,
        "SIGNALBOX_LLM_DEPLOYMENTS_FILE": str(file),
        "SIGNALBOX_LOG_LEVEL": "error",
        "SIGNALBOX_OLLAMA_URL": "",
    }
    command = [sys.executable, "-m", "signalbox.common.cli", "serve", "llm_gateway", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (
        (tmp_path / "gateway.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stderr=log) as running,
    ):
        try:
            wait_for(lambda: is_ready(url), timeout=60)
            yield Gateway(url, psutil.Process(running.pid))
        finally:
            running.terminate()
            running.wait(timeout=20)


def is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/ready").status_code == 200
    return False


@dataclass
class Asked:
    """One request; calls with the same ``key`` are the same."""

    path: str
    body: dict[str, Any]
    streamed: bool = False
    key: str | None = None


def request_of(chance: random.Random) -> Asked:
    """A request of some kind."""
    kind, text = chance.random(), chance.choice(TEXTS)
    streamed = chance.random() < 0.5
    messages = [{"role": "user", "content": text}]
    chat = "/llm/v1/chat/completions"
    if kind < 0.1:
        return Asked("/llm/v1/embeddings", {"model": "embedding", "input": text})
    if kind < 0.3:
        body = {"model": "alias", "max_tokens": 100, "messages": messages, "stream": streamed}
        return Asked("/llm/v1/messages", body, streamed)
    if kind < 0.5:
        # Asked by several at a time, and again: answered from the cache, or by one call for all of them.
        return Asked(chat, {"model": "kept", "messages": messages, "stream": streamed}, streamed)
    if kind < 0.6:
        key = f"key-{int(time.monotonic() * 4)}"
        same = [{"role": "user", "content": "the same"}]
        return Asked(chat, {"model": "second", "messages": same}, key=key)
    return Asked(chat, {"model": "alias", "messages": messages, "stream": streamed}, streamed)


async def call(http: httpx.AsyncClient, session: str, chance: random.Random, tally: Tally) -> None:
    """One call to its end."""
    asked = request_of(chance)
    headers = {"signalbox-session-id": session, **({"Idempotency-Key": asked.key} if asked.key else {})}
    async with http.stream("POST", asked.path, json=asked.body, headers=headers) as answer:
        tally.statuses[answer.status_code] += 1
        call_id = answer.headers.get("signalbox-llm-call-id")
        if asked.key is not None and answer.status_code == 200:
            tally.by_key.setdefault(asked.key, set()).add(call_id)
        elif asked.key is None and call_id is not None:
            tally.call_ids[session] = call_id
        stop_after = chance.randrange(1, 6) if asked.streamed and chance.random() < ABORTED else None
        number = 0
        async for _ in answer.aiter_raw():
            number += 1
            if number == stop_after:
                tally.left += 1
                return


async def client(http: httpx.AsyncClient, name: int, until: float, tally: Tally) -> None:
    """Calls, one after the other; some are given up on the way."""
    chance = random.Random(name)
    for number in itertools.count():
        if time.monotonic() > until:
            return
        patience = chance.uniform(0, 0.06) if chance.random() < ABORTED / 2 else 30.0
        try:
            async with asyncio.timeout(patience):
                await call(http, f"soak-{name}-{number}", chance, tally)
        except TimeoutError:
            assert patience < 1, "a call hangs"
            tally.left += 1
        except httpx.RemoteProtocolError:
            tally.statuses[0] += 1


@dataclass
class Sample:
    """One look at the process."""

    at: float
    rss_mb: float
    descriptors: int


async def watch(gateway: Gateway, until: float) -> list[Sample]:
    samples = []
    while time.monotonic() < until:
        memory = await asyncio.to_thread(gateway.process.memory_info)
        samples.append(Sample(time.monotonic(), memory.rss / 1e6, gateway.process.num_fds()))
        await asyncio.sleep(0.25)
    return samples


@contextlib.asynccontextmanager
async def clients(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=CLIENTS * 2, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as http:
        yield http


async def load(gateway: Gateway, seconds: float, tally: Tally) -> list[Sample]:
    """Load for a while; gives what was seen of the process after it was warm."""
    warm = time.monotonic() + WARM_UP_S
    until = warm + seconds
    async with clients(gateway.url) as http, asyncio.TaskGroup() as group:
        watching = group.create_task(watch(gateway, until))
        for name in range(CLIENTS):
            group.create_task(client(http, name, until, tally))
    return [sample for sample in watching.result() if sample.at > warm]


async def all_slots_at_once(gateway: Gateway) -> list[int]:
    """The statuses of as many calls at once as there are slots."""
    body = {"model": "second", "messages": [{"role": "user", "content": "hi"}]}
    limits = httpx.Limits(max_connections=PARALLEL)
    async with httpx.AsyncClient(base_url=gateway.url, limits=limits, timeout=30) as http:
        calls = [http.post("/llm/v1/chat/completions", json=body) for _ in range(PARALLEL)]
        return [answer.status_code for answer in await asyncio.gather(*calls)]


def rows(url: str, table: str, columns: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


def open_records(url: str) -> int:
    """Calls that Redis still remembers, because they are not in the ledger."""
    with redis.Redis.from_url(url) as store:
        return sum(store.hlen(key) for key in store.scan_iter("sb:a:calls:*"))


def thirds(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    size = len(samples) // 3
    return samples[:size], samples[-size:]


def wait_until_at_rest(gateway: Gateway, before: dict[str, float]) -> None:
    """Until no call is open, no row waits, and the loop has no more tasks than at the start."""

    def taken() -> dict[str, float]:
        now = gateway.metrics()
        found = {name: now[name] for name in TAKEN if now[name]}
        more = now["signalbox_llm_loop_tasks"] - before["signalbox_llm_loop_tasks"]
        return found if more <= 0 else {**found, "tasks": more}

    try:
        wait_for(lambda: not taken(), timeout=20)
    except TimeoutError:
        pytest.fail(f"not given back: {taken()}")


@pytest.mark.parametrize("seconds", [15, pytest.param(600, marks=pytest.mark.soak)])
def test_mixed_load_leaves_nothing_behind(gateway, provider, database_url, redis_url, seconds):
    before = gateway.metrics()
    idle_descriptors = gateway.process.num_fds()
    tally = Tally()
    samples = asyncio.run(load(gateway, seconds, tally))

    # Memory and descriptors are flat.
    first, last = thirds(samples)
    grown = statistics.median(s.rss_mb for s in last) - statistics.median(s.rss_mb for s in first)
    assert grown < GROWTH_MB, f"memory grew by {grown:.1f} MB in {seconds * 2 / 3:.0f} s"
    opened = statistics.median(s.descriptors for s in last) - statistics.median(s.descriptors for s in first)
    assert opened <= CLIENTS / 2, f"{opened} more descriptors are open"

    # What was taken is given back.
    wait_until_at_rest(gateway, before)
    wait_for(lambda: open_records(redis_url) == 0)
    wait_for(lambda: provider.open_requests() == 0)
    wait_for(lambda: gateway.process.num_fds() <= idle_descriptors + CLIENTS + 8)

    # The books have every call once.
    calls = rows(database_url, "ledger_calls", "call_id, session_id, outcome")
    assert gateway.labelled("signalbox_llm_cached_calls_total", "cached").keys() >= {"exact", "coalesced"}
    by_session = Counter(session for _, session, _ in calls)
    assert set(by_session.values()) == {1}
    assert len(calls) == gateway.metrics()["signalbox_llm_calls_total"]
    assert tally.call_ids.items() <= {session: call_id for call_id, session, _ in calls}.items()
    assert {len(ids) for ids in tally.by_key.values()} == {1}, "a key was charged twice"
    assert {call_id for ids in tally.by_key.values() for call_id in ids} <= {
        call_id for call_id, _, _ in calls
    }
    attempts = rows(database_url, "ledger_attempts", "call_id, number")
    assert len(attempts) == gateway.metrics()["signalbox_llm_attempts_total"]

    # It was the load that was meant.
    outcomes = Counter(outcome for _, _, outcome in calls)
    assert outcomes["ok"] > 30 * seconds, tally.statuses
    assert min(outcomes["aborted"], outcomes["error"], tally.left) > seconds / 3
    assert set(tally.statuses) <= {0, 200, 400, 502, 503, 529}, tally.statuses
    assert asyncio.run(all_slots_at_once(gateway)) == [200] * PARALLEL
