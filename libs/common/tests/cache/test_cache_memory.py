import asyncio
import random

import pytest

from signalbox.common.cache import CacheUrlError, MemoryCache, StoredValue, open_cache
from signalbox.common.cache.memory.expiries import Expiries
from signalbox.common.cache.redis import RedisCache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def test_a_value_lives_exactly_as_long_as_it_says(clock):
    cache = MemoryCache(clock=clock)
    await cache.values.put(StoredValue("a", b"1", 1_000))
    clock.now = 0.999
    assert await cache.values.get("a") == b"1"
    clock.now = 1.0
    assert await cache.values.get("a") is None
    assert cache.values.size == 0


async def test_values_stay_within_their_bytes_and_the_least_used_go_first(clock):
    cache = MemoryCache(max_bytes=100_000, clock=clock)
    for number in range(50):
        await cache.values.put(StoredValue(f"k{number}", bytes(1_000), 60_000))
    assert await cache.values.get("k0") is not None
    for number in range(50, 120):
        await cache.values.put(StoredValue(f"k{number}", bytes(1_000), 60_000))
        assert await cache.values.get("k0") is not None
        assert cache.values.size <= 100_000
    assert await cache.values.get("k1") is None
    assert await cache.values.get("k119") is not None


async def test_a_value_larger_than_everything_is_not_kept(clock):
    cache = MemoryCache(max_bytes=10_000, clock=clock)
    await cache.values.put(StoredValue("big", bytes(100), 60_000))
    await cache.values.put(StoredValue("big", bytes(20_000), 60_000))
    assert await cache.values.get("big") is None
    assert cache.values.size == 0


async def test_a_value_put_a_million_times_takes_the_memory_of_one(clock):
    cache = MemoryCache(clock=clock)
    for number in range(20_000):
        clock.now = number / 1000
        await cache.values.put(StoredValue("a", b"1", 3_600_000))
    assert len(cache.values._expiries._heap) < 200


async def test_logs_stay_within_their_bytes(clock):
    cache = MemoryCache(max_bytes=100_000, clock=clock)
    for number in range(100):
        await cache.logs.append(f"log{number}", 1, [bytes(3_000)], 60_000)
        assert cache.logs.size <= 100_000
    assert await cache.logs.bounds("log0") is None
    assert await cache.logs.bounds("log99") == (1, 1)

    for number in range(1, 101):
        await cache.logs.append("one", number, [bytes(3_000)], 60_000)
    assert cache.logs.size <= 100_000
    first, last = await cache.logs.bounds("one")
    assert 60 < first < last == 100
    assert [number for number, _ in await cache.logs.read("one", 0)] == list(range(first, 101))


async def test_expired_logs_free_their_bytes(clock):
    cache = MemoryCache(clock=clock)
    await cache.logs.append("a", 1, [b"1", b"2"], 1_000)
    clock.now = 1.0
    assert await cache.logs.bounds("a") is None
    assert cache.logs.size == 0


async def test_leases_leave_nothing_behind(clock):
    cache = MemoryCache(clock=clock)
    for number in range(1_000):
        await cache.leases.acquire(f"l{number}", "a", 1_000)
    clock.now = 62.0
    await cache.leases.acquire("last", "a", 1_000)
    assert len(cache.leases) == 1


def test_expiries_come_out_in_order_and_once():
    rng = random.Random(3)
    expiries = Expiries()
    moments = {}
    for _ in range(5_000):
        key = f"k{rng.randint(0, 300)}"
        if rng.random() < 0.2:
            expiries.forget(key)
            moments.pop(key, None)
        else:
            moments[key] = rng.randint(0, 1_000)
            expiries.set(key, moments[key])
    assert list(expiries.due(500)) == sorted(
        (key for key, at in moments.items() if at <= 500), key=lambda key: (moments[key], key)
    )
    assert list(expiries.due(500)) == []
    assert len(expiries) == sum(at > 500 for at in moments.values())


async def test_waiting_leaves_nothing_behind():
    cache = MemoryCache()
    await cache.leases.acquire("l", "a", 60_000)
    waiting = [asyncio.create_task(cache.leases.wait("l", 30_000)) for _ in range(10)]
    waiting += [asyncio.create_task(cache.logs.read("t", 0, 30_000)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not cache.leases._wakeups._waiting
    assert not cache.logs._wakeups._waiting


async def test_the_url_chooses_the_cache():
    assert isinstance(open_cache(None), MemoryCache)
    assert isinstance(open_cache("redis://localhost:1/2"), RedisCache)
    assert isinstance(open_cache("rediss://user:pass@localhost"), RedisCache)


@pytest.mark.parametrize(
    "url",
    [
        "memcached://localhost",
        "localhost:6379",
        "redis://h:port",
        "redis://h/zero",
        "redis://h?colour=red",
        "rediss://h?ssl_cert_reqs=maybe",
        "rediss://h?ssl_ca_certs=/no/such/file",
    ],
)
def test_a_wrong_url_is_refused_in_words(url):
    with pytest.raises(CacheUrlError):
        open_cache(url)
