import asyncio
import time

import pytest


async def test_a_reader_resumes_after_any_number(cache):
    await cache.logs.append("t", 1, [b"start", b"intent"], 60_000)
    await cache.logs.append("t", 3, [b"text \x00\xff"], 60_000)

    assert await cache.logs.read("t", 0) == [(1, b"start"), (2, b"intent"), (3, b"text \x00\xff")]
    assert await cache.logs.read("t", 2) == [(3, b"text \x00\xff")]
    assert await cache.logs.read("t", 3) == []
    assert await cache.logs.bounds("t") == (1, 3)


async def test_a_log_may_begin_anywhere(cache):
    await cache.logs.append("t", 7, [b"seven"], 60_000)
    assert await cache.logs.bounds("t") == (7, 7)
    assert await cache.logs.read("t", 2) == [(7, b"seven")]


async def test_there_is_nothing_where_nothing_was_appended(cache):
    await cache.logs.append("t", 1, [], 60_000)
    assert await cache.logs.read("t", 0) == []
    assert await cache.logs.read("t", 0, wait_ms=10) == []
    assert await cache.logs.bounds("t") is None


async def test_numbers_that_are_there_are_left_as_they_are(cache):
    await cache.logs.append("t", 1, [b"1", b"2"], 60_000)
    await cache.logs.append("t", 1, [b"x", b"y", b"3"], 60_000)
    await cache.logs.append("t", 2, [b"z"], 60_000)

    assert await cache.logs.read("t", 0) == [(1, b"1"), (2, b"2"), (3, b"3")]


@pytest.mark.parametrize("first_id", [0, -1])
async def test_numbers_start_at_one(cache, first_id):
    with pytest.raises(ValueError, match="numbered from 1"):
        await cache.logs.append("t", first_id, [b"1"], 60_000)


async def test_every_append_prolongs_the_whole_log(cache, eventually):
    await cache.logs.append("kept", 1, [b"1"], 60)
    await cache.logs.append("kept", 1, [b"1"], 60_000)
    await cache.logs.append("lost", 1, [b"1"], 60_000)
    await cache.logs.append("lost", 2, [b"2"], 60)

    async def gone():
        return await cache.logs.bounds("lost") is None

    await eventually(gone)
    assert await cache.logs.read("lost", 0) == []
    assert await cache.logs.bounds("kept") == (1, 1)


async def test_a_reader_waits_for_the_next_event(cache):
    await cache.logs.append("t", 1, [b"1"], 60_000)
    reader = asyncio.create_task(cache.logs.read("t", 1, wait_ms=30_000))
    other = asyncio.create_task(cache.logs.read("t", 2, wait_ms=30_000))
    await asyncio.sleep(0.05)
    assert not reader.done()

    started = time.monotonic()
    await cache.logs.append("t", 2, [b"2"], 60_000)
    assert await reader == [(2, b"2")]
    assert time.monotonic() - started < 1
    assert not other.done()
    await cache.logs.append("t", 3, [b"3"], 60_000)
    assert await other == [(3, b"3")]


async def test_a_reader_gives_up_when_the_time_is_up(cache):
    started = time.monotonic()
    assert await cache.logs.read("t", 0, wait_ms=50) == []
    assert 0.04 < time.monotonic() - started < 2


async def test_readers_follow_a_writer_without_missing_or_repeating_an_event(cache):
    count = 200

    async def follow():
        seen = []
        while len(seen) < count:
            seen += await cache.logs.read("t", seen[-1][0] if seen else 0, wait_ms=10_000)
        return seen

    readers = [asyncio.create_task(follow()) for _ in range(5)]
    for number in range(1, count + 1, 2):
        await cache.logs.append("t", number, [b"%d" % number, b"%d" % (number + 1)], 60_000)
        await asyncio.sleep(0)
    expected = [(number, b"%d" % number) for number in range(1, count + 1)]
    assert all(seen == expected for seen in await asyncio.gather(*readers))


async def test_a_reader_that_is_cancelled_leaves_the_others_waiting(cache):
    readers = [asyncio.create_task(cache.logs.read("t", 0, wait_ms=30_000)) for _ in range(3)]
    await asyncio.sleep(0.05)
    readers[0].cancel()
    await asyncio.sleep(0.01)
    await cache.logs.append("t", 1, [b"1"], 60_000)
    assert await asyncio.gather(*readers[1:]) == [[(1, b"1")]] * 2
