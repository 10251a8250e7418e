import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.admission_setup import Setup, limit, row

from signalbox.common.context import Deadline
from signalbox.llm_gateway.admission.waiting import WaitingRoom
from signalbox.llm_gateway.errors import LimitExceeded


class Waiting:
    """Calls that wait for a limit; ``order`` are those that were admitted."""

    def __init__(self, setup):
        self.setup = setup
        self.order = []
        self.tickets = {}

    async def ask(self, name, **fields):
        opening = replace(self.setup.opening(), **fields)
        ticket = await self.setup.admission.admit(opening)
        self.order.append(name)
        self.tickets[name] = (opening, ticket)

    def start(self, name, **fields):
        return asyncio.ensure_future(self.ask(name, **fields))

    def end(self, name):
        opening, ticket = self.tickets[name]
        ticket.settle(row(opening))


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def at_once():
    """The body waits for no clock."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 0.2


async def test_a_slot_that_is_freed_goes_to_the_highest_priority_and_then_to_who_came_first():
    waiting = Waiting(Setup(limit(parallel=1, wait_s=5)))
    await waiting.ask("first")
    async with at_once():
        tasks = []
        for name, priority in (("a", 0), ("b", 0), ("high", 5), ("c", 0), ("high2", 5)):
            tasks.append(waiting.start(name, priority=priority))
            await turns()
        for expected in ("high", "high2", "a", "b", "c"):
            waiting.end(waiting.order[-1])
            await turns()
            assert waiting.order[-1] == expected
        await asyncio.gather(*tasks)


async def test_nobody_overtakes_those_who_wait():
    waiting = Waiting(Setup(limit(parallel=1, wait_s=5)))
    await waiting.ask("first")
    tasks = [waiting.start("a")]
    await turns()
    waiting.end("first")
    tasks.append(waiting.start("late"))
    await turns()
    assert waiting.order == ["first", "a"]
    waiting.end("a")
    await asyncio.gather(*tasks)


async def test_waiting_ends_with_the_limits_patience():
    waiting = Waiting(Setup(limit(parallel=1, wait_s=0.1)))
    await waiting.ask("first")
    started = time.monotonic()
    with pytest.raises(LimitExceeded) as refused:
        await waiting.ask("second")
    assert 0.08 < time.monotonic() - started < 1
    assert refused.value.headers["signalbox-limit"] == "l"


async def test_nobody_waits_longer_than_its_caller():
    waiting = Waiting(Setup(limit(parallel=1, wait_s=30)))
    await waiting.ask("first")
    started = time.monotonic()
    with pytest.raises(LimitExceeded):
        await waiting.ask("second", deadline=Deadline.after(0.1))
    assert time.monotonic() - started < 1


async def test_a_window_is_waited_for_until_it_has_room():
    setup = Setup(limit(requests=1, window_s=1, wait_s=5))
    waiting = Waiting(setup)
    await waiting.ask("first")
    task = waiting.start("second")
    await turns()
    # Time goes on for the counters; the line's own timer wakes the call.
    setup.clock.s += 1.1
    await asyncio.wait_for(task, 3)
    assert waiting.order == ["first", "second"]


async def test_a_caller_that_leaves_makes_room_in_the_line():
    waiting = Waiting(Setup(limit(parallel=1, wait_s=5)))
    await waiting.ask("first")
    leaver, stayer = waiting.start("leaver"), waiting.start("stayer")
    await turns()
    leaver.cancel()
    await turns()
    waiting.end("first")
    await asyncio.wait_for(stayer, 1)
    assert waiting.order == ["first", "stayer"]


async def test_a_full_line_refuses_at_once():
    setup = Setup(limit(parallel=1, wait_s=5))
    setup.admission._room = WaitingRoom(at_most=2)
    waiting = Waiting(setup)
    await waiting.ask("first")
    tasks = [waiting.start(name) for name in "ab"]
    await turns()
    async with at_once():
        with pytest.raises(LimitExceeded):
            await waiting.ask("c")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_call_that_can_never_fit_does_not_wait():
    async with at_once():
        with pytest.raises(LimitExceeded):
            await Waiting(Setup(limit(tokens=99, wait_s=30))).ask("large")


async def test_how_many_wait_is_shown():
    setup = Setup(limit(parallel=1, wait_s=0.05))
    waiting = Waiting(setup)
    await waiting.ask("first")
    task = waiting.start("second")
    await turns()
    assert setup.registry.get_sample_value("signalbox_llm_waiting") == 1
    await asyncio.gather(task, return_exceptions=True)
    value = setup.registry.get_sample_value
    assert value("signalbox_llm_waiting") == 0
    assert value("signalbox_llm_wait_seconds_count") == 1
    assert value("signalbox_llm_refused_total", {"limit": "l"}) == 1
    assert value("signalbox_llm_admitted_total", {"counted": "yes"}) == 1
