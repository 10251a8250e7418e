import asyncio
import time

from signalbox.common.cache import Grant, LeaseState, StoredValue


async def test_one_of_fifty_contenders_gets_the_lease(cache):
    grants = await asyncio.gather(*(cache.leases.acquire("l", f"h{n}", 60_000) for n in range(50)))

    winners = [n for n, grant in enumerate(grants) if grant.acquired]
    assert len(winners) == 1
    assert {grant.holder for grant in grants} == {f"h{winners[0]}"}


async def test_the_value_is_read_in_the_same_call_with_or_without_the_lease(cache):
    await cache.values.put(StoredValue("session", b"state", 60_000))

    assert await cache.leases.acquire("l", "a", 60_000, read="session") == Grant(True, "a", b"state")
    assert await cache.leases.acquire("l", "b", 60_000, read="session") == Grant(False, "a", b"state")
    assert await cache.leases.acquire("l", "b", 60_000, read="other") == Grant(False, "a", None)


async def test_contenders_hold_the_lease_one_at_a_time(cache):
    holding = most = turns = 0

    async def turn(name):
        nonlocal holding, most, turns
        while not (await cache.leases.acquire("l", name, 60_000)).acquired:
            assert await cache.leases.wait("l", 20_000)
        holding += 1
        most = max(most, holding)
        await asyncio.sleep(0)
        holding -= 1
        turns += 1
        assert await cache.leases.release("l", name)

    await asyncio.gather(*(turn(f"h{n}") for n in range(50)))
    assert (most, turns) == (1, 50)


async def test_an_expired_lease_is_free_and_its_holder_learns_it(cache, eventually):
    await cache.leases.acquire("l", "a", 40)

    async def taken():
        return (await cache.leases.acquire("l", "b", 60_000)).acquired

    await eventually(taken)
    assert await cache.leases.renew("l", "a", 60_000) == LeaseState(held=False, cancel_requested=False)
    assert not await cache.leases.release("l", "a")
    assert not (await cache.leases.acquire("l", "c", 60_000)).acquired


async def test_a_renewed_lease_lives_on(cache):
    await cache.leases.acquire("l", "a", 200)
    assert await cache.leases.renew("l", "a", 60_000) == LeaseState(held=True, cancel_requested=False)

    assert not await cache.leases.wait("l", 300)
    assert not (await cache.leases.acquire("l", "b", 60_000)).acquired


async def test_the_holder_may_take_its_lease_again(cache):
    await cache.leases.acquire("l", "a", 100)
    assert (await cache.leases.acquire("l", "a", 60_000)).acquired
    assert not await cache.leases.wait("l", 200)


async def test_a_request_to_cancel_is_seen_when_renewing(cache):
    assert not await cache.leases.request_cancel("l")
    await cache.leases.acquire("l", "a", 60_000)
    assert await cache.leases.request_cancel("l")

    asked = LeaseState(held=True, cancel_requested=True)
    assert await cache.leases.renew("l", "a", 60_000) == asked
    assert (await cache.leases.acquire("l", "a", 60_000)).acquired
    assert await cache.leases.renew("l", "a", 60_000) == asked

    await cache.leases.release("l", "a")
    await cache.leases.acquire("l", "b", 60_000)
    assert await cache.leases.renew("l", "b", 60_000) == LeaseState(held=True, cancel_requested=False)


async def test_a_request_to_cancel_does_not_prolong_the_lease(cache):
    await cache.leases.acquire("l", "a", 100)
    await cache.leases.request_cancel("l")
    assert await cache.leases.wait("l", 10_000)


async def test_release_writes_only_while_the_lease_is_held(cache):
    await cache.leases.acquire("l", "a", 60_000)

    assert not await cache.leases.release("l", "b", StoredValue("session", b"wrong", 60_000))
    assert await cache.values.get("session") is None
    assert await cache.leases.release("l", "a", StoredValue("session", b"right", 60_000))
    assert not await cache.leases.release("l", "a", StoredValue("session", b"late", 60_000))
    assert await cache.values.get("session") == b"right"
    assert (await cache.leases.acquire("l", "b", 60_000)).acquired


async def test_waiting_ends_soon_after_a_release(cache):
    assert await cache.leases.wait("l", 10)
    await cache.leases.acquire("l", "a", 60_000)
    waiters = [asyncio.create_task(cache.leases.wait("l", 30_000)) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert not any(waiter.done() for waiter in waiters)

    started = time.monotonic()
    await cache.leases.release("l", "a")
    assert all(await asyncio.gather(*waiters))
    assert time.monotonic() - started < 1


async def test_waiting_ends_when_the_lease_expires_or_the_time_is_up(cache):
    await cache.leases.acquire("l", "a", 150)
    assert not await cache.leases.wait("l", 20)
    started = time.monotonic()
    assert await cache.leases.wait("l", 30_000)
    assert time.monotonic() - started < 5
