"""Earlier configurations, imported by the command, published, and asked, as somebody who moves over would do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bank_backend import KEY, TOKEN, BankBackend
from support.public_api import PublicApi, new_session
from support.systems import TENANTS, RunningSystem, publish, run_signalbox

from signalbox.common.documents import parse
from signalbox_fake_provider import FakeProvider

EARLIER = Path(__file__).parents[1] / "support" / "earlier"
INCOMPLETE = 3


def imported(name: str, directory: Path) -> dict[str, Any]:
    """The workflow that the command writes for a file."""
    written = directory / f"{name}.yaml"
    done = run_signalbox(
        "import", str(EARLIER / f"{name}.json"), "-o", str(written), env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == INCOMPLETE, done.stderr
    assert "Not carried over" in done.stderr
    document: dict[str, Any] = parse(written.read_bytes())
    return document


def keep_secret(system: RunningSystem, name: str, value: str) -> None:
    """As the report says: the secret gets its value where the system looks for it."""
    (system.local.directory / "secrets" / TENANTS[0] / name).write_text(value)


@pytest.fixture(scope="module")
def shop(
    system: RunningSystem, admin_client: PublicApi, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The e-commerce assistant, on the example's backend."""
    document = imported("shop_zh", tmp_path_factory.mktemp("imported"))
    companion = system.local.shop
    assert companion is not None
    document["variables"]["base_url"] = companion.url
    for name in ("query-order-token", "cancel-order-token"):
        keep_secret(system, name, companion.environment["SIGNALBOX_SECRET_SHOP_TOKEN"])
    publish(admin_client, document)
    return {"workflow_id": document["workflow_id"]}


@pytest.fixture(scope="module")
def bank() -> Iterator[BankBackend]:
    with BankBackend() as backend:
        yield backend


@pytest.fixture(scope="module")
def banking(
    system: RunningSystem,
    admin_client: PublicApi,
    bank: BankBackend,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The bank's assistant, on a backend that asks for its credentials."""
    document = imported("bank_en", tmp_path_factory.mktemp("imported"))
    document["variables"]["bank_api"] = bank.url
    keep_secret(system, "get-balance-x-bank-key", KEY)
    keep_secret(system, "book-branch-token", TOKEN)
    publish(admin_client, document)
    return {"workflow_id": document["workflow_id"]}


@pytest.fixture(scope="module")
def museum(
    admin_client: PublicApi, bank: BankBackend, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The bot that answers questions, its handbook searched at a backend of ours."""
    document = imported("faq_bot", tmp_path_factory.mktemp("imported"))
    for tool in document["tools"]:
        tool["request"]["url"] = tool["request"]["url"].replace("https://search.example.org", bank.url)
    publish(admin_client, document)
    return {"workflow_id": document["workflow_id"]}


def test_a_flow_is_started_by_its_pattern_calls_its_tool_and_branches(
    client: PublicApi, shop: dict[str, str]
) -> None:
    session = new_session()
    first = client.query("帮我看看订单1042", session, **shop)
    assert first["greeting"] == "您好，我是山野商城客服，请问有什么可以帮您？"
    assert "您的订单1042已发货，由" in first["message"]
    assert (first["status"], first["decision"]["intent"]) == ("success", "order_status")
    other = client.query("订单1043到了吗", session, **shop)
    assert "您的订单1043目前的状态是delivered。" in other["message"]


def test_a_flow_asks_for_what_the_message_lacks(client: PublicApi, shop: dict[str, str]) -> None:
    session = new_session()
    asked = client.query("查一下我的订单", session, **shop)
    assert asked["status"] == "waiting"
    assert "请问您的订单号是多少？" in asked["message"]
    assert "您的订单1042已发货" in client.query("1042", session, **shop)["message"]


def test_a_confirmed_write_is_made_and_a_refused_one_is_not(
    client: PublicApi, shop: dict[str, str], system: RunningSystem
) -> None:
    kept, gone = system.orders.fresh("processing"), system.orders.fresh("processing")
    session = new_session()
    assert client.query(f"我要取消订单{kept}", session, **shop)["status"] == "waiting"
    assert f"好的，订单{kept}保持不变。" in client.query("不", session, **shop)["message"]
    assert client.query(f"订单{gone}我想取消", session, **shop)["status"] == "waiting"
    assert f"订单{gone}已取消。" in client.query("是", session, **shop)["message"]
    assert (system.orders.status_of(kept), system.orders.status_of(gone)) == ("processing", "cancelled")


@pytest.mark.parametrize(
    ("message", "intent", "status", "words"),
    [
        ("谢谢啦", "thanks", "success", "不客气，祝您户外愉快！"),
        ("你们的退款规则是怎样的", "refund_rule", "success", "签收后30天内可以退货退款。"),
        ("我的手机号是13800001234", "save_phone", "success", "已记下您的手机号。"),
        ("我要找人工", "transfer", "handoff", "正在为您转接人工客服。"),
        ("我的积分有多少", "points", "success", "积分每天凌晨更新"),
    ],
)
def test_books_and_actions_answer(
    client: PublicApi, shop: dict[str, str], message: str, intent: str, status: str, words: str
) -> None:
    reply = client.query(message, **shop)
    assert (reply["decision"]["intent"], reply["status"]) == (intent, status)
    assert words in reply["message"]


def test_credentials_that_were_values_reach_the_backend_as_secrets(
    client: PublicApi, banking: dict[str, str], bank: BankBackend
) -> None:
    session = new_session()
    reply = client.query("what is my balance", session, **banking)
    assert (reply["status"], reply["greeting"]) == ("waiting", "Welcome to Harbour Bank.")
    told = client.query("1234567", session, **banking)
    assert "Account 1234567 holds 120.50 EUR." in told["message"]
    assert ("GET", "/accounts/1234567/balance", None) in bank.calls
    chinese = client.query("balance of 7654321", language="zh", **banking)
    assert "账户7654321余额为120.50EUR。" in chinese["message"]


def test_jumps_confirmations_and_results_of_a_flow(
    client: PublicApi, banking: dict[str, str], bank: BankBackend
) -> None:
    session = new_session()
    assert "Which day suits you?" in client.query("I need an appointment", session, **banking)["message"]
    asked = client.query("2030-05-06", session, **banking)
    assert [choice["value"] for choice in asked["parts"][0]["choices"]] == ["Harbour", "Old Town"]
    assert "Shall I book Old Town on 2030-05-06?" in client.query("Old Town", session, **banking)["message"]
    done = client.query("yes", session, **banking)
    assert "Booked: Old Town, 2030-05-06. Your reference is A-17." in done["message"]
    assert ("POST", "/appointments", {"day": "2030-05-06", "branch": "Old Town"}) in bank.calls


def test_a_function_answers_by_its_template(client: PublicApi, banking: dict[str, str]) -> None:
    reply = client.query("Exchange rate for USD, please", **banking)
    assert "One euro is 1.25 USD." in reply["message"]


def test_an_agent_has_its_prompt_the_constraints_and_its_tools(
    client: PublicApi, banking: dict[str, str], provider: FakeProvider
) -> None:
    provider.script(
        [{"match": {"last_user_contains": "stolen card"}, "reply": {"content": "Which card is it?"}}]
    )
    reply = client.query("I have a stolen card", **banking)
    assert (reply["status"], reply["decision"]["intent"]) == ("success", "card_support")
    assert "Which card is it?" in reply["message"]
    (asked,) = [record.body for record in provider.requests() if record.method == "POST"]
    prompt = asked["messages"][0]["content"]
    for words in (
        "Find out which card it is",
        "Never read out a full card number.",
        "Stay polite",
        "Identify what",
    ):
        assert words in prompt
    assert {tool["function"]["name"] for tool in asked["tools"]} >= {"block_card", "get_balance"}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("What are your opening hours?", "We are open from 10 to 18"),
        ("how much is the entry fee", "A ticket is 12 EUR"),
        ("Which tram stops there?", "Take tram 4 to Museum Square."),
    ],
)
def test_questions_with_answers_are_learned(
    client: PublicApi, museum: dict[str, str], message: str, words: str
) -> None:
    reply = client.query(message, **museum)
    assert reply["decision"]["stage"] in {"rule", "example"}
    assert words in reply["message"]


def test_a_person_can_be_asked_for(client: PublicApi, museum: dict[str, str]) -> None:
    reply = client.query("can I talk to a person", **museum)
    assert (reply["status"], reply["decision"]["intent"]) == ("handoff", "to_desk")
    assert "I am calling the front desk." in reply["message"]


def test_knowledge_is_asked_where_no_intent_fits(
    client: PublicApi, museum: dict[str, str], bank: BankBackend, provider: FakeProvider
) -> None:
    question = "which year is the roof from, by any chance"
    # To the model that names intents this is no intent; to the one that answers it is the answer.
    provider.script([{"match": {"last_user_contains": question}, "reply": {"content": "From 1901 [1]."}}])
    reply = client.query(question, **museum)
    assert "From 1901" in reply["message"]
    assert ("POST", "/v1/search", {"question": question, "top": None}) in bank.calls
    prompts = [str(record.body) for record in provider.requests() if record.method == "POST"]
    assert any("The roof was built in 1901." in prompt for prompt in prompts)
