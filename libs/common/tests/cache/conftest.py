"""Both caches, on the real clock and on one that the test moves."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from signalbox.common.cache import Cache, MemoryCache
from signalbox.common.cache.redis import RedisCache
from signalbox.common.cache.redis.scripts import load_script
from signalbox_local import RedisServer

START_S = 1_700_000_000


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
async def redis_cache(redis_server, namespace) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_server.url, timeout_s=5, namespace=namespace)
    yield cache
    await cache.close()


@pytest.fixture
async def second_redis_cache(redis_server, namespace) -> AsyncIterator[RedisCache]:
    """Another replica: its own connection, the same keys."""
    cache = RedisCache(redis_server.url, timeout_s=5, namespace=namespace)
    yield cache
    await cache.close()


@pytest.fixture(params=["memory", "redis"])
def cache(request) -> Cache:
    return MemoryCache() if request.param == "memory" else request.getfixturevalue("redis_cache")


class Clock:
    """Microseconds that only the test moves, so that sums of fractions stay exact."""

    def __init__(self) -> None:
        self.us = START_S * 1_000_000

    def __call__(self) -> float:
        return self.us / 1_000_000


@dataclass
class Clocked:
    """A cache whose limits count on `clock`."""

    cache: Cache
    clock: Clock
    publish: Callable[[], Awaitable[None]]

    async def advance(self, us: int) -> None:
        self.clock.us += us
        await self.publish()


@pytest.fixture(params=["memory", "redis"])
async def clocked(request, redis_server, namespace) -> AsyncIterator[Clocked]:
    clock = Clock()
    if request.param == "memory":
        yield Clocked(MemoryCache(clock=clock), clock, lambda: asyncio.sleep(0))
        return
    cache = RedisCache(redis_server.url, timeout_s=5, namespace=namespace)

    async def publish() -> None:
        await cache._client.call("SET", f"{namespace}:clock", clock.us, "PX", 600_000)

    await publish()
    for name in ("reserve", "settle", "used"):
        script = load_script("limits", name)
        told = f"{{0, redis.call('GET', '{namespace}:clock')}}"
        source = script.source.replace("redis.call('TIME')", told)
        # Keys expire on the real clock, which may run ahead of the test's.
        source = source.replace("'PEXPIRE', key, ttl", "'PEXPIRE', key, 600000").replace(
            "'PX', keep", "'PX', 600000"
        )
        assert source != script.source
        sha = await cache._client.call("SCRIPT", "LOAD", source)
        setattr(cache.limits, f"_{name}", type(script)(source, sha.decode()))
    yield Clocked(cache, clock, publish)
    await cache.close()


Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[float]]


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition; returns the seconds it took, fails after ten."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> float:
        started = time.monotonic()
        while not await condition():
            assert time.monotonic() - started < 10, "the condition never came true"
            await asyncio.sleep(0.01)
        return time.monotonic() - started

    return wait
