"""Turns that do not go well: what fails, what is discarded, and that nothing is lost or left behind."""

import asyncio
import json

import pytest
from support.async_waiting import until
from support.workflow_cache import BrokenCache
from support.workflow_stage import (
    ALICE,
    Gate,
    Stage,
    flow_result,
    flow_waits,
    rows_of,
    skill_says,
    understood,
    with_policies,
)

from signalbox.common.cache import MemoryCache, StoredValue
from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.storage import PreconditionFailed, StorageUnavailable
from signalbox.common.transport import HopTimeout, HopUnreachable
from signalbox.contracts.events import TextData, TextEvent, UsageData, UsageEvent
from signalbox.contracts.problem import Problem
from signalbox.contracts.query import QueryRequest
from signalbox.contracts.work import ErrorFrame, EventFrame
from signalbox.workflow.errors import LeaseLost, SessionBusy, TurnCancelled
from signalbox.workflow.sessions import _pack, _value_key

REFUND = "refund please"


async def start(stage, message, session_id="s1", wait_for=None):
    """A streamed turn that runs; with ``wait_for`` it has reached that gate."""
    request = QueryRequest(message=message, session_id=session_id)
    started = await stage.queries.stream(ALICE, request, None)
    if wait_for is not None:
        async with asyncio.timeout(5):
            await wait_for.reached.wait()
    return started


async def events_of(started):
    return [json.loads(raw) async for _, raw in started.log.follow()]


async def test_a_flow_that_fails_is_an_answer_with_a_reason_and_the_turn_is_kept(stage):
    problem = Problem(title="x", status=503, code="backend_down", detail="The shop's backend is down.")
    stage.flows.answers = [ErrorFrame(problem=problem)]
    events = await stage.stream("where is order 1?")
    complete = events[-1]["data"]
    assert (complete["status"], complete["reason"]) == ("error", "backend_down")
    assert complete["message"] == "Hello!\n\nSorry, that did not work just now. Please try again in a moment."
    assert "".join(e["data"]["delta"] for e in events if e["type"] == "text") == complete["message"]
    assert "backend is down" not in json.dumps(events)
    [turn] = await stage.turns()
    assert (turn["status"], turn["outcome"], turn["seq"]) == ("committed", "error", 1)


@pytest.mark.parametrize("error", [HopUnreachable("flows", "x"), HopTimeout("flows", "x"), Unavailable("x")])
async def test_a_service_that_cannot_be_reached_is_a_reason_too(stage, error):
    stage.flows.answers = [error]
    reply = await stage.ask("where is order 1?")
    assert (reply.status, reply.reason) == ("error", error.code)


async def test_a_stream_without_a_result_is_a_failure(stage):
    stage.flows.answers = [[EventFrame(event=TextEvent(data=TextData(delta="...")))]]
    assert (await stage.ask("where is order 1?")).reason == "work_failed"


async def test_an_open_flow_stays_open_when_going_on_fails(stage):
    stage.flows.answers = [flow_waits(), HopTimeout("flows", "x"), flow_result("Done.")]
    await stage.ask("where is order 1?")
    assert (await stage.ask("yes")).status == "error"
    assert (await stage.ask("yes")).message == "Done."
    assert stage.flows.asked[2].state == stage.flows.asked[1].state


async def test_what_models_cost_is_kept_also_when_the_work_failed(stage):
    stage.gateway.answers = [understood("advice")]
    used = UsageEvent(data=UsageData(model="big", input_tokens=7, output_tokens=5, cost="0.5"))
    problem = Problem(title="x", status=500, code="bug", detail="x")
    stage.skills.answers = [[EventFrame(event=used), ErrorFrame(problem=problem)]]
    assert (await stage.ask("advise me")).status == "error"
    [turn] = await stage.turns()
    assert (turn["input_tokens"], turn["cost_pico"]) == (17, 500_100_000_000)


async def test_a_cost_that_is_not_known_is_not_zero(stage):
    stage.gateway.answers = [understood("advice")]
    unpriced = UsageEvent(data=UsageData(model="local", input_tokens=7))
    stage.skills.answers = [[EventFrame(event=unpriced), *skill_says("ok")]]
    await stage.ask("advise me")
    euros = UsageEvent(data=UsageData(model="eu", input_tokens=7, cost="1", currency="EUR"))
    stage.skills.answers = [[EventFrame(event=euros), *skill_says("ok")]]
    await stage.ask("advise me again")
    assert [turn["cost_pico"] for turn in await stage.turns()] == [None, None]


async def test_without_the_gateway_rules_still_answer_and_the_rest_is_degraded(stage):
    stage.gateway.answers = [HopUnreachable("llm_gateway", "x")]
    assert (await stage.ask("are you open?")).status == "success"
    reply = await stage.ask("what do you think?")
    assert (reply.status, reply.reason) == ("degraded", "service_unreachable")
    assert "simple questions" in reply.message
    stage.gateway.roles = {}
    other = stage.replica()
    other.gateway.roles = {}
    reply = await other.ask("what do you think?")
    assert (reply.status, reply.reason) == ("degraded", "no_model")


async def test_a_bug_discards_the_turn_and_says_nothing_of_itself(stage, caplog):
    stage.flows.answers = [KeyError("the secret")]
    started = await start(stage, REFUND)
    events = await events_of(started)
    assert (events[-1]["type"], events[-1]["data"]["code"]) == ("error", "internal_error")
    assert "the secret" not in json.dumps(events)
    [turn] = await stage.turns()
    assert (turn["status"], turn["seq"], turn["reply"]) == ("failed", None, None)
    assert (await stage.ask("are you open?")).greeting == "Hello!"
    assert [row["seq"] for row in await stage.turns() if row["status"] == "committed"] == [1]


async def test_the_running_turn_is_written_before_anything_outside_can_change(stage):
    rows = []

    async def look():
        rows.extend(await stage.turns())

    gate = Gate()
    stage.flows.answers = [gate, flow_result("Paid back.")]
    started = await start(stage, REFUND, wait_for=gate)
    await look()
    gate.open.set()
    await started.task
    assert [(row["status"], row["seq"], row["owner"]) for row in rows] == [("running", 1, "a")]
    [turn] = await stage.turns()
    assert (turn["status"], turn["seq"]) == ("committed", 1)


async def test_a_turn_that_only_reads_has_no_row_before_it_commits(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    started = await start(stage, "where is order 1?", wait_for=gate)
    assert await rows_of(stage.database, "workflow_turns") == []
    gate.open.set()
    await started.task


@pytest.mark.parametrize(("message", "rows"), [("where is order 1?", ["cancelled"]), (REFUND, ["cancelled"])])
async def test_a_cancelled_turn_commits_nothing_and_frees_its_place(stage, message, rows):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    started = await start(stage, message, wait_for=gate)
    view = await stage.views.cancel(ALICE, started.turn_id, None)
    assert view.status == "running"
    with pytest.raises(TurnCancelled):
        await started.task
    assert gate.cancelled
    events = await events_of(started)
    assert (events[-1]["type"], events[-1]["data"]["code"]) == ("error", "turn_cancelled")
    assert [row["status"] for row in await stage.turns()] == rows
    assert (await stage.views.turn(ALICE, started.turn_id, None)).status == "cancelled"
    after = await stage.ask("are you open?")
    assert after.greeting == "Hello!"
    assert (await stage.store.load("acme", "s1")).last_seq == 1


async def test_cancelling_twice_does_not_cut_off_the_clean_up(stage):
    gate, failing = Gate(), asyncio.Event()
    stage.flows.answers = [gate, flow_result()]
    fail = stage.store.fail

    async def slowly(*args, **kwargs):
        failing.set()
        await asyncio.sleep(0.01)
        await fail(*args, **kwargs)

    stage.store.fail = slowly
    started = await start(stage, REFUND, wait_for=gate)
    assert stage.running.cancel("acme", started.turn_id)
    await asyncio.wait_for(failing.wait(), 5)
    assert stage.running.cancel("acme", started.turn_id)
    with pytest.raises(TurnCancelled):
        await started.task
    assert [row["status"] for row in await stage.turns()] == ["cancelled"]
    assert not stage.running.cancel("acme", started.turn_id)


async def test_a_turn_that_has_begun_to_commit_is_not_cancelled_any_more(stage):
    committing, go_on = asyncio.Event(), asyncio.Event()
    commit = stage.store.commit

    async def slowly(*args, **kwargs):
        committing.set()
        await go_on.wait()
        await commit(*args, **kwargs)

    stage.store.commit = slowly
    started = await start(stage, "are you open?")
    await asyncio.wait_for(committing.wait(), 5)
    stage.running.cancel("acme", started.turn_id)
    await asyncio.sleep(0)
    go_on.set()
    assert (await started.task).status == "success"
    assert (await events_of(started))[-1]["type"] == "complete"
    assert len(await stage.turns()) == 1


async def test_a_turn_is_cancelled_from_another_replica(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    started = await start(stage, REFUND, wait_for=gate)
    other = stage.replica()
    await other.views.cancel(ALICE, started.turn_id, None)
    with pytest.raises(TurnCancelled):
        await asyncio.wait_for(started.task, 5)


async def test_a_copy_in_the_cache_that_is_stale_costs_a_second_try_and_nothing_else(stage):
    await stage.ask("are you open?")
    await stage.close()
    stale = await stage.store.load("acme", "s1")
    await stage.ask("my name is Kim")
    await stage.close()
    await stage.cache.values.put(StoredValue(_value_key("acme", "s1"), _pack(stale), 60_000))
    await stage.ask("are you open?")
    assert [turn["seq"] for turn in await stage.turns()] == [1, 2, 3]
    session = await stage.store.load("acme", "s1")
    assert (session.state.profile, session.message_count) == ({"name": "Kim"}, 6)
    kept = json.loads((await stage.turns())[-1]["events"])
    assert [event["type"] for event in kept] == ["start", "intent", "text"]


async def test_a_stream_over_a_stale_copy_says_nothing_twice(stage):
    await stage.ask("are you open?")
    await stage.close()
    stale = await stage.store.load("acme", "s1")
    await stage.ask("are you open?")
    await stage.close()
    await stage.cache.values.put(StoredValue(_value_key("acme", "s1"), _pack(stale), 60_000))
    events = await stage.stream("are you open?")
    assert [event["type"] for event in events] == ["start", "intent", "text", "complete"]


async def test_a_stream_that_loses_its_session_ends_with_lease_lost(stage):
    async def loses(*args, **kwargs):
        raise PreconditionFailed(0)

    stage.store.commit = loses
    events = await stage.stream("are you open?")
    assert [event["type"] for event in events] == ["start", "intent", "text", "error"]
    assert events[-1]["data"]["code"] == "lease_lost"


async def test_a_writing_turn_whose_session_was_deleted_meanwhile_is_discarded(stage):
    await stage.ask("are you open?")
    gate = Gate()
    stage.flows.answers = [gate, flow_result("Paid back.")]
    asking = asyncio.create_task(stage.ask(REFUND))
    await asyncio.wait_for(gate.reached.wait(), 5)
    await stage.views.delete(ALICE, "s1", None)
    gate.open.set()
    with pytest.raises(LeaseLost):
        await asking
    assert await stage.turns() == []


async def test_the_running_turn_of_a_dead_replica_is_given_up_and_its_place_taken(stage):
    await stage.ask("are you open?")
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    dead = await start(stage, REFUND, wait_for=gate)
    # The replica dies: its lease runs out, and nobody says that its turn is alive.
    [running] = [turn for turn in await stage.turns() if turn["status"] == "running"]
    record = await stage.store.turn("acme", running["turn_id"])
    await stage.store.heartbeat(record, now_ms() - 11_000)
    await stage.cache.leases.release("lease:acme:s1", f"a/{dead.turn_id}")

    other = stage.replica()
    reply = await other.ask("refund again")
    assert reply.status == "success"
    turns = {turn["turn_id"]: turn for turn in await stage.turns()}
    assert turns[dead.turn_id]["status"] == "failed"
    assert (turns[reply.turn_id]["seq"], turns[reply.turn_id]["status"]) == (2, "committed")

    # Should it come back after all, it finds that it has lost.
    gate.open.set()
    with pytest.raises(LeaseLost):
        await dead.task
    assert sorted(turn["seq"] for turn in await stage.turns() if turn["seq"]) == [1, 2]
    await other.close()


async def test_the_place_of_a_turn_that_is_alive_is_waited_for_until_the_deadline(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    alive = await start(stage, REFUND, wait_for=gate)
    await stage.cache.leases.release("lease:acme:s1", f"a/{alive.turn_id}")
    other = stage.replica()

    async def in_a_hurry():
        enter_request(RequestContext("r", Deadline.after(0.2)))
        return await other.ask("refund again")

    with pytest.raises(SessionBusy):
        await asyncio.create_task(in_a_hurry())
    assert other.flows.asked == []
    gate.open.set()
    assert (await alive.task).status == "success"
    await other.close()


async def test_a_database_that_is_down_stores_nothing_and_says_so(stage):
    async def down(*args, **kwargs):
        raise StorageUnavailable("PostgreSQL does not answer.")

    stage.store.commit = down
    with pytest.raises(StorageUnavailable):
        await stage.ask("are you open?")
    assert await stage.turns() == []


async def test_a_client_that_leaves_a_sync_query_does_not_stop_its_turn(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    asking = asyncio.create_task(stage.ask("where is order 1?"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.open.set()
    await stage.close()
    assert [turn["status"] for turn in await stage.turns()] == ["committed"]


@pytest.mark.parametrize(("policy", "outcome"), [("finish", "committed"), ("cancel", "cancelled")])
async def test_a_client_that_leaves_a_stream_stops_it_where_the_workflow_says_so(stage, policy, outcome):
    stage.releases.publish({**with_policies(client_gone=policy), "workflow_id": "other"}, default=False)
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    await stage.ask("are you open?", workflow_id="other")
    started = await start(stage, "where is order 1?", wait_for=gate)
    stage.queries.client_left("acme", started)
    if outcome == "cancelled":
        with pytest.raises(TurnCancelled):
            await started.task
    else:
        gate.open.set()
        await started.task
    assert [turn["status"] for turn in await stage.turns()] == ["committed", outcome]


async def test_a_hundred_messages_at_once_are_answered_one_after_the_other(stage):
    replies = await asyncio.gather(*(stage.ask(f"are you open? {number}") for number in range(100)))
    assert [reply.greeting for reply in replies] == ["Hello!"] + [None] * 99
    turns = await stage.turns()
    assert [turn["seq"] for turn in turns] == list(range(1, 101))
    assert [turn["user_text"] for turn in turns] == [f"are you open? {number}" for number in range(100)]
    assert [turn["first_message"] for turn in turns] == list(range(1, 201, 2))
    assert (await stage.store.load("acme", "s1")).message_count == 200


async def test_the_same_over_two_replicas_has_no_gap_and_nothing_twice(stage):
    other = stage.replica()
    texts = [f"are you open? {number}" for number in range(40)]
    await asyncio.gather(*((stage, other)[index % 2].ask(text) for index, text in enumerate(texts)))
    turns = await stage.turns()
    assert [turn["seq"] for turn in turns] == list(range(1, 41))
    assert sorted(turn["user_text"] for turn in turns) == sorted(texts)
    await other.close()


async def test_and_without_a_cache_that_could_keep_them_apart(stage):
    replicas = []
    for name in ("a", "b"):
        cache = BrokenCache(MemoryCache())
        cache.down = True
        replicas.append(Stage(stage.database, cache, stage.releases, name))
    texts = [f"are you open? {number}" for number in range(30)]
    await asyncio.gather(*(replicas[index % 2].ask(text) for index, text in enumerate(texts)))
    assert [turn["seq"] for turn in await stage.turns()] == list(range(1, 31))
    for replica in replicas:
        await replica.close()


async def test_at_shutdown_turns_that_are_late_are_cancelled_and_give_their_place_back(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    started = await start(stage, REFUND, wait_for=gate)
    await stage.running.drain(0.01)
    assert started.task.done()
    assert [turn["status"] for turn in await stage.turns()] == ["cancelled"]
    await stage.keeper.drain()
    assert not await stage.cache.leases.request_cancel("lease:acme:s1")
    await until(lambda: stage.running._tasks == {})
