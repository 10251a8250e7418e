"""A skill's run that breaks off is called again with the same id; a service that is not there is not waited for."""

from support.workflow_stage import skill_says, understood

from signalbox.common.clients import ServiceCallFailed
from signalbox.common.transport import HopProtocolError, HopTimeout, HopUnreachable
from signalbox.contracts.problem import Problem

CUT = HopProtocolError("skills", "cut")
STARTING = ServiceCallFailed("skills", Problem(title="x", status=503, code="not_ready", detail="x"), {})


async def test_a_run_that_breaks_off_is_called_again_until_it_ends(stage):
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [CUT, HopUnreachable("skills", "away"), STARTING, skill_says("Wool.")]
    reply = await stage.ask("advise me")
    assert (reply.status, reply.message.endswith("Wool.")) == ("success", True)
    assert [asked.attempt for asked in stage.skills.asked] == [1, 2, 3, 4]
    assert len({asked.run_id for asked in stage.skills.asked}) == 1


async def test_an_answer_without_a_result_is_a_run_that_broke_off(stage):
    stage.gateway.answers = [understood("advice")]
    stage.skills.answers = [skill_says("Half an ans")[:-1], skill_says("Wool.")]
    reply = await stage.ask("advise me")
    assert (reply.status, reply.message.endswith("Wool.")) == ("success", True)


async def test_what_was_not_begun_or_took_too_long_is_not_called_again(stage):
    stage.gateway.answers = [understood("advice")]
    for failure in (HopUnreachable("skills", "away"), HopTimeout("skills", "late"), STARTING):
        stage.skills.asked.clear()
        stage.skills.answers = [failure]
        assert (await stage.ask("advise me")).status == "error"
        assert len(stage.skills.asked) == 1
