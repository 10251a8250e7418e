"""Repair of conversations over the example shop: interrupting, going back, correcting, giving up; in both languages."""

import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem

from signalbox_fake_provider import FakeProvider

RETURN = "I want to return something"


def test_a_tool_answers_in_the_middle_and_the_question_comes_again(client: PublicApi) -> None:
    session = new_session()
    client.query(RETURN, session)
    aside = client.query("by the way, what are the shipping costs?", session)
    assert aside["decision"]["intent"] == "store_question"
    assert aside["status"] == "waiting"
    assert "Back to your return: Which order is it?" in aside["message"]
    assert "There is a return" not in aside["message"]
    assert "Order 1045 has not been delivered" in client.query("1045", session)["message"]


def test_chinese_asks_in_between_and_is_led_back_in_chinese(client: PublicApi) -> None:
    session = new_session()
    client.query("我想退货", session)
    aside = client.query("对了，运费是多少？", session)
    assert aside["decision"]["intent"] == "store_question"
    assert aside["message"].endswith("我们继续退货：请问是哪个订单？订单号是四位数字，在您的确认邮件中。")
    assert "尚未送达" in client.query("1045", session)["message"]


def test_the_language_may_change_while_a_flow_is_interrupted(client: PublicApi) -> None:
    session = new_session()
    client.query(RETURN, session)
    aside = client.query("运费是多少？", session)
    assert aside["language"] == "zh"
    assert "我们继续退货：请问是哪个订单？" in aside["message"]


def test_another_flow_runs_first_and_the_interrupted_one_goes_on(client: PublicApi) -> None:
    session = new_session()
    client.query(RETURN, session)
    other = client.query("where is my order?", session)
    assert other["decision"]["intent"] == "order_status"
    assert other["message"].startswith("Which order is it?")
    done = client.query("1043", session)
    assert "Order 1043 was delivered on" in done["message"]
    assert done["message"].endswith(
        "Back to your return: Which order is it? Its number has four digits and is in your confirmation e-mail."
    )
    assert done["status"] == "waiting"
    assert client.session(session)["workflow_state"]["status"] == "waiting"


@pytest.mark.parametrize(
    ("opening", "aside", "asked"),
    [
        ("change the address of order 1045", "how far is my order", "Which order is it?"),
        ("修改订单1045的收货地址", "下单好几天了还没消息", "请问是哪个订单"),
    ],
)
def test_examples_are_heard_in_the_middle_of_a_flow(
    client: PublicApi, opening: str, aside: str, asked: str
) -> None:
    session = new_session()
    client.query(opening, session)
    reply = client.query(f"{aside}?", session)
    assert (reply["decision"]["stage"], reply["decision"]["intent"]) == ("example", "order_status")
    assert reply["message"].startswith(asked)


def test_free_text_that_is_no_question_is_the_answer(client: PublicApi) -> None:
    session = new_session()
    client.query("change the address of order 1045", session)
    assert client.query("order is on its way street 5", session)["message"] == "Which town?"


def test_the_same_wish_again_is_not_begun_twice(client: PublicApi) -> None:
    session = new_session()
    client.query("change the address of my order", session)
    again = client.query("I want to change the address of my order", session)
    assert again["message"].startswith("Which order is it?")
    assert "I have stopped here" in client.query("never mind", session)["message"]
    assert client.query("hello", session)["decision"]["intent"] == "hello"


@pytest.mark.parametrize(
    ("first", "second", "stop", "stopped", "back"),
    [
        (RETURN, "where is my order?", "never mind", "I have stopped here", "Back to your return:"),
        ("我想退货", "我的订单什么时候到", "算了", "已为您取消", "我们继续退货："),
    ],
)
def test_giving_up_goes_back_to_the_flow_below(
    client: PublicApi, first: str, second: str, stop: str, stopped: str, back: str
) -> None:
    session = new_session()
    client.query(first, session)
    client.query(second, session)
    one = client.query(stop, session)
    assert (stopped in one["message"], back in one["message"]) == (True, True)
    two = client.query(stop, session)
    assert (stopped in two["message"], back in two["message"], two["status"]) == (True, False, "success")


@pytest.mark.parametrize(
    ("opening", "correction", "asked", "yes", "done"),
    [
        (
            "cancel order {}",
            "no, I meant order {}",
            "Shall I cancel order {}",
            "yes",
            "Order {} is cancelled",
        ),
        ("取消订单{}", "不对，是{}", "确认取消订单{}", "确认", "订单{}已取消"),
    ],
)
def test_the_order_is_corrected_before_it_is_cancelled(
    client: PublicApi, system: RunningSystem, opening: str, correction: str, asked: str, yes: str, done: str
) -> None:
    wrong, right = system.orders.fresh("processing"), system.orders.fresh("processing")
    session = new_session()
    client.query(opening.format(wrong), session)
    corrected = client.query(correction.format(right), session)
    assert corrected["decision"]["stage"] == "flow"
    assert asked.format(right) in corrected["message"]
    assert done.format(right) in client.query(yes, session)["message"]
    assert (system.orders.status_of(wrong), system.orders.status_of(right)) == ("processing", "cancelled")


def test_another_number_in_a_yes_is_not_taken_for_a_yes(client: PublicApi, system: RunningSystem) -> None:
    wrong, right = system.orders.fresh("processing"), system.orders.fresh("processing")
    session = new_session()
    client.query(f"cancel order {wrong}", session)
    again = client.query(f"yes, cancel order {right}", session)
    assert f"Shall I cancel order {right}" in again["message"]
    assert system.orders.status_of(wrong) == "processing"


def test_a_confirmation_takes_a_change_and_asks_again(client: PublicApi, system: RunningSystem) -> None:
    order = system.orders.fresh("processing")
    session = new_session()
    for message in (f"change the address of order {order}", "12 Elm Street", "Ulm", "89073", "Germany"):
        asked = client.query(message, session)
    assert asked["message"] == f"Shall I send order {order} to 12 Elm Street, 89073 Ulm?"
    changed = client.query("yes but change the street to 9 Oak Lane", session)
    assert changed["message"] == f"Shall I send order {order} to 9 Oak Lane, 89073 Ulm?"
    done = client.query("yes", session)
    assert f"Order {order} now goes to 9 Oak Lane, 89073 Ulm" in done["message"]


def test_chinese_changes_one_part_of_an_address(client: PublicApi, system: RunningSystem) -> None:
    order = system.orders.fresh("processing")
    session = new_session()
    for message in (f"修改订单{order}的收货地址", "长安街1号", "柏林", "10115", "德国"):
        asked = client.query(message, session)
    assert asked["message"] == f"确认将订单{order}寄往柏林长安街1号（10115）吗？"
    changed = client.query("可以，不过把城市改成慕尼黑", session)
    assert changed["message"] == f"确认将订单{order}寄往慕尼黑长安街1号（10115）吗？"
    assert "保持不变" in client.query("不用了", session)["message"]


def test_what_is_out_of_scope_gets_the_fallback_and_the_question(client: PublicApi) -> None:
    session = new_session()
    client.query(RETURN, session)
    reply = client.query("blub blub", session)
    assert reply["message"].startswith("I did not understand that. I can help with orders")
    assert "Which order is it?" in reply["message"]
    assert reply["status"] == "waiting"


def test_a_model_finds_what_rules_do_not(client: PublicApi, provider: FakeProvider) -> None:
    session = new_session()
    client.query(RETURN, session)
    token = "the one with the koala on it"
    content = '{"intent": "open_question", "confidence": 0.9, "parameters": {"order_number": 1045}}'
    provider.script([{"match": {"last_user_contains": token}, "reply": {"content": content}}])
    reply = client.query(token, session)
    assert "Order 1045 has not been delivered" in reply["message"]


def test_a_person_takes_over_from_two_open_flows(client: PublicApi) -> None:
    session = new_session()
    client.query(RETURN, session)
    client.query("where is my order?", session)
    assert client.query("I want to talk to a human", session)["status"] == "handoff"
    assert client.session(session)["workflow_state"]["status"] == "transferred"
