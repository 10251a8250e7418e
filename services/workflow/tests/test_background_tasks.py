"""Async queries: posted, worked on, ended once."""

import asyncio
import json

import pytest
from support.async_waiting import until
from support.background_stage import BackgroundStage
from support.workflow_stage import ALICE, BOB, RIVAL, Gate, flow_result, rows_of, with_policies

from signalbox.common.errors import Unavailable
from signalbox.common.storage import Statement, Write
from signalbox.contracts.background import AsyncQueryRequest
from signalbox.contracts.identity import Scope
from signalbox.workflow.background import runner
from signalbox.workflow.background.in_process import InProcessQueue
from signalbox.workflow.background.records import TaskName
from signalbox.workflow.errors import (
    IdempotencyKeyReused,
    LeaseLost,
    SessionBusy,
    TaskNotFound,
    TooManyTasks,
    UnknownTimezone,
    WebhookSecretMissing,
)
from signalbox.workflow.idempotency_rows import KEPT_MS

HOOK = {"url": "https://crm.example/hook"}


@pytest.fixture
def background(stage):
    return BackgroundStage(stage)


async def webhooks(background):
    return [json.loads(row["payload"]) for row in await rows_of(background.stage.database, "workflow_outbox")]


async def test_a_message_is_accepted_at_once_and_answered_by_whoever_looks(background):
    accepted = await background.submit("when are you open?")
    assert (accepted.status, accepted.session_id) == ("pending", "s1")
    waiting = await background.view(accepted.task_id)
    assert (waiting.status, waiting.result) == ("pending", None)
    assert await background.work() == 1
    done = await background.view(accepted.task_id)
    assert (done.status, done.attempt, done.error) == ("success", 1, None)
    assert done.result.message == "Hello!\n\nFrom 9 to 17."
    [turn] = await background.stage.turns()
    assert turn["turn_id"] == done.result.turn_id
    background.queue.put([TaskName("acme", accepted.task_id)])
    await background.work()
    assert len(await background.stage.turns()) == 1, "a message that comes twice is answered twice"


async def test_a_result_goes_to_its_webhook_from_the_transaction_of_the_turn(background):
    accepted = await background.submit("when are you open?", webhook=HOOK)
    assert await webhooks(background) == []
    await background.work()
    [told] = await webhooks(background)
    done = await background.view(accepted.task_id)
    assert told["type"] == "task.success"
    assert told["data"]["task_id"] == accepted.task_id
    assert told["data"]["result"] == json.loads(done.result.model_dump_json(exclude_none=True))
    [row] = await rows_of(background.stage.database, "workflow_outbox")
    assert json.loads(row["target"]) == {**HOOK, "secret": "secret:webhook"}
    assert row["session_id"] == "s1"


async def test_a_webhook_that_nothing_could_sign_is_refused(background):
    with pytest.raises(WebhookSecretMissing):
        await background.submit("hello", webhook={**HOOK, "secret": "secret:webhook-other"})
    assert background.queue.told == []


@pytest.mark.parametrize(
    "webhook",
    [
        {"url": "crm.example/hook"},
        {"url": "ftp://crm.example"},
        {"url": "https://user:word@crm.example/"},
        {"url": "https://crm.example", "secret": "whsec_a-value"},
        {"url": "https://crm.example", "secret": "secret:crm-token"},
        {"url": "https://crm.example", "secret": "secret:webhooks"},
    ],
)
def test_receivers_are_named_by_address_and_signed_with_secrets_for_that(webhook):
    with pytest.raises(ValueError, match="webhook"):
        AsyncQueryRequest(message="hi", session_id="s", webhook=webhook)


async def test_tasks_are_their_principals_own(background):
    accepted = await background.submit("when are you open?")
    for other in (BOB, RIVAL):
        for call in (background.service.task, background.service.cancel):
            with pytest.raises(TaskNotFound):
                await call(other, accepted.task_id)
        assert (await background.service.tasks(other, None, None, None, 10)).items == []
    listed = await background.service.tasks(ALICE, "pending", None, None, 10)
    assert [task.task_id for task in listed.items] == [accepted.task_id]


async def test_pages_of_tasks_follow_each_other(background):
    made = [(await background.submit("hi", f"s{n}")).task_id for n in range(5)]
    first = await background.service.tasks(ALICE, None, None, None, 3)
    rest = await background.service.tasks(ALICE, None, None, first.next_before, 3)
    assert [task.task_id for task in [*first.items, *rest.items]] == sorted(made, reverse=True)
    assert (len(first.items), rest.next_before) == (3, None)


async def test_a_repeated_key_makes_one_task_and_another_body_none(background):
    told = await asyncio.gather(*(background.submit("when are you open?", key="k") for _ in range(10)))
    assert len({accepted.task_id for accepted in told}) == 1
    assert len(await rows_of(background.stage.database, "workflow_tasks")) == 1
    with pytest.raises(IdempotencyKeyReused):
        await background.submit("something else", key="k")
    await background.work()
    assert (await background.submit("when are you open?", key="k")).task_id == told[0].task_id


async def test_a_key_whose_time_is_over_makes_another_task_before_it_is_pruned(background):
    first = await background.submit("when are you open?", key="k")
    age = Statement("UPDATE workflow_idempotency SET created_at = created_at - :by")
    await background.stage.database.write(Write(age, {"by": KEPT_MS - 60_000}))
    assert (await background.submit("when are you open?", key="k")).task_id == first.task_id
    await background.stage.database.write(Write(age, {"by": 120_000}))
    later = await asyncio.gather(*(background.submit("something else", key="k") for _ in range(5)))
    assert len({first.task_id, *(accepted.task_id for accepted in later)}) == 2
    assert len(await rows_of(background.stage.database, "workflow_tasks")) == 2
    assert len(await rows_of(background.stage.database, "workflow_idempotency")) == 1


async def test_a_key_has_so_many_tasks_that_are_not_ended(stage):
    background = BackgroundStage(stage, tasks_per_key=3)
    told = await background.submit("when are you open?", "s1", key="k")
    await background.submit("when are you open?", "s2")
    with pytest.raises(TooManyTasks) as refused:
        await background.submit_batch([{"message": m, "session_id": m} for m in ("one", "two")])
    assert (refused.value.status, "3 async queries" in refused.value.detail) == (429, True)
    await background.submit_batch([{"message": "when are you open?", "session_id": "s3"}])
    with pytest.raises(TooManyTasks):
        await background.submit("hi", "s9")
    # Repeating what was accepted, and other keys, are not refused.
    assert await background.submit("when are you open?", "s1", key="k") == told
    await background.submit("when are you open?", "s4", principal=BOB)
    assert len(await rows_of(stage.database, "workflow_tasks")) == 4
    await background.work()
    await background.submit("hi", "s9")


async def test_what_needs_no_turn_to_be_known_is_said_at_once(background):
    with pytest.raises(UnknownTimezone):
        await background.submit("hi", timezone="Mars/Olympus")


async def test_what_a_query_is_refused_with_is_the_error_of_the_task(background):
    await background.stage.ask("hello", principal=BOB)
    accepted = await background.submit("when are you open?", webhook=HOOK)
    await background.work()
    failed = await background.view(accepted.task_id)
    assert (failed.status, failed.error.code, failed.result) == ("failed", "session_not_found", None)
    [told] = await webhooks(background)
    assert (told["type"], told["data"]["error"]["code"]) == ("task.failed", "session_not_found")


async def test_a_pending_task_is_cancelled_at_once(background):
    accepted = await background.submit("when are you open?", webhook=HOOK)
    assert (await background.service.cancel(ALICE, accepted.task_id)).status == "cancelled"
    await background.work()
    assert (await background.view(accepted.task_id)).status == "cancelled"
    assert await background.stage.turns() == []
    assert [told["type"] for told in await webhooks(background)] == ["task.cancelled"]


@pytest.mark.parametrize("replica", ["the same", "another"])
async def test_cancelling_a_running_task_reaches_its_turn_on_any_replica(background, replica):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result()]
    asked = background if replica == "the same" else BackgroundStage(background.stage.replica(), "worker-b")
    accepted = await background.submit("order 7", webhook=HOOK)
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    # Where the turn runs, the task may be over before it is looked at again.
    assert (await asked.service.cancel(ALICE, accepted.task_id)).status in {"running", "cancelled"}
    await working
    assert gate.cancelled, "the turn was not stopped"
    assert (await background.view(accepted.task_id)).status == "cancelled"
    assert [told["type"] for told in await webhooks(background)] == ["task.cancelled"]


async def test_a_task_whose_turn_the_next_message_interrupts_is_cancelled(background):
    background.stage.releases.publish(with_policies(double_texting="interrupt"))
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result()]
    accepted = await background.submit("order 7")
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    assert "9 to 17" in (await background.stage.ask("when are you open?")).message
    await working
    assert (await background.view(accepted.task_id)).status == "cancelled"


async def test_a_task_that_is_over_stays_as_it_is(background):
    accepted = await background.submit("when are you open?")
    await background.work()
    assert (await background.service.cancel(ALICE, accepted.task_id)).status == "success"


async def test_the_tasks_of_a_session_are_answered_in_their_order_and_hold_no_other_worker(background):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result()]
    for message in ("order 1", "order 2", "order 3"):
        await background.submit(message)
        await asyncio.sleep(0.002)
    first, *later = background.queue.told
    background.queue.told = []
    working = asyncio.create_task(background.runner.look(first))
    await gate.reached.wait()
    async with asyncio.timeout(1):
        for name in later:
            await background.runner.look(name)
    gate.open.set()
    await working
    assert await background.work() == 2, "the next one of the session is not put in the queue"
    assert [turn["user_text"] for turn in await background.stage.turns()] == ["order 1", "order 2", "order 3"]


async def test_a_task_that_is_cancelled_lets_the_next_of_its_session_go(background):
    made = [(await background.submit(f"order {number}")).task_id for number in range(2)]
    await asyncio.sleep(0.002)
    background.queue.told.clear()
    await background.service.cancel(ALICE, made[0])
    await background.work()
    assert (await background.view(made[1])).status == "success"


async def test_a_heartbeat_keeps_a_long_task_from_being_taken(background):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result()]
    other = BackgroundStage(background.stage.replica(), "worker-b")
    accepted = await background.submit("order 7")
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    await asyncio.sleep(0.6)
    other.queue.put([TaskName("acme", accepted.task_id)])
    await other.work()
    gate.open.set()
    await working
    assert (await background.view(accepted.task_id)).attempt == 1


async def test_another_worker_takes_over_what_a_dead_one_left_and_the_dead_one_cannot_end_it(background):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result("From the dead.")]
    other = BackgroundStage(background.stage.replica(), "worker-b")
    other.stage.flows.answers = [flow_result("From the living.")]
    accepted = await background.submit("refund please", webhook=HOOK)
    frozen = asyncio.create_task(background.work())
    await gate.reached.wait()
    [beating] = [task for task in asyncio.all_tasks() if task.get_name().startswith("heartbeat")]
    beating.cancel()
    await until_stale(other, accepted.task_id)
    taken = asyncio.create_task(other.runner.look(TaskName("acme", accepted.task_id)))
    await until(lambda: other.runner._here)
    gate.open.set()
    await asyncio.gather(frozen, taken)
    done = await background.view(accepted.task_id)
    assert (done.status, done.attempt) == ("success", 2)
    assert len(await webhooks(background)) == 1
    assert len([turn for turn in await background.stage.turns() if turn["status"] == "committed"]) == 1


async def until_stale(other, task_id):
    async with asyncio.timeout(5):
        while True:
            await other.sweeper.sweep()
            if TaskName("acme", task_id) in other.queue.told:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("passes", [Unavailable("The database is away."), SessionBusy("s1"), LeaseLost()])
async def test_what_passes_is_tried_again(background, monkeypatch, passes):
    run, calls = background.stage.runner.run, []

    async def fails_first(given, log, stop):
        calls.append(given.turn_id)
        if len(calls) == 1:
            raise passes
        return await run(given, log, stop)

    monkeypatch.setattr(background.stage.runner, "run", fails_first)
    accepted = await background.submit("when are you open?")
    await background.work()
    assert (await background.view(accepted.task_id)).status == "pending"
    await until_done(background, accepted.task_id)
    assert (await background.view(accepted.task_id)).status == "success"
    assert len(set(calls)) == 1, "the attempts are different turns, whose calls out would be repeated"


async def test_what_does_not_pass_is_the_error_of_the_task_in_the_end(background, monkeypatch):
    async def fails(given, log, stop):
        raise Unavailable("The database is away.")

    monkeypatch.setattr(background.stage.runner, "run", fails)
    monkeypatch.setattr(runner, "_RETRY_MS", (1, 1))
    accepted = await background.submit("when are you open?")
    await background.work()
    await until_done(background, accepted.task_id)
    failed = await background.view(accepted.task_id)
    assert (failed.status, failed.attempt, failed.error.code) == ("failed", 3, "unavailable")


async def until_done(background, task_id):
    async with asyncio.timeout(5):
        while (await background.view(task_id)).status == "pending":
            await background.sweeper.sweep()
            await background.work()
            await asyncio.sleep(0.05)


async def test_a_process_that_ends_gives_its_tasks_back(background):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result("Later.")]
    accepted = await background.submit("order 7")
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    background.runner.close()
    await background.stage.running.drain(0.0)
    await background.runner.settle()
    await working
    assert (await background.view(accepted.task_id)).status == "pending"
    other = BackgroundStage(background.stage.replica(), "worker-b")
    await other.sweeper.sweep()
    assert other.queue.told == [TaskName("acme", accepted.task_id)], "it is not offered at once"
    await other.work()
    assert (await background.view(accepted.task_id)).status == "success"
    background.queue.put([TaskName("acme", accepted.task_id)])
    assert await background.work() == 1


async def test_what_is_worked_on_here_is_not_taken_over_here_when_the_clock_is_set_ahead(
    background, monkeypatch
):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result("Later.")]
    accepted = await background.submit("order 7")
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    ahead = runner.now_ms() + 3_600_000
    monkeypatch.setattr(runner, "now_ms", lambda: ahead)
    await background.runner.look(TaskName("acme", accepted.task_id))
    assert background.metrics.registry.get_sample_value("signalbox_tasks_taken_over_total") == 0
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_key_that_was_revoked_since_does_not_work_any_more(background):
    accepted = await background.submit("when are you open?")
    background.keys.replace([record for record in background.keys.records if record.key_id != "alice"])
    await background.work()
    assert (await background.view(accepted.task_id)).error.code == "forbidden"
    assert await background.stage.turns() == []


async def test_keys_that_are_not_known_yet_are_waited_for(background):
    records = background.keys.records
    accepted = await background.submit("when are you open?")
    background.keys.replace([])
    await background.work()
    assert (await background.view(accepted.task_id)).status == "pending"
    background.keys.replace(records)
    await until_done(background, accepted.task_id)
    assert (await background.view(accepted.task_id)).status == "success"


async def test_what_the_queue_lost_is_found_by_one_replica(background):
    replicas = [background, BackgroundStage(background.stage, "worker-b", task_requeue_ms=200)]
    for replica in replicas:
        replica.settings.task_requeue_ms = 200
    accepted = await background.submit("when are you open?")
    background.queue.told.clear()
    await asyncio.sleep(0.25)
    await asyncio.gather(*(replica.sweeper.sweep() for replica in replicas))
    told = [name for replica in replicas for name in replica.queue.told]
    assert told == [TaskName("acme", accepted.task_id)]


async def test_tasks_are_counted_as_they_end(background):
    await background.submit("when are you open?")
    await background.submit("hi", "s2", workflow_id="unpublished")
    await background.work()
    value = background.metrics.registry.get_sample_value
    assert value("signalbox_tasks_ended_total", {"status": "success"}) == 1
    assert value("signalbox_tasks_ended_total", {"status": "failed"}) == 1
    assert value("signalbox_task_wait_seconds_count") == value("signalbox_task_seconds_count") == 2
    assert value("signalbox_tasks_taken_over_total") == 0


async def test_the_queue_of_one_process_works_on_what_it_is_told(background):
    queue = InProcessQueue(2)
    looked, gate = [], asyncio.Event()

    async def look(name):
        looked.append(name)
        if name.task_id == "broken":
            raise KeyError("bug")
        await gate.wait()

    queue.start(look)
    queue.put([TaskName("t", "broken"), *(TaskName("t", str(n)) for n in range(4)), TaskName("t", "3")])
    await until(lambda: len(looked) == 3)
    await asyncio.sleep(0.02)
    assert len(looked) == 3, "more are worked on at a time than there are workers"
    gate.set()
    await until(lambda: len(looked) == 5)
    await asyncio.sleep(0.02)
    assert sorted(name.task_id for name in looked) == ["0", "1", "2", "3", "broken"]
    await queue.stop()


async def test_only_a_key_that_acts_for_users_stores_a_message_as_a_users(background):
    await background.submit("when are you open?", user_id="u1")
    acting = ALICE.model_copy(update={"scopes": ALICE.scopes | {Scope.ACT_FOR_USERS}})
    await background.submit("when are you open?", "s2", principal=acting, user_id="u1")
    stored = [
        json.loads(row["request"]) for row in await rows_of(background.stage.database, "workflow_tasks")
    ]
    assert {asked["session_id"]: asked.get("user_id") for asked in stored} == {"s1": None, "s2": "u1"}
