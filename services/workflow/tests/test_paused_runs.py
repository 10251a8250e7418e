"""Runs that wait for an operator: decided once, gone on with in a turn of their own, refused when it is too late."""

import asyncio

import pytest
from support.background_stage import BackgroundStage
from support.workflow_stage import RIVAL, skill_says, understood

from signalbox.common.errors import Forbidden, Unavailable
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.pauses import DecisionRequest, Pause, PendingCall
from signalbox.contracts.work import SkillResult, SkillResultFrame
from signalbox.workflow.errors import AlreadyDecided, DecisionUnfit, PausedRunNotFound

OPERATOR = Principal(tenant="acme", subject="key:boss", scopes=frozenset({Scope.APPROVALS}))
CALL = PendingCall(call_id="turn_1/advisor/1.0", tool="pay", arguments={"sum": 5}, summary="pay 5 euros")


def waits(reason="approval"):
    pause = Pause(by="operator", reason=reason, calls=[CALL])
    result = SkillResult(status="waiting", message="A colleague is asked.", reason=reason, pause=pause)
    return [SkillResultFrame(result=result)]


@pytest.fixture
async def background(stage):
    return BackgroundStage(stage)


async def stopped(background, reason="approval"):
    """The id of a run that waits."""
    background.stage.gateway.answers = [understood("advice")]
    background.stage.skills.answers = [waits(reason)]
    reply = await background.stage.ask("advise me")
    assert reply.status == "waiting"
    return reply.pause_id


async def work(background):
    """Look at what the queue was told."""
    for name in list(background.queue.told):
        await background.runner.look(name)


def decision(word, **more):
    return DecisionRequest(decision=word, **more)


async def test_a_decision_lets_the_run_go_on_in_a_turn_of_its_own(background):
    stage = background.stage
    pause_id = await stopped(background)
    await stage.ask("when are you open?")
    taken = await background.paused_runs.decide(OPERATOR, pause_id, decision("approve", note="ok"))
    assert (taken.status, taken.decided_by, taken.calls) == ("decided", "key:boss", [CALL])
    stage.skills.answers = [skill_says("Paid.")]
    await work(background)
    request = stage.skills.asked[-1]
    assert {call: verdict.decision for call, verdict in request.verdicts.items()} == {CALL.call_id: "approve"}
    assert request.context.subject == "key:alice"
    done = await background.paused_runs.one(OPERATOR, pause_id)
    assert (done.status, done.done_at is not None) == ("done", True)
    turns = await stage.turns()
    assert [(turn["kind"], turn["user_text"]) for turn in turns][-1] == ("decision", "")
    assert turns[-1]["turn_id"] == done.result_turn_id == request.context.turn_id
    assert [turn["first_message"] for turn in turns] == [1, 3, 5]
    assert (await stage.ask("when are you open?")).message == "From 9 to 17."


async def test_of_many_decisions_one_is_taken(background):
    pause_id = await stopped(background)
    words = [decision("approve"), decision("refuse")] * 4
    taken = await asyncio.gather(
        *(background.paused_runs.decide(OPERATOR, pause_id, word) for word in words), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in taken) == 1
    assert sum(isinstance(one, AlreadyDecided) for one in taken) == 7
    assert len(background.queue.told) == 1


async def test_others_see_nothing_and_unfit_decisions_are_refused(background):
    pause_id = await stopped(background, "unknown_outcome")
    elsewhere = OPERATOR.model_copy(update={"workflows": frozenset({"other"})})
    for stranger in (RIVAL, elsewhere):
        with pytest.raises(PausedRunNotFound):
            await background.paused_runs.decide(stranger, pause_id, decision("repeat"))
        assert (await background.paused_runs.page(stranger, None, None, None, 10)).items == []
    with pytest.raises(DecisionUnfit):
        await background.paused_runs.decide(OPERATOR, pause_id, decision("approve"))
    page = await background.paused_runs.page(OPERATOR, "waiting", "unknown_outcome", None, 10)
    assert [(item.pause_id, item.expires_at) for item in page.items] == [(pause_id, None)]
    await background.paused_runs.decide(OPERATOR, pause_id, decision("happened", output={"receipt": 1}))
    background.stage.skills.answers = [skill_says("Paid.")]
    await work(background)
    (verdict,) = background.stage.skills.asked[-1].verdicts.values()
    assert (verdict.decision, verdict.output) == ("happened", {"receipt": 1})


async def test_what_nobody_decides_in_time_is_refused_once(background):
    background.stage.settings.approval_ttl_ms = 1
    late = await stopped(background)
    kept = await stopped(background, "unknown_outcome")
    await asyncio.sleep(0.01)
    assert [await background.paused_runs.expire(), await background.paused_runs.expire()] == [1, 0]
    refused = await background.paused_runs.one(OPERATOR, late)
    assert (refused.decision, refused.decided_by) == ("refuse", "expiry")
    assert (await background.paused_runs.one(OPERATOR, kept)).status == "waiting"


async def test_a_run_that_cannot_go_on_now_is_tried_again_and_said_once(background):
    pause_id = await stopped(background)
    await background.paused_runs.decide(OPERATOR, pause_id, decision("approve"))
    background.stage.skills.answers = [Unavailable("away")]
    await work(background)
    assert (await background.paused_runs.one(OPERATOR, pause_id)).status == "decided"
    background.stage.skills.answers = [skill_says("Paid.")]
    await work(background)
    await work(background)
    assert (await background.paused_runs.one(OPERATOR, pause_id)).status == "done"
    assert [turn["kind"] for turn in await background.stage.turns()].count("decision") == 1


async def test_a_decision_whose_task_came_to_nothing_can_be_taken_again(background):
    pause_id = await stopped(background)
    first = await background.paused_runs.decide(OPERATOR, pause_id, decision("approve"))
    assert await background.tasks.cancel("acme", first.task_id, 1) is not None
    second = await background.paused_runs.decide(OPERATOR, pause_id, decision("refuse"))
    assert second.task_id != first.task_id


async def test_a_no_never_becomes_a_yes(background):
    pause_id = await stopped(background)
    first = await background.paused_runs.decide(OPERATOR, pause_id, decision("refuse"))
    owner = Principal(tenant="acme", subject="key:alice", scopes=frozenset({Scope.QUERY}))
    with pytest.raises(Forbidden):
        await background.service.cancel(owner, first.task_id)
    assert await background.tasks.cancel("acme", first.task_id, 1) is not None
    with pytest.raises(AlreadyDecided):
        await background.paused_runs.decide(OPERATOR, pause_id, decision("approve"))
    await background.paused_runs.decide(OPERATOR, pause_id, decision("refuse"))


async def test_a_yes_that_comes_too_late_is_none(background):
    background.stage.settings.approval_ttl_ms = 1
    pause_id = await stopped(background)
    await asyncio.sleep(0.01)
    with pytest.raises(AlreadyDecided):
        await background.paused_runs.decide(OPERATOR, pause_id, decision("approve"))
    assert await background.paused_runs.expire() == 1
