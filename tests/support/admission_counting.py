"""Counters of limits and budgets in tests: in memory and in Redis, on a clock that the test moves."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from signalbox.common.cache.redis.address import parse_url
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.scripts import Script
from signalbox.llm_gateway.admission.calendar import window_at
from signalbox.llm_gateway.admission.counters import Amounts, Counters, Used
from signalbox.llm_gateway.admission.demands import Demand, DemandSet, Scope
from signalbox.llm_gateway.admission.memory import MemoryCounters
from signalbox.llm_gateway.admission.redis import RedisCounters

START_S = 1_700_000_000
NONE = Amounts(0, 0)


class Clock:
    """Microseconds that only the test moves, so that sums of fractions stay exact."""

    def __init__(self) -> None:
        self.us = START_S * 1_000_000

    def __call__(self) -> float:
        return self.us / 1_000_000


@dataclass
class Counting:
    """Counters on ``clock``; ``another`` gives those of another process, or the same in memory."""

    counters: Any
    clock: Clock
    publish: Callable[[], Awaitable[None]]
    another: Callable[[], Awaitable[Any]]
    client: RedisClient | None = None
    prefix: str = ""

    async def advance(self, us: int) -> None:
        self.clock.us += us
        await self.publish()

    async def go_to(self, us: int) -> None:
        await self.advance(us - self.clock.us)


def in_memory() -> Counting:
    clock = Clock()
    counters = MemoryCounters(clock)

    async def another() -> Counters:
        return counters

    return Counting(counters, clock, lambda: asyncio.sleep(0), another)


async def in_redis(url: str, *, real_clock: bool = False) -> Counting:
    """Counters whose scripts read the time from a key; keys expire late, as the real clock may run ahead."""
    clock = Clock()
    prefix = f"test-{uuid.uuid4().hex}:"
    client = RedisClient(parse_url(url), timeout_s=5)

    async def publish() -> None:
        await client.call("SET", f"{prefix}clock", clock.us, "PX", 600_000)

    async def another() -> RedisCounters:
        counters = RedisCounters(client, uuid.uuid4().hex, prefix=prefix)
        if not real_clock:
            for name in ("_turn", "_seed"):
                setattr(counters, name, await _told(client, getattr(counters, name), f"{prefix}clock"))
        return counters

    await publish()
    counters = await another()
    await counters.beat(10_000)
    await counters.open_budgets()
    return Counting(counters, clock, publish, another, client, prefix)


async def _told(client: RedisClient, script: Script, clock: str) -> Script:
    """The script, told the time by a key."""
    source = script.source.replace("redis.call('TIME')", f"{{0, redis.call('GET', '{clock}')}}")
    source = source.replace("redis.call('PEXPIRE', key,", "redis.call('PEXPIRE', key, 600000 +")
    source = re.sub(r"redis\.call\('PEXPIREAT', [^\n]*", "", source)
    assert source != script.source
    return Script(source, (await client.call("SCRIPT", "LOAD", source)).decode())


def requests(limit: int = 1, window_s: int = 60, name: str = "rpm") -> Demand:
    return Demand("requests", name, f"requests:{name}:{window_s}", limit, window_s)


def tokens(limit: int, window_s: int = 60) -> Demand:
    return Demand("tokens", "tpm", f"tokens:{window_s}", limit, window_s)


def parallel(limit: int = 1) -> Demand:
    return Demand("parallel", "together", "parallel", limit)


def budget(limit: int, clock: Clock, window: str = "day", *, hard: bool = True, zone: str = "UTC") -> Demand:
    at = window_at(window, zone, clock.us // 1000)
    kind = "hard" if hard else "soft"
    return Demand(
        kind,
        "money",
        f"budget:{window}:{at.start_ms}",
        limit,
        start_ms=at.start_ms,
        end_ms=at.end_ms,
        rule=f"money:{window}",
        scope=Scope("default", "tenant", "default", "USD"),
    )


def asked(*demands: Demand) -> DemandSet:
    return DemandSet.of(list(demands))


def used(tokens_used: int = 0, nano: int = 0, *extensions: int) -> Used:
    return Used(Amounts(tokens_used, nano), tuple(extensions))
