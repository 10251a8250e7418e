"""The same request twice is one turn."""

import asyncio
import hashlib

import pytest
from support.workflow_stage import ALICE, BOB, RIVAL, Gate, Stage, flow_result, rows_of

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.ids import now_ms
from signalbox.common.storage import Statement, StorageUnavailable, Write
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.errors import IdempotencyInProgress, IdempotencyKeyReused, LeaseLost, TurnCancelled
from signalbox.workflow.records import IdempotencyKey, IdempotencyRecord
from signalbox.workflow.repository import SqlIdempotencyStore
from signalbox.workflow.turn_log import log_name


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


@pytest.mark.parametrize("failure", ["bug", "cancel", "commit"])
async def test_a_turn_that_may_have_written_is_repeated_under_its_id(stage, failure):
    """What it wrote is there, whatever became of its turn: a repetition under another id would write again."""
    gate, commit = Gate(), stage.store.commit
    stage.flows.answers = [gate, KeyError("bug") if failure == "bug" else flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    [turn] = await stage.turns()
    if failure == "cancel":
        stage.running.cancel("acme", turn["turn_id"])
    elif failure == "commit":
        stage.store.commit = down
    gate.open.set()
    with pytest.raises(SignalboxError):
        await first
    stage.store.commit = commit
    stage.flows.answers = [flow_result("Paid back.")]
    again = await within(1, lambda: stage.ask("refund please", key="k1"))
    assert (again.turn_id, again.status) == (turn["turn_id"], "success")
    assert again.message.endswith("Paid back.")
    assert {asked.context.turn_id for asked in stage.flows.asked} == {turn["turn_id"]}


async def test_a_repetition_that_fails_before_it_begins_keeps_the_id_too(stage):
    stage.store.commit, commit = down, stage.store.commit
    with pytest.raises(StorageUnavailable):
        await stage.ask("refund please", key="k1")
    [turn] = await stage.turns()
    stage.store.retake, retake = down, stage.store.retake
    with pytest.raises(StorageUnavailable):
        await stage.ask("refund please", key="k1")
    stage.store.commit, stage.store.retake = commit, retake
    assert (await stage.ask("refund please", key="k1")).turn_id == turn["turn_id"]


async def test_a_turn_that_wrote_nothing_gives_its_key_back(stage):
    stage.store.commit, commit = down, stage.store.commit
    with pytest.raises(StorageUnavailable):
        await stage.ask("are you open?", key="k1")
    assert await rows_of(stage.database, "workflow_idempotency") == []
    stage.store.commit = commit
    assert (await stage.ask("are you open?", key="k1")).status == "success"


async def down(*_args, **_kwargs):
    raise StorageUnavailable("down")


async def test_a_key_that_cannot_be_given_back_does_not_hide_what_happened(stage):
    gate = Gate()
    stage.flows.answers = [gate, flow_result()]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    stage.idempotency.store.keep = down
    [turn] = await stage.turns()
    stage.running.cancel("acme", turn["turn_id"])
    with pytest.raises(TurnCancelled):
        await first


async def abandoned(stage, message="are you open?"):
    """A claim whose process died, and the request that it was for."""
    request = QueryRequest(message=message, session_id="s1")
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    name = IdempotencyKey("acme", "key:alice", "query", "k1")
    dead = IdempotencyRecord(name, digest, "turn_dead", None, now_ms() - 1)
    await SqlIdempotencyStore(stage.database).claim(dead, now_ms(), 0)
    return request


async def test_an_abandoned_claim_is_taken_over_under_the_same_turn_id(stage):
    await abandoned(stage)
    reply = await stage.ask("are you open?", key="k1")
    [row] = await rows_of(stage.database, "workflow_idempotency")
    assert reply.turn_id == "turn_dead"
    assert (row["target_id"], QueryReply.model_validate_json(row["reply"])) == (reply.turn_id, reply)


async def test_who_takes_a_turn_over_makes_its_calls_under_the_same_keys(stage):
    """The process died after it had begun: its row is in the way, as running, until its heartbeat is old."""
    gate = Gate()
    stage.flows.answers = [gate, flow_result("Paid back.")]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    [running] = await stage.turns()
    await stage.database.write(
        Write(Statement("UPDATE workflow_turns SET heartbeat_at = heartbeat_at - 60000")),
        Write(Statement("UPDATE workflow_idempotency SET locked_until = 1")),
    )
    await stage.cache.leases.release("lease:acme:s1", f"a/{running['turn_id']}")
    other = stage.replica()
    reply = await other.ask("refund please", key="k1")
    assert other.flows.asked[0].context.turn_id == stage.flows.asked[0].context.turn_id == reply.turn_id
    # The first one was not dead after all: it is too late.
    gate.open.set()
    with pytest.raises(LeaseLost):
        await first
    [turn] = await stage.turns()
    assert (turn["turn_id"], turn["status"], turn["seq"]) == (reply.turn_id, "committed", 1)
    assert await stage.ask("refund please", key="k1") == reply
    await other.close()


async def test_a_stream_that_takes_a_turn_over_begins_its_log_anew(stage):
    request = await abandoned(stage)
    await stage.cache.logs.append(log_name("acme", "turn_dead"), 1, [b"{}"] * 9, 60_000)
    started = await stage.queries.stream(ALICE, request, "k1")
    events = [item async for item in started.log.follow()]
    assert await stage.cache.logs.read(log_name("acme", "turn_dead"), 0) == events


async def test_a_claim_is_kept_while_its_turn_runs(database):
    stage = Stage(database)
    stage.releases.publish()
    gate = Gate()
    stage.flows.answers = [gate, flow_result("Paid back.")]
    first = asyncio.create_task(stage.ask("refund please", key="k1"))
    await asyncio.wait_for(gate.reached.wait(), 5)
    [row] = await rows_of(database, "workflow_idempotency")

    kept = asyncio.Event()
    keep = stage.idempotency.store.keep

    async def noting(*args):
        await keep(*args)
        kept.set()

    stage.idempotency.store.keep = noting
    await asyncio.wait_for(kept.wait(), 5)
    [later] = await rows_of(database, "workflow_idempotency")
    assert later["locked_until"] > row["locked_until"]
    gate.open.set()
    await first
    await stage.close()


async def test_a_key_is_forgotten_after_a_day(stage):
    first = await stage.ask("are you open?", key="k1")
    assert not await stage.idempotency.prune()
    assert len(await rows_of(stage.database, "workflow_idempotency")) == 1
    day = Statement("UPDATE workflow_idempotency SET created_at = created_at - 86400001")
    await stage.database.write(Write(day))
    # Before it is pruned, too.
    second = await stage.ask("are you open, then?", key="k1")
    assert second.turn_id != first.turn_id
    await stage.database.write(Write(day))
    assert not await stage.idempotency.prune()
    assert await rows_of(stage.database, "workflow_idempotency") == []


async def test_a_caller_is_answered_in_time_also_when_the_database_hangs(stage):
    async def hang(*args, **kwargs):
        await asyncio.sleep(5)

    stage.store.commit = hang
    begun = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded, match="/api/v1/turn/turn_"):
        await within(0.2, lambda: stage.ask("are you open?"))
    assert asyncio.get_running_loop().time() - begun < 1.5
    stage.idempotency.store.claim = hang
    with pytest.raises(DeadlineExceeded):
        await within(0.2, lambda: stage.ask("are you open?", key="k1"))
    assert asyncio.get_running_loop().time() - begun < 3
