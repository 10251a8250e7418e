import asyncio
import random
import time

import pytest

from signalbox.common.cache import NEVER_MS, PARALLEL_RETRY_MS, LimitRequest


def window(name="rpm", limit=10, amount=1, window_s=60):
    return LimitRequest(name, "window", limit, amount, window_s=window_s)


def parallel(name="slots", limit=2, amount=1, ttl_ms=600_000):
    return LimitRequest(name, "parallel", limit, amount, ttl_ms=ttl_ms)


@pytest.mark.parametrize("make", [window, parallel])
async def test_exactly_the_limit_is_admitted_of_ten_times_as_many(cache, make):
    answers = await asyncio.gather(*(cache.limits.reserve([make(limit=40)]) for _ in range(400)))

    assert sum(answer.granted for answer in answers) == 40
    assert await cache.limits.used([make()]) == [40]
    refused = [answer for answer in answers if not answer.granted]
    assert {answer.refused for answer in refused} == {0}
    assert all(0 < answer.retry_after_ms <= 61_000 for answer in refused)
    assert len({answer.token for answer in answers}) == 400


@pytest.mark.parametrize("seed", range(12))
async def test_no_window_ever_holds_more_than_the_limit(clocked, seed):
    rng = random.Random(seed)
    window_s, limit = rng.choice([1, 7, 60]), rng.randint(1, 20)
    taken: list[tuple[int, int]] = []
    pause = window_s * 1_000_000 / rng.choice([5, 20, 200])
    for _ in range(250):
        await clocked.advance(int(rng.expovariate(1 / pause)))
        request = window(limit=limit, amount=rng.randint(1, 3), window_s=window_s)
        answer = await clocked.cache.limits.reserve([request])
        since = clocked.clock.us - window_s * 1_000_000
        counted = sum(amount for at, amount in taken if at > since)
        if answer.granted:
            taken.append((clocked.clock.us, request.amount))
            assert counted + request.amount <= limit
            if rng.random() < 0.2:
                await clocked.cache.limits.release(answer.token)
                taken.pop()
        else:
            # Refused only for units taken within one bucket more than the window.
            since -= -(-window_s * 1_000_000 // 60)
            assert sum(amount for at, amount in taken if at >= since) + request.amount > limit
    assert taken


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_refused_fits_when_it_is_said_to(clocked, seed):
    rng = random.Random(seed)
    limit = 12
    granted = 0
    for _ in range(60):
        request = window(limit=limit, amount=rng.randint(1, 6), window_s=7)
        answer = await clocked.cache.limits.reserve([request])
        if not answer.granted:
            await clocked.advance((answer.retry_after_ms - 2) * 1000)
            assert not (await clocked.cache.limits.reserve([request])).granted
            await clocked.advance(2_000)
            answer = await clocked.cache.limits.reserve([request])
        assert answer.granted
        granted += 1
        await clocked.advance(rng.randint(0, 400_000))
    assert granted == 60


async def test_the_real_clock_admits_no_more_either(cache):
    limit, stop = 25, time.monotonic() + 2.6
    rng = random.Random(1)
    taken: list[tuple[float, float]] = []

    async def client():
        while (before := time.monotonic()) < stop:
            if (await cache.limits.reserve([window(limit=limit, window_s=1)])).granted:
                taken.append((before, time.monotonic()))
            await asyncio.sleep(rng.random() * 0.02)

    await asyncio.gather(*(client() for _ in range(8)))
    taken.sort()
    # An admission happened between its two times; limit + 1 of them certainly within a second would be one too many.
    assert all(last[1] - first[0] >= 1 for first, last in zip(taken, taken[limit:], strict=False))
    assert 2 * limit <= len(taken) <= 3 * limit


async def test_units_come_back_after_the_window_and_at_most_one_bucket(clocked):
    await clocked.cache.limits.reserve([window(limit=1, window_s=60)])
    await clocked.advance(60_000_000 - 1)
    assert not (await clocked.cache.limits.reserve([window(limit=1, window_s=60)])).granted
    await clocked.advance(1_000_001)
    assert (await clocked.cache.limits.reserve([window(limit=1, window_s=60)])).granted


async def test_windows_of_different_length_count_apart(cache):
    both = [window(limit=1, window_s=60), window(limit=3, window_s=3600)]
    assert (await cache.limits.reserve(both)).granted
    assert (await cache.limits.reserve(both)).refused == 0
    assert await cache.limits.used(both) == [1, 1]


async def test_a_refused_call_takes_nothing_from_any_limit(cache):
    requests = [window("rpm", 10), window("tpm", 1000, 400), parallel("slots", 2), window("tight", 1, 1)]
    assert (await cache.limits.reserve(requests)).granted

    answer = await cache.limits.reserve(requests)
    assert (answer.granted, answer.refused) == (False, 3)
    assert 59_000 < answer.retry_after_ms <= 61_000
    assert await cache.limits.used(requests) == [1, 400, 1, 1]
    await cache.limits.settle(answer.token, [0, 0, 0, 0])
    await cache.limits.release(answer.token)
    assert await cache.limits.used(requests) == [1, 400, 1, 1]


async def test_mixed_limits_are_all_or_nothing_under_concurrency(cache):
    requests = [window("rpm", 100), window("tpm", 1000, 100), parallel("slots", 7)]
    answers = await asyncio.gather(*(cache.limits.reserve(requests) for _ in range(60)))

    assert sum(answer.granted for answer in answers) == 7
    assert await cache.limits.used(requests) == [7, 700, 7]
    await asyncio.gather(*(cache.limits.release(answer.token) for answer in answers))
    assert await cache.limits.used(requests) == [0, 0, 0]


@pytest.mark.parametrize("make", [window, parallel])
async def test_the_same_limit_twice_in_one_call_counts_twice(cache, make):
    assert not (await cache.limits.reserve([make(limit=3, amount=2), make(limit=3, amount=2)])).granted
    assert (await cache.limits.reserve([make(limit=4, amount=2), make(limit=4, amount=2)])).granted
    assert await cache.limits.used([make()]) == [4]


@pytest.mark.parametrize("make", [window, parallel])
async def test_an_amount_above_the_limit_never_fits(cache, make):
    answer = await cache.limits.reserve([make(limit=5, amount=6)])
    assert (answer.granted, answer.retry_after_ms) == (False, NEVER_MS)
    assert (await cache.limits.reserve([make(limit=5, amount=5)])).granted


async def test_settling_corrects_up_and_down_and_frees_slots(cache):
    requests = [window("rpm"), window("tpm", 1000, 300), window("in", 1000, 300), parallel()]
    answer = await cache.limits.reserve(requests)

    await cache.limits.settle(answer.token, [None, 120, 5000, None])
    assert await cache.limits.used(requests) == [1, 120, 5000, 0]
    assert (await cache.limits.reserve([window("tpm", 1000, 880)])).granted
    assert (await cache.limits.reserve([window("in", 1000, 1)])).refused == 0


async def test_a_reservation_is_settled_or_released_once(cache):
    requests = [window("tpm", 1000, 300), parallel()]
    settled = await cache.limits.reserve(requests)
    await cache.limits.settle(settled.token, [200])
    for _ in range(3):
        await cache.limits.settle(settled.token, [0, 0])
        await cache.limits.release(settled.token)
    assert await cache.limits.used(requests) == [200, 0]

    released = await cache.limits.reserve(requests)
    await asyncio.gather(*(cache.limits.release(released.token) for _ in range(5)))
    await cache.limits.settle(released.token, [900, 1])
    await cache.limits.release("no such token")
    assert await cache.limits.used(requests) == [200, 0]


async def test_a_correction_changes_nothing_once_its_bucket_has_left_the_window(clocked):
    limits = clocked.cache.limits
    first = await limits.reserve([window("tpm", 1000, 300)])
    second = await limits.reserve([window("tpm", 1000, 300)])
    # 61 buckets later the same field of the ring counts other units.
    await clocked.advance(61_000_000)
    await limits.reserve([window("tpm", 1000, 10)])
    await limits.settle(first.token, [0])
    await limits.release(second.token)
    assert await limits.used([window("tpm")]) == [10]


async def test_a_correction_goes_to_the_moment_of_the_reservation(clocked):
    limits = clocked.cache.limits
    first = await limits.reserve([window("tpm", 1000, 300)])
    await clocked.advance(30_000_000)
    await limits.reserve([window("tpm", 1000, 10)])
    await limits.settle(first.token, [500])
    assert await limits.used([window("tpm")]) == [510]
    await clocked.advance(31_000_000)
    assert await limits.used([window("tpm")]) == [10]


async def test_parallel_units_free_themselves(clocked):
    limits = clocked.cache.limits
    short = [parallel(limit=5, amount=2, ttl_ms=1_000)]
    long = [parallel(limit=5, amount=3, ttl_ms=9_000)]
    await limits.reserve(short)
    held = await limits.reserve(long)
    answer = await limits.reserve(short)
    assert (answer.granted, answer.retry_after_ms) == (False, PARALLEL_RETRY_MS)

    await clocked.advance(600_000)
    assert (await limits.reserve(short)).retry_after_ms == 400
    await clocked.advance(399_000)
    assert await limits.used(short) == [5]
    await clocked.advance(1_000)
    assert await limits.used(short) == [3]
    assert (await limits.reserve(short)).granted
    await clocked.advance(8_000_000)
    assert await limits.used(short) == [0]
    await limits.release(held.token)
    assert await limits.used(short) == [0]


async def test_a_freed_slot_can_be_taken_at_once(cache):
    first = await cache.limits.reserve([parallel(limit=1)])
    assert not (await cache.limits.reserve([parallel(limit=1)])).granted
    await cache.limits.release(first.token)
    assert (await cache.limits.reserve([parallel(limit=1)])).granted


async def test_odd_amounts(cache):
    empty = await cache.limits.reserve([])
    assert empty.granted
    await cache.limits.settle(empty.token, [])
    assert (await cache.limits.reserve([window("tpm", 0, 0), parallel("slots", 0, 0)])).granted
    assert await cache.limits.used([]) == []
    huge = 2**50
    token = (await cache.limits.reserve([window("big", huge, huge), parallel("big", huge, huge)])).token
    assert await cache.limits.used([window("big"), parallel("big")]) == [huge, huge]
    await cache.limits.release(token)
    assert await cache.limits.used([window("big"), parallel("big")]) == [0, 0]


async def test_amounts_that_would_give_room_are_refused(cache):
    with pytest.raises(ValueError, match="cannot be taken"):
        await cache.limits.reserve([window(amount=-1)])
    with pytest.raises(ValueError, match="must be positive"):
        await cache.limits.reserve([window(window_s=0)])
    with pytest.raises(ValueError, match="negative"):
        await cache.limits.settle("any", [-1])
