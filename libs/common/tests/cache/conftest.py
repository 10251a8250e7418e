"""Both caches, on the real clock and on one that the test moves."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from signalbox.common.cache import Cache, MemoryCache
from signalbox.common.cache.redis import RedisCache
from signalbox_local import RedisServer


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
