"""Sliding windows: never more than the limit in any span, all windows of a call or none."""

import asyncio

from signalbox.common.cache import MemoryCache, Window

MINUTE = 60


async def counted(cache, *windows, seconds=MINUTE):
    return await cache.windows.count(windows, seconds)


async def test_a_window_takes_its_limit_and_no_more(cache):
    window = Window("a", 3)
    assert [await counted(cache, window) for _ in range(5)] == [None, None, None, window, window]
    assert await counted(cache, Window("b", 1)) is None


async def test_who_is_refused_by_one_window_counts_in_none(cache):
    wide, narrow = Window("wide", 2), Window("narrow", 1)
    assert await counted(cache, wide, narrow) is None
    assert await counted(cache, wide, narrow) == narrow
    assert await counted(cache, wide) is None
    assert await counted(cache, wide) == wide
    assert await counted(cache) is None


async def test_many_at_once_get_the_limit_exactly(cache):
    window = Window("a", 7)
    results = await asyncio.gather(*(counted(cache, window) for _ in range(50)))
    assert results.count(None) == 7


async def test_replicas_share_a_window(redis_cache, second_redis_cache):
    window = Window("a", 10)
    results = await asyncio.gather(
        *(counted(cache, window) for cache in (redis_cache, second_redis_cache) for _ in range(10))
    )
    assert results.count(None) == 10


async def test_what_is_long_ago_counts_no_more(cache, eventually):
    window = Window("a", 1)
    assert await counted(cache, window, seconds=1) is None
    assert await counted(cache, window, seconds=1) == window

    async def free():
        return await counted(cache, window, seconds=1) is None

    # A second counts whole until it has left: two at most.
    assert await eventually(free) < 3


async def test_in_memory_a_window_slides_and_is_forgotten():
    moment = [1000.0]
    cache = MemoryCache(clock=lambda: moment[0])
    window = Window("a", 2)
    assert await counted(cache, window) is None
    moment[0] = 1030.0
    assert await counted(cache, window) is None
    moment[0] = 1060.0
    assert await counted(cache, window) == window
    moment[0] = 1061.0
    assert await counted(cache, window) is None
    moment[0] = 1062.5
    assert await counted(cache, window) == window
    moment[0] = 1200.0
    assert await counted(cache, Window("b", 1)) is None
    assert len(cache.windows) == 1
