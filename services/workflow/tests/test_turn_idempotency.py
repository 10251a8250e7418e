"""The same request twice is one turn."""

import asyncio
import hashlib

import pytest
from support.workflow_stage import ALICE, BOB, RIVAL, Gate, flow_result, rows_of

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.ids import now_ms
from signalbox.common.storage import StorageUnavailable
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.errors import IdempotencyInProgress, IdempotencyKeyReused, TurnCancelled
from signalbox.workflow.records import IdempotencyKey, IdempotencyRecord
from signalbox.workflow.repository import SqlIdempotencyStore


async def within(seconds, call):
    async def served():
        enter_request(RequestContext("r", Deadline.after(seconds)))
        return await call()

    return await asyncio.create_task(served())


async def test_fifty_at_once_are_one_turn_and_one_reply(stage):
    stage.flows.answers = [flow_result("Paid back.")]
    replies = await asyncio.gather(*(stage.ask("refund please", key="k1") for _ in range(50)))
    assert {reply.model_dump_json() for reply in replies} == {replies[0].model_dump_json()}
    assert (len(stage.flows.asked), len(await stage.turns())) == (1, 1)
    later = await stage.ask("refund please", key="k1")
    assert later == replies[0]
    assert len(stage.flows.asked) == 1


async def test_over_two_replicas_too(stage):
    other = stage.replica()
    replies = await asyncio.gather(
        *((stage, other)[number % 2].ask("refund please", key="k1") for number in range(20))
    )
    assert len({reply.turn_id for reply in replies}) == 1
    assert len(await stage.turns()) == 1
    await other.close()


async def test_another_body_is_refused(stage):
    await stage.ask("are you open?", key="k1")
    with pytest.raises(IdempotencyKeyReused) as reused:
        await stage.ask("refund please", key="k1")
    assert (reused.value.status, reused.value.code) == (422, "idempotency_key_reused")
    with pytest.raises(IdempotencyKeyReused):
        await stage.ask("are you open?", "s2", key="k1")
    assert len(await stage.turns()) == 1


async def test_another_body_is_refused_also_while_the_first_is_being_answered(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    with pytest.raises(IdempotencyKeyReused):
        await stage.ask("are you open?", key="k1")
    gate.open.set()
    await first


async def test_keys_belong_to_their_principal(stage):
    stage.releases.publish(tenant="rival")
    replies = [
        await stage.ask("are you open?", f"s-{number}", principal, key="k1")
        for number, principal in enumerate((ALICE, BOB, RIVAL))
    ]
    assert len({reply.turn_id for reply in replies}) == 3


async def test_a_repeated_stream_is_the_stored_reply(stage):
    reply = await stage.ask("are you open?", key="k1")
    request = QueryRequest(message="are you open?", session_id="s1")
    assert await stage.queries.stream(ALICE, request, "k1") == reply


async def test_a_repeated_query_waits_for_the_stream_that_was_first(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result("Paid back.")]
    request = QueryRequest(message="refund please", session_id="s1")
    started = await stage.queries.stream(ALICE, request, "k1")
    assert not isinstance(started, QueryReply)
    again = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    gate.open.set()
    assert (await again) == (await started.task)


async def test_one_who_cannot_wait_is_told_to_come_back(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    with pytest.raises(IdempotencyInProgress) as waiting:
        await within(0.1, lambda: stage.ask("refund please", key="k1"))
    assert waiting.value.headers == {"Retry-After": "1"}
    gate.open.set()
    await first


@pytest.mark.parametrize("failure", [KeyError("bug"), "cancel"])
async def test_a_turn_that_came_to_nothing_gives_its_key_back(stage, failure):
    gate = Gate()
    stage.flows.answers = [gate, failure if failure != "cancel" else flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    if failure == "cancel":
        [turn] = await stage.turns()
        stage.running.cancel("acme", turn["turn_id"])
        with pytest.raises(TurnCancelled):
            await first
    else:
        gate.open.set()
        with pytest.raises(Exception, match="went wrong"):
            await first
    assert await rows_of(stage.database, "workflow_idempotency") == []
    stage.flows.answers = [flow_result("Paid back.")]
    assert (await stage.ask("refund please", key="k1")).message.endswith("Paid back.")


async def test_a_key_that_cannot_be_given_back_does_not_hide_what_happened(stage):
    async def down(*args):
        raise StorageUnavailable("down")

    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    stage.queries._idempotency.forget = down
    [turn] = await stage.turns()
    stage.running.cancel("acme", turn["turn_id"])
    with pytest.raises(TurnCancelled):
        await first


async def test_an_abandoned_claim_is_taken_over(stage):
    request = QueryRequest(message="are you open?", session_id="s1")
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    name = IdempotencyKey("acme", "key:alice", "query", "k1")
    dead = IdempotencyRecord(name, digest, "turn_dead", None, now_ms() - 1)
    await SqlIdempotencyStore(stage.database).claim(dead, now_ms())
    reply = await stage.ask("are you open?", key="k1")
    [row] = await rows_of(stage.database, "workflow_idempotency")
    assert (row["target_id"], QueryReply.model_validate_json(row["reply"])) == (reply.turn_id, reply)
