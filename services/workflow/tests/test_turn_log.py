"""The event log of a turn."""

import asyncio
import json

import pytest
from support.workflow_cache import BrokenCache

from signalbox.common.cache import MemoryCache
from signalbox.contracts.events import (
    ErrorEvent,
    StartData,
    StartEvent,
    TextData,
    TextEvent,
    ToolCallData,
    ToolCallEvent,
    ToolResultData,
    ToolResultEvent,
)
from signalbox.contracts.problem import Problem
from signalbox.workflow.turn_log import TurnLog, log_name

END = ErrorEvent(data=Problem(title="x", status=500, code="x", detail="x"))
NAME = log_name("acme", "t1")


def text(delta):
    return TextEvent(data=TextData(delta=delta))


def start():
    data = StartData(turn_id="t1", session_id="s", workflow_id="w", config_hash="0", language="en")
    return StartEvent(data=data)


def result(output):
    return ToolResultEvent(data=ToolResultData(call_id="c", tool="t", ok=True, output=output, took_ms=1))


def shown(events):
    """Numbers and contents, short."""
    short = []
    for number, raw in events:
        event = json.loads(raw)
        short.append((number, event["data"].get("delta", event["type"])))
    return short


@pytest.fixture
def cache():
    return BrokenCache(MemoryCache())


@pytest.fixture
def log(cache):
    return TurnLog("acme", "t1", cache.logs, merge_ms=20)


async def all_of(log):
    return shown([event async for event in log.follow()])


async def test_events_are_numbered_from_one_and_text_is_merged(log):
    for event in (start(), text("a"), text("b"), result(1), text("c"), text("d"), END):
        await log.emit(event)
    assert await all_of(log) == [(1, "start"), (2, "ab"), (3, "tool_result"), (4, "cd"), (5, "error")]


async def test_text_is_held_back_for_a_moment_only(log):
    await log.emit(start())
    await log.emit(text("a"))
    follower = log.follow()
    async with asyncio.timeout(5):
        assert shown([await anext(follower), await anext(follower)]) == [(1, "start"), (2, "a")]
    await log.emit(text("b"))
    async with asyncio.timeout(5):
        assert shown([await anext(follower)]) == [(3, "b")]


async def test_every_follower_gets_everything_whenever_it_comes(log):
    early = asyncio.create_task(all_of(log))
    await asyncio.sleep(0)
    await log.emit(start())
    middle = asyncio.create_task(all_of(log))
    await log.emit(result(1))
    await log.emit(END)
    everything = [(1, "start"), (2, "tool_result"), (3, "error")]
    async with asyncio.timeout(5):
        assert await early == await middle == await all_of(log) == everything


async def test_an_event_is_in_the_shared_log_before_anybody_sees_it(log, cache):
    follower = log.follow()
    await log.emit(start())
    number, raw = await anext(follower)
    assert await cache.logs.read(NAME, 0) == [(number, raw)]
    for event in (text("a"), text("b"), END):
        await log.emit(event)
    seen = [(number, raw)] + [event async for event in follower]
    assert await cache.logs.read(NAME, 0) == seen


async def test_the_live_stream_goes_on_without_the_shared_log_which_catches_up(log, cache):
    await log.emit(start())
    cache.down = True
    await log.emit(result(1))
    await log.emit(result(2))
    cache.down = False
    await log.emit(END)
    live = await all_of(log)
    assert live == [(1, "start"), (2, "tool_result"), (3, "tool_result"), (4, "error")]
    assert shown(await cache.logs.read(NAME, 0)) == live


async def test_an_event_is_sent_once(log, cache):
    sent = []
    append = cache.logs.append

    async def count(name, first, events, ttl_ms):
        sent.append((first, len(events)))
        await append(name, first, events, ttl_ms)

    cache.logs.append = count
    for event in (start(), result(1), END):
        await log.emit(event)
    assert sent == [(1, 1), (2, 1), (3, 1)]


async def test_an_emit_that_is_cancelled_leaves_no_number_twice(log, cache):
    await log.emit(start())
    entered = asyncio.Event()
    append = cache.logs.append

    async def hangs(*args):
        await append(*args)
        entered.set()
        await asyncio.Event().wait()

    cache.logs.append = hangs
    emitting = asyncio.create_task(log.emit(result(1)))
    await asyncio.wait_for(entered.wait(), 5)
    emitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await emitting
    cache.logs.append = append
    await log.emit(END)
    live = await all_of(log)
    assert live == [(1, "start"), (2, "tool_result"), (3, "error")]
    assert shown(await cache.logs.read(NAME, 0)) == live


async def test_a_log_that_nobody_follows_stays_in_memory(cache):
    log = TurnLog("acme", "t1")
    for event in (start(), text("a"), text("b")):
        await log.emit(event)
    kept = json.loads(log.events_to_keep({}))
    assert [event["type"] for event in kept] == ["start", "text"]
    assert kept[1]["data"]["delta"] == "ab"
    assert cache.calls == []


async def test_what_is_kept_has_the_text_that_was_not_sent_yet(log):
    await log.emit(start())
    await log.emit(text("the "))
    await log.emit(text("answer"))
    kept = json.loads(log.events_to_keep({}))
    assert kept[-1] == {"type": "text", "data": {"delta": "the answer"}}
    await log.emit(END)
    assert (await all_of(log))[1] == (2, "the answer")


async def test_large_outputs_are_not_kept(log):
    await log.emit(result({"rows": ["x" * 100] * 100}))
    await log.emit(result({"rows": 1}))
    large, small = json.loads(log.events_to_keep({}))
    assert "not kept" in large["data"]["output"]
    assert small["data"]["output"] == {"rows": 1}


async def test_marked_arguments_are_masked_in_what_is_kept(log):
    arguments = {"user": "kim", "pin": "4711", "card": {"pin": "0815"}}
    await log.emit(ToolCallEvent(data=ToolCallData(call_id="c", tool="t", arguments=arguments)))
    await log.emit(result({"rows": [{"pin": "4711", "ok": True}]}))
    call, answer = json.loads(log.events_to_keep({"t": frozenset({"pin"})}))
    assert call["data"]["arguments"] == {"user": "kim", "pin": "***", "card": {"pin": "***"}}
    assert answer["data"]["output"] == {"rows": [{"pin": "***", "ok": True}]}
    assert "4711" in log.events_to_keep({"other": frozenset({"pin"})})


async def test_an_attempt_may_begin_anew_while_nobody_has_seen_more_than_the_start(log):
    private = TurnLog("acme", "t2")
    await private.emit(start())
    await private.emit(text("wrong"))
    assert private.restart()
    assert private.empty
    assert log.restart()
    await log.emit(start())
    assert log.restart()
    assert not log.empty
    await log.emit(text("seen"))
    assert not log.restart()


async def test_the_end_closes_the_log(log):
    assert not log.closed
    await log.emit(END)
    assert log.closed
