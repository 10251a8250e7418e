"""System actions: what each changes, what its receiver is told, and that silent ones say nothing."""

import json
from typing import Any

import pytest
from support.workflow_stage import CONFIG, flow_result, flow_waits, rows_of

WEBHOOK = {"url": "https://desk.example/{{ context.workflow_id }}", "secret": "secret:desk"}


def acting(*actions: dict[str, Any]) -> dict[str, Any]:
    """The config with other actions, each with an intent of its own name."""
    intents = [
        {
            "id": f"do_{action['id']}",
            "when": {"keywords": [f"do {action['id']}"]},
            "then": {"action": action["id"]},
        }
        for action in actions
    ]
    return {
        **CONFIG,
        "greeting": None,
        "intents": [*CONFIG["intents"], *intents],
        "actions": [*CONFIG["actions"], *actions],
    }


async def sent(stage: Any) -> list[dict[str, Any]]:
    return [json.loads(row["payload"]) for row in await rows_of(stage.database, "workflow_outbox")]


async def test_a_handoff_tells_what_was_said_and_known_and_why(stage):
    config = acting({"id": "desk", "type": "handoff", "webhook": WEBHOOK})
    # What a model is shown is no measure for what a person has to know.
    stage.releases.publish({**config, "policies": {"context": {"max_turns": 0}}})
    await stage.ask("are you open?")
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    reply = await stage.ask("do desk")
    assert (reply.status, reply.message) == ("handoff", "I am passing you on to a colleague.")
    [told] = await sent(stage)
    assert told["type"] == "action.handoff"
    data = told["data"]
    assert (data["action"], data["reason"], data["session_id"]) == ("desk", "do_desk", "s1")
    assert [entry["text"] for entry in data["transcript"]] == [
        "are you open?", "From 9 to 17.", "where is order 1?", "Which one?", "do desk",
    ]  # fmt: skip
    assert (await stage.store.load("acme", "s1")).status == "transferred"


async def test_a_handoff_of_a_flow_tells_its_slots_and_its_failure(stage):
    stage.releases.publish(acting({"id": "desk", "type": "handoff", "silent": True, "webhook": WEBHOOK}))
    stage.flows.answers = [
        flow_result(
            "I give up.", "failed", action="desk", reason="too_many_attempts", slots={"order_id": 1042}
        )
    ]
    reply = await stage.ask("where is order 1?")
    assert (reply.status, reply.message) == ("handoff", "I give up.")
    data = (await sent(stage))[0]["data"]
    assert (data["slots"], data["reason"]) == ({"order_id": 1042}, "too_many_attempts")
    assert data["transcript"][-1] == {"role": "assistant", "text": "I give up."}
    assert all(entry.keys() == {"role", "text"} for entry in data["transcript"])


async def test_a_payload_of_the_workflows_own(stage):
    payload = {"who": "{{ context.session_id }}", "why": "{{ reason }}", "said": "{{ transcript[0].text }}"}
    stage.releases.publish(
        acting({"id": "desk", "type": "handoff", "webhook": {**WEBHOOK, "payload": payload}})
    )
    await stage.ask("do desk")
    assert (await sent(stage))[0]["data"] == {"who": "s1", "why": "do_desk", "said": "do desk"}


async def test_a_webhook_is_stored_with_the_turn_and_is_signed_when_sent(stage):
    stage.releases.publish(acting({"id": "tell", "type": "webhook", "reply": "Told.", "webhook": WEBHOOK}))
    reply = await stage.ask("do tell")
    assert (reply.status, reply.message) == ("success", "Told.")
    [row] = await rows_of(stage.database, "workflow_outbox")
    assert json.loads(row["target"]) == {
        "url": "https://desk.example/shop", "secret": "secret:desk", "headers": {},
    }  # fmt: skip
    data = json.loads(row["payload"])["data"]
    assert (data["message"], data["turn_id"], "transcript" in data) == ("do tell", reply.turn_id, False)


@pytest.mark.parametrize(
    ("action", "status", "session"),
    [
        ({"type": "handoff"}, "handoff", "transferred"),
        ({"type": "close"}, "closed", "closed"),
        ({"type": "webhook", "webhook": WEBHOOK}, "success", "active"),
        ({"type": "update_profile", "profile": {"vip": True}}, "success", "active"),
    ],
)
async def test_a_silent_one_says_nothing(stage, action, status, session):
    stage.releases.publish(acting({"id": "it", "silent": True, "reply": "Loud.", **action}))
    events = await stage.stream("do it")
    reply = events[-1]["data"]
    assert (reply["message"], reply["status"]) == ("", status)
    assert not [event for event in events if event["type"] == "text"]
    assert (await stage.store.load("acme", "s1")).status == session


async def test_a_profile_is_updated_from_the_slots_of_the_flow_that_ends(stage):
    keep = {
        "id": "keep",
        "type": "update_profile",
        "profile": {"town": "{{ parameters.town }}"},
        "silent": True,
    }
    stage.releases.publish(acting(keep))
    stage.flows.answers = [flow_result("Kept.", action="keep", slots={"town": "Ulm"})]
    assert (await stage.ask("where is order 1?")).message == "Kept."
    assert (await stage.store.load("acme", "s1")).state.profile == {"town": "Ulm"}
    await stage.ask("my name is Kim")
    assert (await stage.store.load("acme", "s1")).state.profile == {"town": "Ulm", "name": "Kim"}


async def test_a_profile_that_changes_in_a_digression_is_seen_by_the_question_that_follows(stage):
    stage.releases.publish({**CONFIG, "greeting": None})
    stage.flows.answers = [flow_waits()]
    await stage.ask("where is order 1?")
    await stage.ask("my name is Kim")
    assert stage.flows.asked_again[-1].context.profile == {"name": "Kim"}
