"""Which snapshot a turn uses when another release became active while flows were open."""

import pytest
from support.workflow_stage import CONFIG, flow_result, flow_waits, with_policies

from signalbox.contracts.work import FlowState

WAITS = FlowState(flow="track", step=0, asked="order_id", slots={"colour": "red"})
TRACK = {
    "id": "track",
    "slots": [{"id": "order_id", "prompt": "Which order?"}],
    "steps": [{"type": "ask", "slot": "order_id"}, {"type": "call", "tool": "look_up"}],
}
OTHERS = [flow for flow in CONFIG["flows"] if flow["id"] != "track"]


def config(policy, *flows, **more):
    document = {**CONFIG, "flows": [*flows, *OTHERS], **more}
    if not flows:
        document["intents"] = [intent for intent in CONFIG["intents"] if intent["id"] != "track"]
    return with_policies(document, snapshot=policy)


@pytest.mark.parametrize(
    ("policy", "flows", "moves"),
    [
        ("pin", [TRACK], False),
        ("follow", [TRACK], True),
        # What was not reached yet has changed.
        ("follow", [{**TRACK, "steps": [TRACK["steps"][0], {"type": "reply", "text": "No."}]}], True),
        # The step at which it waits is another one, or its slot is gone, or the whole flow.
        ("follow", [{**TRACK, "steps": TRACK["steps"][::-1]}], False),
        ("follow", [{"id": "track", "steps": TRACK["steps"][1:]}], False),
        ("follow", [], False),
    ],
)
async def test_an_open_flow_goes_on_where_it_can(stage, policy, flows, moves):
    first = stage.releases.publish(config(policy, TRACK))
    stage.flows.answers = [flow_waits(), flow_result("Done.")]
    stage.flows.answers[0].result.state = WAITS
    await stage.ask("where is order 1?")
    second = stage.releases.publish(config(policy, *flows, description="Another one."))
    assert (await stage.ask("1042")).message == "Done."
    begun, went_on = stage.flows.asked
    assert went_on.state == WAITS
    assert went_on.context.config_hash == (second if moves else first).config_hash
    assert begun.context.config_hash == first.config_hash
    # Once it is over, what is released counts.
    assert (await stage.ask("are you open?")).message == "From 9 to 17."
    [*_, last] = await stage.turns()
    assert last["config_hash"] == second.config_hash


async def test_a_flow_that_was_interrupted_keeps_the_snapshot_too(stage):
    first = stage.releases.publish(config("follow", TRACK))
    state = WAITS.model_copy(update={"parents": [FlowState(flow="refund", step=0)]})
    stage.flows.answers = [flow_waits(), flow_result("Done.")]
    stage.flows.answers[0].result.state = state
    await stage.ask("where is order 1?")
    without_refund = config("follow", TRACK)
    without_refund["flows"] = [TRACK]
    without_refund["intents"] = [one for one in CONFIG["intents"] if one["id"] != "refund"]
    stage.releases.publish(without_refund)
    await stage.ask("1042")
    assert stage.flows.asked[-1].context.config_hash == first.config_hash
