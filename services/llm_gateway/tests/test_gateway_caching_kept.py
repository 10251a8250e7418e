import asyncio
import logging
import time

import pytest
from support.async_waiting import until

from signalbox.common.cache import CacheUnavailable
from signalbox.common.cache.memory import MemoryCache
from signalbox.llm_gateway.caching import kept as module
from signalbox.llm_gateway.caching.kept import Entry, KeptAnswers

ENTRY = Entry(7, b'{"a":1}\n{}', "tools")


class FailingCache(MemoryCache):
    """A cache that is away, or silent, when it is told so."""

    def __init__(self):
        super().__init__()
        self.trouble = None
        self.asked = 0

    async def _meet(self):
        self.asked += 1
        if self.trouble == "silent":
            await asyncio.Event().wait()
        if self.trouble == "away":
            raise CacheUnavailable("away")

    @property
    def values(self):
        cache, values = self, super().values

        class Values:
            async def get(self, key):
                await cache._meet()
                return await values.get(key)

            async def put(self, *stored):
                await cache._meet()
                await values.put(*stored)

        return Values()

    async def ping(self):
        await self._meet()


@pytest.fixture
def cache(monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    return FailingCache()


@pytest.fixture
async def kept(cache):
    answers = KeptAnswers(cache)
    yield answers
    await answers.close()


def test_an_entry_is_written_and_read():
    assert Entry.read(ENTRY.written()) == ENTRY
    for other in (b"", b"{}", b"[1]\n{}", b"no json\n{}", b'{"made_at":1}\n'):
        assert Entry.read(other) is None


async def test_what_is_put_is_found(kept):
    kept.put("k", b"v", 60)
    await until(lambda: not kept._writes)
    assert await kept.get("k") == b"v"
    assert await kept.get("other") is None


@pytest.mark.parametrize("trouble", ["away", "silent"])
async def test_a_cache_that_is_away_is_said_once_and_not_waited_for(cache, kept, trouble, caplog):
    kept.put("k", b"v", 60)
    await until(lambda: not kept._writes)
    cache.trouble = trouble
    with caplog.at_level(logging.WARNING):
        assert await kept.get("k") is None
        assert kept.away
        started = time.monotonic()
        for _ in range(200):
            assert await kept.get("k") is None
            kept.put("k", b"w", 60)
        assert time.monotonic() - started < 0.05
        cache.trouble = None
        await until(lambda: not kept.away)
    assert await kept.get("k") == b"v"
    assert len(caplog.messages) == 2


async def test_a_write_that_fails_is_noticed_and_writes_are_bounded(cache, kept, monkeypatch):
    monkeypatch.setattr(module, "MAX_WRITES", 3)
    cache.trouble = "silent"
    for number in range(10):
        kept.put(f"k{number}", b"v", 60)
    assert len(kept._writes) == 3
    for task in list(kept._writes):
        task.cancel()
    await until(lambda: not kept._writes)
    cache.trouble = "away"
    kept.put("k", b"v", 60)
    await until(lambda: kept.away)
