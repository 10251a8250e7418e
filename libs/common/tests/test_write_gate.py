"""The gate of a turn's writes: one at a time, and none once the turn is being stopped."""

import asyncio

import pytest
from support.workflow_cache import BrokenCache

from signalbox.common import write_gate
from signalbox.common.cache import MemoryCache
from signalbox.common.write_gate import TurnStopped, WriteGate


@pytest.fixture
def cache():
    return BrokenCache(MemoryCache())


@pytest.fixture
def gate(cache):
    return WriteGate(cache.leases)


class Writing:
    """A write that is in flight until it is told to end."""

    def __init__(self, gate, turn="t1"):
        self.begun, self.end = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._write(gate, turn))

    async def _write(self, gate, turn):
        async with gate.write("acme", turn):
            self.begun.set()
            await self.end.wait()


async def test_closing_waits_for_the_write_in_flight_and_lets_no_other_begin(gate):
    first = Writing(gate)
    await first.begun.wait()
    second = Writing(gate)
    closing = asyncio.create_task(gate.close("acme", "t1", 10))
    await asyncio.sleep(0.05)
    assert not closing.done()
    assert not second.begun.is_set()
    first.end.set()
    assert await closing
    with pytest.raises(TurnStopped):
        await second.task
    with pytest.raises(TurnStopped):
        async with gate.write("acme", "t1"):
            pass
    # Another turn's gate is another one.
    async with gate.write("acme", "t2"), gate.write("rival", "t1"):
        pass


async def test_a_write_that_is_cancelled_gives_the_gate_back(gate):
    writing = Writing(gate)
    await writing.begun.wait()
    writing.task.cancel()
    await asyncio.gather(writing.task, return_exceptions=True)
    assert await gate.close("acme", "t1", 0)


async def test_closing_gives_up_after_the_time_it_has_and_the_turn_may_write_again(gate):
    writing = Writing(gate)
    await writing.begun.wait()
    assert not await gate.close("acme", "t1", 0.05)
    writing.end.set()
    await writing.task
    async with gate.write("acme", "t1"):
        pass


async def test_a_long_write_keeps_the_gate_and_that_of_a_dead_process_is_soon_free(cache, gate, monkeypatch):
    monkeypatch.setattr(write_gate, "_HELD_MS", 100)
    monkeypatch.setattr(write_gate, "_RENEW_S", 0.02)
    writing = Writing(gate)
    await writing.begun.wait()
    assert not await gate.close("acme", "t1", 0.3)
    monkeypatch.setattr(cache.leases._part, "renew", died)
    assert await gate.close("acme", "t1", 5)
    writing.end.set()
    await writing.task


async def died(*args):
    """What a dead process does."""


async def test_without_the_cache_writes_are_made_and_nothing_waits(gate, cache):
    cache.down = True
    async with gate.write("acme", "t1"):
        assert await gate.close("acme", "t1", 10)


async def test_a_gate_that_is_opened_again_lets_writes_of_the_turn_begin(gate):
    assert await gate.close("acme", "t1", 1)
    await gate.reopen("acme", "t1")
    async with gate.write("acme", "t1"):
        pass
