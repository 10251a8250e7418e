"""Lines for leases: who waits gets the lease in order, process by process, and how many wait is known to all."""

import asyncio

from signalbox.common.cache import Place
from signalbox.common.cache.redis.scripts import Script


def stands(process, behind=0, limit=0):
    return Place(process, behind, limit, stands=True)


async def test_a_lease_that_is_given_back_goes_to_who_has_waited_longest(cache):
    leases = cache.leases
    await leases.acquire("l", "a/1", 60_000)
    for process in ("b", "c"):
        assert not (await leases.acquire("l", f"{process}/1", 60_000, None, stands(process))).acquired
        await asyncio.sleep(0.01)
    assert await leases.release("l", "a/1", None, "a")
    # Who has not stood in line does not get past those who have, nor does the process that had it.
    assert (await leases.acquire("l", "a/2", 60_000, None, stands("a"))).holder == "b/1"
    assert (await leases.acquire("l", "d/1", 60_000)).holder == "b/1"
    for process, turn in (("b", "b/1"), ("c", "c/1"), ("a", "a/2")):
        assert await leases.wait("l", 5_000, turn)
        assert (await leases.acquire("l", turn, 60_000, None, stands(process))).acquired
        assert await leases.release("l", turn, None, process)
    assert (await leases.acquire("l", "d/1", 60_000)).acquired


async def test_only_the_one_it_is_handed_to_wakes(cache):
    leases = cache.leases
    await leases.acquire("l", "a/1", 60_000)
    await leases.acquire("l", "b/1", 60_000, None, stands("b"))
    await asyncio.sleep(0.01)
    await leases.acquire("l", "c/1", 60_000, None, stands("c"))
    first = asyncio.create_task(leases.wait("l", 5_000, "b/1"))
    second = asyncio.create_task(leases.wait("l", 150, "c/1"))
    await asyncio.sleep(0.02)
    await leases.release("l", "a/1", None, "a")
    assert await first
    assert not await second


async def test_who_gives_up_leaves_the_line_and_passes_on_what_it_was_handed(cache):
    leases = cache.leases
    await leases.acquire("l", "a/1", 60_000)
    for process in ("b", "c", "d"):
        await leases.acquire("l", f"{process}/1", 60_000, None, stands(process))
        await asyncio.sleep(0.01)
    assert not await leases.release("l", "b/1", None, "b")
    await leases.release("l", "a/1", None, "a")
    assert await leases.release("l", "c/1", None, "c")
    assert (await leases.acquire("l", "d/1", 60_000, None, stands("d"))).acquired


async def test_an_expired_lease_goes_to_who_waits_and_not_to_who_comes(cache):
    leases = cache.leases
    await leases.acquire("l", "a/1", 60)
    await leases.acquire("l", "b/1", 60_000, None, stands("b"))
    assert await leases.wait("l", 5_000, "b/1")
    assert (await leases.acquire("l", "c/1", 60_000)).holder == "b/1"
    assert (await leases.acquire("l", "b/1", 60_000, None, stands("b"))).acquired


async def test_no_more_may_wait_in_all_than_the_limit_says(cache):
    leases = cache.leases
    await leases.acquire("l", "a/1", 60_000)
    assert await leases.stand("l", "a", 2, 5)
    assert not (await leases.acquire("l", "b/1", 60_000, None, stands("b", 0, 5))).full
    assert await leases.stand("l", "b", 3, 5)
    assert not await leases.stand("l", "b", 4, 5)
    assert not await leases.stand("l", "a", 3, 5)
    assert (await leases.acquire("l", "c/1", 60_000, None, stands("c", 0, 5))).full
    # It was not let in, so it does not count and is not handed the lease.
    await leases.release("l", "a/1", None, "a")
    granted = await leases.acquire("l", "b/1", 60_000, None, Place("b", 2, 0))
    assert granted.acquired
    assert await leases.stand("l", "c", 1, 5)
    assert not await leases.stand("l", "c", 2, 5)
    await leases.renew("l", "b/1", 60_000, "b", 1)
    assert await leases.stand("l", "c", 2, 5)


async def test_a_process_hears_that_one_of_its_holders_is_to_stop(cache):
    leases = cache.leases
    listening = asyncio.create_task(leases.cancels("a", 5_000))
    await leases.acquire("l", "a/turn_1", 60_000)
    assert not await leases.request_cancel("l", "turn_2")
    assert not await leases.cancels("a", 20)
    assert await leases.request_cancel("l", "turn_1")
    assert await listening
    # It is heard also by who listens later, and once.
    assert await leases.request_cancel("l")
    assert await leases.cancels("a", 20)
    assert not await leases.cancels("a", 20)
    assert not await leases.cancels("b", 20)


async def test_a_process_that_has_fallen_silent_loses_its_place(redis_cache, monkeypatch):
    leases = redis_cache.leases
    for name in ("_acquire", "_release", "_stand", "_renew"):
        script = getattr(leases, name)
        quick = script.source.replace("LINE_STALE_MS = 3500", "LINE_STALE_MS = 150")
        assert quick != script.source
        # No script has this hash, so that the server is sent the text.
        monkeypatch.setattr(leases, name, Script(quick, "0" * 40))
    await leases.acquire("l", "a/1", 60_000)
    await leases.acquire("l", "dead/1", 60_000, None, stands("dead", 4))
    await asyncio.sleep(0.1)
    await leases.acquire("l", "b/1", 60_000, None, stands("b"))
    assert not await leases.stand("l", "c", 1, 6)
    await asyncio.sleep(0.1)
    assert await leases.stand("l", "c", 1, 6)
    await leases.release("l", "a/1", None, "a")
    assert (await leases.acquire("l", "b/1", 60_000, None, stands("b"))).acquired
