"""A run that waits for the user's word gets it with the next message, or is dropped for what that says."""

import pytest
from support.workflow_stage import CONFIG, skill_says, understood

from signalbox.common.errors import Unavailable
from signalbox.contracts.pauses import Pause, PendingCall
from signalbox.contracts.query import Choice, ChoicesPart
from signalbox.contracts.work import SkillResult, SkillResultFrame
from signalbox.workflow.agreeing import answer_to
from signalbox.workflow.records import PausedRun

CALL = PendingCall(call_id="turn_1/advisor/1.0", tool="pay", arguments={"pin": "1"}, summary="pay 5 euros")
PAUSED = PausedRun(run_id="turn_1/advisor", skill="advisor", calls=[CALL], asked="Shall I? Pay 5 euros")
YES_OR_NO = ChoicesPart(choices=[Choice(label="Yes", value="yes"), Choice(label="No", value="no")])


def waits(by="user"):
    """The frames of a skill that asks."""
    pause = Pause(by=by, reason="approval", calls=[CALL])
    result = SkillResult(
        status="waiting", message="Shall I?", reason="approval", parts=[YES_OR_NO] if by == "user" else [],
        pause=pause,
    )  # fmt: skip
    return [SkillResultFrame(result=result)]


def abandoned():
    result = SkillResult(status="failed", message="Not carried on with.", reason="abandoned")
    return [SkillResultFrame(result=result)]


@pytest.fixture
async def asked(stage):
    """A session in which the user was asked."""
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [waits()]
    reply = await stage.ask("advise me")
    assert (reply.status, reply.reason, reply.parts) == ("waiting", "approval", [YES_OR_NO])
    return stage


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("yes", "approve"), ("Yes, please!", "approve"), ("ok do it", "approve"), ("好的", "approve"),
        ("no", "refuse"), ("no thanks", "refuse"), ("不要", "refuse"), ("算了", "refuse"), ("never mind", "refuse"),
        ("yes, but to my other address", None), ("what does it cost?", None), ("可以吗？", None),
        ("no, book the other one instead", None),
        ("sure, and what is the weather tomorrow in Oslo", None), ("order 5", None),
    ],
)  # fmt: skip
def test_only_a_plain_yes_is_a_yes(message, word):
    assert answer_to(PAUSED, message) == word


@pytest.mark.parametrize(("message", "decision"), [("yes", "approve"), ("不要", "refuse")])
async def test_the_next_message_is_the_word_and_no_model_is_asked_for_it(asked, message, decision):
    models = len(asked.gateway.asked)
    asked.skills.answers = [skill_says("Paid.")]
    reply = await asked.ask(message)
    assert (reply.status, reply.message, reply.decision.stage) == ("success", "Paid.", "choice")
    request = asked.skills.asked[-1]
    assert request.run_id == asked.skills.asked[0].run_id
    assert {call: verdict.decision for call, verdict in request.verdicts.items()} == {CALL.call_id: decision}
    assert request.context.turn_id == reply.turn_id
    assert len(asked.gateway.asked) == models
    asked.skills.answers = [skill_says("Fine.")]
    await asked.ask("yes")
    assert asked.skills.asked[-1].verdicts == {}, "there is nothing to say yes to any more"


async def test_another_message_drops_the_write_says_so_and_is_handled(asked):
    asked.skills.answers = [abandoned()]
    reply = await asked.ask("when are you open?")
    assert reply.message == "I have not done this: pay 5 euros\n\nFrom 9 to 17."
    assert reply.status == "success"
    assert {one.decision for one in asked.skills.asked[-1].verdicts.values()} == {"abandon"}
    asked.skills.answers = [skill_says("Fine.")]
    await asked.ask("yes")
    assert asked.skills.asked[-1].verdicts == {}


async def test_a_run_that_got_its_yes_in_a_lost_turn_says_what_it_did(asked):
    asked.skills.answers = [skill_says("It is paid.")]
    reply = await asked.ask("when are you open?")
    assert reply.message == "It is paid.\n\nFrom 9 to 17."


async def test_a_run_that_cannot_be_reached_still_waits(asked):
    asked.skills.answers = [Unavailable("away")]
    assert (await asked.ask("yes")).status == "error"
    asked.skills.answers = [skill_says("Paid.")]
    assert (await asked.ask("yes")).message == "Paid."


async def test_it_goes_on_with_the_config_that_it_asked_under(asked):
    before = asked.skills.asked[0].context.config_hash
    asked.releases.publish({**CONFIG, "name": "Newer", "policies": {"snapshot": "follow"}})
    asked.skills.answers = [skill_says("Paid.")]
    await asked.ask("yes")
    assert asked.skills.asked[-1].context.config_hash == before
    await asked.ask("advise me")
    assert asked.skills.asked[-1].context.config_hash != before


async def test_arguments_are_not_kept_with_the_session(asked):
    stored = await asked.store.load("acme", "s1")
    assert stored.status == "waiting"
    assert stored.state.paused.calls[0].arguments == {}
