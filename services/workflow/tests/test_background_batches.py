"""Batches of async queries."""

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support.background_stage import BackgroundStage
from support.workflow_stage import ALICE, BOB, Gate, flow_result, rows_of

from signalbox.common.errors import Forbidden
from signalbox.common.ids import now_ms
from signalbox.contracts.background import BatchRequest
from signalbox.workflow.background import batches
from signalbox.workflow.errors import BatchNotFound


@pytest.fixture
def background(stage):
    return BackgroundStage(stage)


def asking(count, message="when are you open?"):
    return [{"message": message, "session_id": f"b{number}"} for number in range(count)]


async def test_every_item_has_one_result_in_its_place(background):
    accepted = await background.submit_batch(asking(25), parallel=4)
    assert (accepted.status, accepted.total, accepted.progress.pending) == ("running", 25, 25)
    assert len(background.queue.told) == 4
    assert await background.work() == 25
    done = await background.service.batch(ALICE, accepted.batch_id)
    assert (done.status, done.progress.success) == ("finished", 25)
    assert done.finished_at is not None
    first = await background.service.batch_items(ALICE, accepted.batch_id, 0, 10)
    rest = await background.service.batch_items(ALICE, accepted.batch_id, first.next_after, 100)
    items = [*first.items, *rest.items]
    assert [item.item for item in items] == list(range(25))
    assert all(item.result.session_id == f"b{item.item}" for item in items)
    assert rest.next_after is None


async def test_items_of_one_session_are_answered_in_the_order_of_the_batch(background):
    items = [{"message": f"order {number}", "session_id": "one"} for number in range(12)]
    accepted = await background.submit_batch(items, parallel=5)
    await background.work()
    assert (await background.service.batch(ALICE, accepted.batch_id)).progress.success == 12
    turns = await background.stage.turns("one")
    assert [turn["user_text"] for turn in turns] == [item["message"] for item in items]


async def test_no_more_items_run_at_a_time_than_the_batch_says(background):
    gate, most = Gate(), []

    def answer(_):
        return flow_result()

    background.stage.flows.answers = [gate, answer]
    accepted = await background.submit_batch(asking(9, "order 7"), parallel=3)

    async def look_all():
        while background.queue.told:
            looks = [
                asyncio.create_task(background.runner.look(background.queue.told.pop(0)))
                for _ in range(len(background.queue.told))
            ]
            await asyncio.sleep(0)
            progress = (await background.service.batch(ALICE, accepted.batch_id)).progress
            most.append(progress.running)
            gate.open.set()
            await asyncio.gather(*looks)

    await look_all()
    assert max(most) <= 3
    assert (await background.service.batch(ALICE, accepted.batch_id)).progress.success == 9


async def test_the_webhook_of_a_batch_is_told_once_with_the_counts(background):
    items = [*asking(3), {"message": "hi", "session_id": "b0", "workflow_id": "unpublished"}]
    accepted = await background.submit_batch(items, webhook={"url": "https://crm.example/hook"})
    await background.work()
    [row] = await rows_of(background.stage.database, "workflow_outbox")
    told = json.loads(row["payload"])
    assert (told["type"], told["data"]["batch_id"]) == ("batch.finished", accepted.batch_id)
    assert told["data"]["progress"] == {"pending": 0, "running": 0, "success": 3, "failed": 1, "cancelled": 0}


async def test_cancelling_ends_what_waits_and_stops_what_runs(background):
    gate = Gate()
    background.stage.flows.answers = [gate, flow_result()]
    accepted = await background.submit_batch(asking(6, "order 7"), parallel=1)
    working = asyncio.create_task(background.work())
    await gate.reached.wait()
    stopping = await background.service.cancel_batch(ALICE, accepted.batch_id)
    assert stopping.progress.cancelled == 5
    await working
    assert gate.cancelled
    done = await background.service.batch(ALICE, accepted.batch_id)
    assert (done.status, done.progress.cancelled) == ("finished", 6)


async def test_cancelling_one_item_lets_the_next_one_go(background):
    accepted = await background.submit_batch(asking(3), parallel=1)
    [first] = (await background.service.batch_items(ALICE, accepted.batch_id, 0, 1)).items
    await background.service.cancel(ALICE, first.task_id)
    await background.work()
    progress = (await background.service.batch(ALICE, accepted.batch_id)).progress
    assert (progress.cancelled, progress.success) == (1, 2)


async def test_a_batch_goes_on_when_a_process_ended_between_two_items(background, monkeypatch):
    accepted = await background.submit_batch(asking(4), parallel=2)
    advance = background.keeper.advance

    async def dies(*_):
        return None

    background.keeper.advance = dies
    await background.work()
    assert background.queue.told == []
    background.keeper.advance = advance
    monkeypatch.setattr(batches, "now_ms", lambda: now_ms() + 60_000)
    assert not await background.keeper.sweep()
    await background.work()
    assert (await background.service.batch(ALICE, accepted.batch_id)).status == "finished"


async def test_a_batch_ends_when_the_session_of_an_item_is_deleted(background, monkeypatch):
    accepted = await background.submit_batch(asking(3), parallel=1)
    await background.stage.ask("hello", "b0")
    await background.stage.views.delete(ALICE, "b0", None)
    monkeypatch.setattr(batches, "now_ms", lambda: now_ms() + 60_000)
    await background.keeper.sweep()
    await background.work()
    done = await background.service.batch(ALICE, accepted.batch_id)
    assert (done.status, done.progress.success, done.total) == ("finished", 2, 3)


async def test_a_repeated_key_makes_one_batch(background):
    told = await asyncio.gather(*(background.submit_batch(asking(3), key="k") for _ in range(5)))
    assert len({accepted.batch_id for accepted in told}) == 1
    assert len(await rows_of(background.stage.database, "workflow_tasks")) == 3
    assert len(background.queue.told) == 3


async def test_batches_are_their_principals_own(background):
    accepted = await background.submit_batch(asking(1))
    for call in (background.service.batch, background.service.cancel_batch):
        with pytest.raises(BatchNotFound):
            await call(BOB, accepted.batch_id)
    with pytest.raises(BatchNotFound):
        await background.service.batch_items(BOB, accepted.batch_id, 0, 9)


async def test_an_item_that_may_not_be_asked_refuses_the_batch(background):
    narrow = ALICE.model_copy(update={"workflows": frozenset({"other"})})
    request = BatchRequest.model_validate({"items": [*asking(1), {**asking(1)[0], "workflow_id": "shop"}]})
    with pytest.raises(Forbidden):
        await background.service.submit_batch(narrow, request, None)
    assert await rows_of(background.stage.database, "workflow_tasks") == []


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_items(count):
    with pytest.raises(ValidationError):
        BatchRequest.model_validate({"items": asking(count)})


async def test_a_thousand_items_are_stored_at_once(background):
    accepted = await background.submit_batch(asking(1000), parallel=64)
    assert accepted.total == 1000
    stored = await background.batches.batch("acme", accepted.batch_id)
    assert stored == replace(stored, total=1000, parallel=64)
    assert len(background.queue.told) == 64
