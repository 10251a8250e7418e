"""Calls that are asked for twice."""

import asyncio

import pytest
from support.scripted_models import BUSY, END, ROLE, World, chunk, text_of, whole

from signalbox.llm_gateway.errors import (
    ProviderRefused,
)
from signalbox.llm_gateway.ports import UpstreamAnswer

HEDGED = {"hedge": {"min_samples": 5, "max_share": 1}, "fallbacks": []}


async def warmed(world, **fields):
    """Five quick answers, after which a millisecond is unusually long."""
    for _ in range(5):
        for name in ("a1", "a2"):
            world.providers.scripts[name] = [[chunk("x"), *END]] if fields else [whole()]
        if fields:
            await world.read()
        else:
            await world.ask()
    world.providers.once_asked.clear()
    world.providers.twice_asked.clear()
    world.providers.asked.clear()
    world.providers.stopped.clear()
    world.ledger.rows.clear()
    return world


async def test_a_call_that_takes_unusually_long_is_asked_for_twice_and_the_loser_is_stopped_and_paid_for():
    world = await warmed(World(("a1", "a2"), rule=HEDGED))
    for name in ("a1", "a2"):
        world.providers.scripts[name] = ["hang"]
    task = asyncio.create_task(world.ask())
    await world.providers.once_asked.wait()
    (slow,) = world.providers.names
    other = "a2" if slow == "a1" else "a1"
    world.providers.scripts[other] = [whole("from the other")]
    async with asyncio.timeout(5):
        answer = await task
    assert b"from the other" in answer.body
    assert world.providers.stopped == [slow]
    lost, won = world.row.attempts
    assert (lost.deployment, lost.outcome, lost.error_code, lost.estimated) == (
        slow,
        "aborted",
        "hedge_lost",
        True,
    )
    assert (won.deployment, won.outcome) == (other, "ok")
    assert world.row.deployment == other
    # What the first one may still cost is spent when the second one is asked for.
    assert world.tickets.ticket.spent[-2] == (slow, 0)
    assert world.tickets.ticket.spent[-1][1] > lost.cost_pico
    assert world.row.cost_pico == lost.cost_pico + won.cost_pico > won.cost_pico
    assert all(health.in_flight == 0 for health in world.planner.health)


async def test_a_stream_is_hedged_until_its_first_content():
    world = await warmed(World(("a1", "a2"), rule=HEDGED), stream=True)
    for name in ("a1", "a2"):
        world.providers.scripts[name] = [[ROLE, "hang"]]
    task = asyncio.create_task(world.read())
    await world.providers.once_asked.wait()
    (slow,) = world.providers.names
    world.providers.scripts["a2" if slow == "a1" else "a1"] = [[ROLE, chunk("x"), *END]]
    async with asyncio.timeout(5):
        events, ended = await task
    assert (text_of(events), ended) == ("x", True)
    assert world.providers.stopped[0] == slow
    assert {one.outcome for one in world.row.attempts} == {"aborted", "ok"}


async def test_a_hedge_that_fails_leaves_the_first_attempt_alone_and_failing_both_is_a_failure():
    world = await warmed(World(("a1", "a2"), rule={**HEDGED, "max_attempts": 2}))
    release = asyncio.Event()
    send = world.providers.send

    async def slow_send(request):
        if len(world.providers.asked) == 0:
            world.providers.asked.append((request.deployment.name, {}))
            await release.wait()
            return UpstreamAnswer(*BUSY[:1], {}, BUSY[1])
        release.set()
        return await send(request)

    world.providers.send = slow_send
    for name in ("a1", "a2"):
        world.providers.scripts[name] = [(500, b'{"error":{"message":"hedge"}}')]
    async with asyncio.timeout(5):
        with pytest.raises(ProviderRefused):
            await world.ask()
    assert sorted(one.status for one in world.row.attempts) == [500, 503]


async def test_a_client_that_leaves_stops_both_attempts():
    world = await warmed(World(("a1", "a2"), rule=HEDGED))
    for name in ("a1", "a2"):
        world.providers.scripts[name] = ["hang"]
    task = asyncio.create_task(world.ask())
    async with asyncio.timeout(5):
        await world.providers.twice_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(world.providers.stopped) == ["a1", "a2"]
    assert [one.error_code for one in world.row.attempts] == ["client_left"] * 2
