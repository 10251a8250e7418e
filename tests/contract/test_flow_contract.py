"""Flows: asking, wrong answers, giving up, confirming, and writes that reach the backend exactly once."""

from typing import Any

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem


def test_a_slot_is_asked_for_and_filled_by_the_next_message(client: PublicApi) -> None:
    session = new_session()
    asked = client.query("where is my order?", session)
    assert asked["status"] == "waiting"
    assert "Which order is it?" in asked["message"]
    done = client.query("it is 1043, thank you", session)
    assert done["status"] == "success"
    assert done["decision"]["stage"] == "flow"
    assert "Order 1043 was delivered on" in done["message"]
    assert client.session(session)["workflow_state"]["status"] == "active"


def test_a_wrong_value_is_refused_and_asked_for_again(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    refused = client.query("12", session)
    assert refused["status"] == "waiting"
    assert "That does not look like an order number." in refused["message"]
    assert "Which order is it?" in refused["message"]
    assert "Order 1043 was delivered" in client.query("1043", session)["message"]


def test_three_wrong_answers_end_the_flow_as_failed(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    replies = [client.query("nothing like it", session) for _ in range(3)]
    assert [reply["status"] for reply in replies] == ["waiting", "waiting", "error"]
    assert client.query("hello", session)["decision"]["stage"] == "rule"


@pytest.mark.parametrize(("message", "words"), [("cancel", "I have stopped"), ("算了", "已为您取消")])
def test_a_flow_can_be_given_up(client: PublicApi, message: str, words: str) -> None:
    session = new_session()
    client.query("where is my order?", session)
    stopped = client.query(message, session)
    assert stopped["status"] == "success"
    assert words in stopped["message"]
    assert client.query("hello", session)["decision"]["intent"] == "hello"


def test_a_person_can_be_asked_for_in_the_middle_of_a_flow(client: PublicApi) -> None:
    session = new_session()
    client.query("where is my order?", session)
    assert client.query("I want to talk to a human", session)["status"] == "handoff"


def test_yes_carries_it_out_and_no_leaves_it(client: PublicApi, system: RunningSystem) -> None:
    kept, cancelled = system.orders.fresh("processing"), system.orders.fresh("processing")
    session = new_session()
    asked = client.query(f"cancel order {kept}", session)
    assert asked["status"] == "waiting"
    assert f"Shall I cancel order {kept}" in asked["message"]
    assert f"order {kept} stays as it is" in client.query("no", session)["message"]
    client.query(f"cancel order {cancelled}", session)
    assert f"Order {cancelled} is cancelled" in client.query("yes", session)["message"]
    assert (system.orders.status_of(kept), system.orders.status_of(cancelled)) == ("processing", "cancelled")


def test_a_choice_resumes_by_its_value(client: PublicApi, probe: dict[str, Any]) -> None:
    session = new_session()
    asked = client.query("pick a colour", session, **probe)
    (colours,) = [part["choices"] for part in asked["parts"] if part["type"] == "choices"]
    assert [choice["label"] for choice in colours] == ["Red", "Blue"]
    confirm = client.query(colours[1]["value"], session)
    (answers,) = [part["choices"] for part in confirm["parts"] if part["type"] == "choices"]
    assert confirm["message"] == "Paint it blue?"
    done = client.query(answers[0]["value"], session)
    assert done["message"] == "It is blue now."
    assert done["decision"]["stage"] in {"flow", "choice"}


def test_a_return_is_written_once_under_a_key_of_the_turn(client: PublicApi, system: RunningSystem) -> None:
    order = system.orders.fresh("returnable")
    before = set(system.orders.keys_of("/returns"))
    reply = client.query(f"I want to return order {order}")
    assert f"for order {order} is set up" in reply["message"]
    assert system.orders.returns_of(order) == 1
    (key,) = set(system.orders.keys_of("/returns")) - before
    assert reply["turn_id"] in key


def test_a_write_sends_its_idempotency_key(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    reply = client.query(f"write {session}", session, **probe)
    assert reply["message"].endswith(f"Written: {session}.")
    sent = [item for item in system.backend.received("/written") if session in item.body]
    assert [item.method for item in sent] == ["POST"]
    assert reply["turn_id"] in sent[0].headers["idempotency-key"]


def test_a_write_that_fails_is_not_repeated(
    client: PublicApi, system: RunningSystem, probe: dict[str, Any]
) -> None:
    session = new_session()
    reply = client.query(f"write broken {session}", session, **probe)
    assert reply["status"] == "error"
    assert reply["message"].endswith("It could not be written.")
    assert len([item for item in system.backend.received("/status/500") if session in item.body]) == 1


def test_chinese_runs_the_same_flow(client: PublicApi) -> None:
    session = new_session()
    assert "请问是哪个订单" in client.query("我的订单什么时候到", session)["message"]
    assert "订单1042已发货" in client.query("1042", session)["message"]
