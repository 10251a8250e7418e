"""A skill's run that breaks off is called again with the same id; a service that is not there is not waited for."""

import pytest
from support.workflow_stage import skill_says, understood

from signalbox.common.clients import ServiceCallFailed
from signalbox.common.transport import HopProtocolError, HopTimeout, HopUnreachable
from signalbox.contracts.events import TextData, TextEvent, ToolCallData, ToolCallEvent
from signalbox.contracts.problem import Problem
from signalbox.workflow.told_once import ToldOnce

CUT = HopProtocolError("skills", "cut")
STARTING = ServiceCallFailed("skills", Problem(title="x", status=503, code="not_ready", detail="x"), {})


async def test_a_run_that_breaks_off_is_called_again_until_it_ends(stage):
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [CUT, HopUnreachable("skills", "away"), STARTING, skill_says("Wool.")]
    reply = await stage.ask("advise me")
    assert (reply.status, reply.message.endswith("Wool.")) == ("success", True)
    assert [asked.attempt for asked in stage.skills.asked] == [1, 2, 3, 4]
    assert len({asked.run_id for asked in stage.skills.asked}) == 1
    elapsed = [asked.elapsed_ms for asked in stage.skills.asked]
    assert elapsed[0] == 0
    assert elapsed[1] >= 100
    assert elapsed == sorted(elapsed)


async def test_an_answer_without_a_result_is_a_run_that_broke_off(stage):
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [skill_says("Half an ans")[:-1], skill_says("Wool.")]
    reply = await stage.ask("advise me")
    assert (reply.status, reply.message.endswith("Wool.")) == ("success", True)


async def test_text_that_was_streamed_before_a_break_is_not_streamed_again(stage):
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [skill_says("Wool is ", "wa")[:-1], CUT, skill_says("Wool ", "is warm.")]
    told = await stage.stream("advise me")
    text = "".join(event["data"]["delta"] for event in told if event["type"] == "text")
    assert text == told[-1]["data"]["message"] == "Hello!\n\nWool is warm."


CASES = {
    "the whole run begins again": (["Let me see.\n\nIt is w"], "Let me see.\n\nIt is warm.", "arm."),
    "the last answer begins again": (["Let me see.\n\nIt is w"], "It is warm.", "arm."),
    "an answer that alike begins": (["One.\n\nOne."], "One.\n\nOne.\n\nTwo.", "\n\nTwo."),
    "the last of two that are alike": (["One.\n\nOne."], "One. And more.", " And more."),
    "all had been said": (["It is warm."], "It is warm.", ""),
    "less is said": (["It is warm."], "It is", ""),
    "the model says something else": (["It is warm."], "It was cold.", "\n\nIt was cold."),
    "two breaks": (["It ", "It is w"], "It is warm.", "arm."),
    "nothing had been said": ([""], "It is warm.", "It is warm."),
}


@pytest.mark.parametrize("pieces", [1, 3, 100])
@pytest.mark.parametrize("name", CASES)
async def test_only_what_is_new_is_told(name, pieces):
    before, now, new = CASES[name]
    heard = []

    async def emit(event):
        heard.append(event.data.delta)

    told = ToldOnce(emit)
    for text in [*before, now]:
        last = len("".join(heard))
        told.again()
        for at in range(0, len(text), pieces):
            await told(TextEvent(data=TextData(delta=text[at : at + pieces])))
    await told.ended()
    assert "".join(heard)[last:] == new


async def test_a_tool_call_that_is_new_ends_a_repetition():
    heard = []

    async def emit(event):
        heard.append(event.data.delta if isinstance(event, TextEvent) else event.data.call_id)

    def text(delta):
        return TextEvent(data=TextData(delta=delta))

    def call(call_id):
        return ToolCallEvent(data=ToolCallData(call_id=call_id, tool="look", arguments={}))

    told = ToldOnce(emit)
    for event in (text("First."), call("1"), text("\n\nThe boo")):
        await told(event)
    told.again()
    for event in (text("First."), call("1"), text("\n\nThe boo"), call("2"), text("\n\nDone.")):
        await told(event)
    await told.ended()
    assert heard == ["First.", "1", "\n\nThe boo", "2", "\n\nDone."]


async def test_what_was_not_begun_or_took_too_long_is_not_called_again(stage):
    stage.gateway.answers = [understood("advice")]
    for failure in (HopUnreachable("skills", "away"), HopTimeout("skills", "late"), STARTING):
        stage.skills.asked.clear()
        stage.skills.answers = [failure]
        assert (await stage.ask("advise me")).status == "error"
        assert len(stage.skills.asked) == 1
