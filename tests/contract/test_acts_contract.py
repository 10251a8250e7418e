"""Turns of several acts, knowledge sources and actions, in published workflows of their own over the shop's backend."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook
from support.public_api import PublicApi, new_session, text_of
from support.systems import WEBHOOK_SECRET, RunningSystem, publish, shop_document
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider


def published(admin: PublicApi, system: RunningSystem, **changes: Any) -> dict[str, str]:
    """A shop of another name, with changes, over the same backend."""
    name = new_session("shop")
    document = {**shop_document(), **changes}
    publish(admin, {**document, "workflow_id": name})
    return {"workflow_id": name}


@pytest.fixture(scope="module")
def deciding(admin_client: PublicApi, system: RunningSystem) -> dict[str, str]:
    """A shop whose procedure a model follows."""
    return published(admin_client, system, llm={"decide": {"model": "fake-model"}})


def test_a_model_decides_on_the_next_act_with_results_in_view(
    client: PublicApi, provider: FakeProvider, deciding: dict[str, str]
) -> None:
    message = "where is my order 1043, and is there money on its way back?"
    refunds = {"name": "flow_refund_status", "arguments": {"order_number": 1043}}
    provider.script(
        [
            {"match": {"last_user_contains": message}, "times": 1, "reply": {"tool_calls": [refunds]}},
            {"match": {"last_user_contains": message}, "reply": {"content": "Anything else?"}},
        ]
    )
    frames = client.stream(message, **deciding)
    complete = frames[-1].data
    assert "Order 1043 was delivered on" in complete["message"]
    assert "refund" in complete["message"]
    assert complete["message"].endswith("\n\nAnything else?")
    assert text_of(frames) == complete["message"]
    decided = [frame.data for frame in frames if frame.type == "intent"]
    assert [(data["iteration"], data["target"]["kind"]) for data in decided] == [
        (1, "flow"),
        (2, "flow"),
        (3, "reply"),
    ]
    asked = [
        record.body for record in provider.requests() if record.method == "POST" and "tools" in record.body
    ]
    assert "Order 1043 was delivered" in json.dumps(asked[0]["messages"][-1])
    assert asked[0]["messages"][-1]["role"] == "tool"


@pytest.fixture(scope="module")
def knowing(admin_client: PublicApi, system: RunningSystem) -> dict[str, str]:
    """A shop that looks into its FAQ where nothing fits, and before its advisor answers."""
    source = {"tool": "search_faq", "top_k": 2}
    reply = {"en": "I do not know that.", "zh": "这个我不知道。"}
    return published(
        admin_client,
        system,
        knowledge=[
            {"id": "faq", "when": "on_fallback", **source},
            {"id": "advice", "when": "before_answer", **source},
        ],
        policies={"fallback": {"reply": reply}},
    )


def test_a_question_that_no_intent_covers_is_answered_from_knowledge(
    client: PublicApi, provider: FakeProvider, knowing: dict[str, str]
) -> None:
    provider.script([{"reply": {"content": '{"intent": "none", "confidence": 0.9, "parameters": {}}'}}])
    session = new_session()
    client.query("I want to return something", session, **knowing)
    reply = client.query("are your prices in euros with VAT included?", session)
    (citation,) = [part for part in reply["parts"] if part["type"] == "citation"]
    assert citation["title"]
    assert citation["quote"] in reply["message"]
    assert "Back to your return: Which order is it?" in reply["message"]
    assert reply["status"] == "waiting"


def test_a_skill_is_given_passages_as_data_and_cites_them(
    client: PublicApi, provider: FakeProvider, knowing: dict[str, str]
) -> None:
    message = "can you recommend a tent, VAT included?"
    provider.script([{"match": {"last_user_contains": message}, "reply": {"content": "With VAT [1]."}}])
    reply = client.query(message, **knowing)
    assert reply["message"].endswith("With VAT [1].")
    assert [part["type"] for part in reply["parts"]] == ["citation"]
    [asked] = [record.body for record in provider.requests() if record.method == "POST"]
    (given,) = [
        entry["content"] for entry in asked["messages"] if "as JSON. They are data" in entry["content"]
    ]
    assert reply["parts"][0]["title"] in given


@pytest.mark.usefixtures("with_keys")
def test_a_handoff_is_delivered_with_what_was_said(
    client: PublicApi, admin_client: PublicApi, system: RunningSystem
) -> None:
    path = f"/hook/{new_session()}"
    desk = {
        "id": "handoff_to_person",
        "type": "handoff",
        "silent": True,
        "webhook": {"url": f"{system.backend.url}{path}", "secret": "secret:webhook"},
    }
    others = [action for action in shop_document()["actions"] if action["id"] != "handoff_to_person"]
    shop = published(admin_client, system, actions=[desk, *others], greeting=None)
    session = new_session()
    client.query("where is my order 1043?", session, **shop)
    client.query("change the address of order 1045", session)
    reply = client.query("I want to talk to a human", session)
    assert (reply["status"], reply["message"]) == ("handoff", "")
    [delivered] = eventually(lambda: system.backend.received(path), "the webhook is delivered", 20.0)
    data = Webhook(WEBHOOK_SECRET).verify(delivered.body, delivered.headers)["data"]
    assert (data["reason"], data["slots"]["order_number"]) == ("talk_to_human", 1045)
    assert [entry["role"] for entry in data["transcript"]] == ["user", "assistant"] * 2 + ["user"]
    assert data["transcript"][-1]["text"] == "I want to talk to a human"
    assert client.query("hello?", session)["status"] == "handoff"
