"""The replay of recordings on a small shop: what it plays, and that it fails where something is not as recorded."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from replay.__main__ import describe, publish
from replay.backend import CONVERSATION, KEY, RetailBackend
from replay.playing import Played, Stage, documents
from replay.provider import RecordedModel, RecordedProvider
from replay.recordings import DataError, database_of, json_or_text, recordings_of, same_json
from replay.shop import Refused, Shop
from replay.synthetic import AWAY, GREETING, conversations, shop, write
from signalbox_fake_provider.script import Request

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One process with the small shop; every test has sessions, and so a shop, of its own."""
    data = tmp_path_factory.mktemp("recorded")
    write(data)
    model = RecordedModel()
    with RetailBackend(database_of(data)) as backend, RecordedProvider(model) as provider:
        workflows = documents(recordings_of(data), backend.url)
        with describe("one_process", provider.base_url) as system:
            publish(system, workflows.values())
            yield Stage(system.edge_url, model, backend, database_of(data), workflows)


def played(stage: Stage, folder: Path, document: dict[str, Any]) -> list[Played]:
    """What comes of the conversations of a document."""
    (folder / "lamps.json").write_text(json.dumps(document))
    return list(stage.play_all(recordings_of(folder), 3))


def test_what_is_as_recorded_passes(stage, folder):
    first, second, third = played(stage, folder, write(folder))
    assert [one.problems for one in (first, second, third)] == [[], [], []]
    assert (first.reads, first.results, first.writes) == ((4, 4), (8, 8), (3, 3))
    assert [one.right_end for one in (first, second, third)] == [True, True, None]


def _tampered(change: str) -> dict[str, Any]:
    simulations, tasks = conversations()
    messages = simulations[0]["messages"]
    results = [message for message in messages if message["role"] == "tool"]
    answers = [message for message in messages if message["role"] == "assistant" and message["tool_calls"]]
    if change == "a result of a read":
        results[2]["content"] = results[2]["content"].replace("20.0", "20.01")
    elif change == "the reason of a refusal":
        results[0]["content"] = "Error: No such user"
    elif change == "a write that was refused":
        results[5]["error"] = False
    elif change == "a tool that there is not":
        answers[0]["tool_calls"][3]["name"] = "no_such_tool"
    elif change == "a result after the first write":
        results[6]["content"] = "{}"
    elif change == "where the database ended":
        simulations[0]["reward_info"]["db_check"]["db_match"] = True
    return {
        "info": {"environment_info": {"policy": "# Policy\nSell lamps."}},
        "tasks": tasks,
        "simulations": simulations,
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("a result of a read", "get_order_details"),
        ("the reason of a refusal", "find_user_id_by_email"),
        ("a write that was refused", "which was made"),
        ("a tool that there is not", "no_such_tool"),
    ],
)
def test_what_is_not_as_recorded_fails(stage, folder, change, problem):
    first, second, _ = played(stage, folder, _tampered(change))
    assert problem in " ".join(first.problems)
    assert second.problems == [], "the others do not suffer from it"


def test_what_comes_after_the_first_write_is_told_and_does_not_count(stage, folder):
    first, *_ = played(stage, folder, _tampered("a result after the first write"))
    assert (first.problems, len(first.later), first.results) == ([], 1, (7, 8))
    first, *_ = played(stage, folder, _tampered("where the database ended"))
    assert (first.problems, first.right_end) == ([], False)


def test_a_write_made_twice_is_seen(stage, folder, monkeypatch):
    once = RetailBackend._serve

    def twice(self, method, target, headers, body):
        if method != "GET":
            once(self, method, target, headers, body)
        return once(self, method, target, headers, body)

    monkeypatch.setattr(RetailBackend, "_serve", twice)
    first, *_ = played(stage, folder, write(folder))
    assert any("6 writes for 3" in problem for problem in first.problems)


def test_the_command_prints_the_number_and_fails_where_not_all_pass(folder):
    done = _run(folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 of 3 conversations pass"), done.stderr
    assert "4 of 4 tool results before the first write equal the recorded ones" in done.stdout
    assert "3 of 3 writes reached the shop exactly once" in done.stdout
    (folder / "lamps.json").write_text(json.dumps(_tampered("a result of a read")))
    done = _run(folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "2 of 3 conversations pass"), done.stderr


def test_a_folder_without_recordings_is_said_to_be_one(tmp_path):
    (tmp_path / "retail_db.json").write_text("{}")
    done = _run(tmp_path)
    assert done.returncode == 2
    assert "no file with recorded conversations" in done.stderr
    with pytest.raises(DataError):
        database_of(tmp_path / "nowhere")


def _run(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "replay", str(folder), "--shape", "one_process"]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=120, check=False)


def test_greetings_and_policies_are_configuration(folder):
    greeted, plain = documents(recordings_of(folder), "http://shop").values()
    assert (greeted["greeting"], "greeting" in plain) == (GREETING, False)
    assert greeted["skills"][0]["instructions"] == "# Policy\nSell lamps."
    assert greeted["workflow_id"] != plain["workflow_id"]


def test_the_model_answers_at_its_point_and_nowhere_else(folder):
    model, [recording, *_] = RecordedModel(), recordings_of(folder)
    heard = model.begin(recording)
    messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hello"}]
    assert _asked(model, messages).reply.content == "Who are you?"
    messages += [
        {"role": "assistant", "content": f"{GREETING}\n\nWho are you?"},
        {"role": "user", "content": "Ada Low, CB7"},
    ]
    step = _asked(model, messages).reply
    assert [call.name for call in step.tool_calls][:2] == [
        "find_user_id_by_email",
        "find_user_id_by_name_zip",
    ]
    functions = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for call in step.tool_calls
    ]
    told = [{"role": "tool", "tool_call_id": call.id, "content": '"x"'} for call in step.tool_calls]
    after = [*messages, {"role": "assistant", "content": None, "tool_calls": functions}, *told]
    assert _asked(model, after).reply.content == "Found."
    assert heard.results == {1: "x", 2: "x", 3: "x", 4: "x"}
    assert heard.differences == []
    for wrong in (
        messages[:2] + messages[3:],
        [*messages[:2], {"role": "assistant", "content": "Who?"}, messages[3]],
        [*messages[:3], {"role": "user", "content": "Eve"}],
        [*after[:-2], after[-1], after[-2]],
        after[:-1],
        [*after, {"role": "assistant", "content": "More."}, {"role": "user", "content": "And?"}],
    ):
        assert _asked(model, wrong).fault.status == 400
    assert len(heard.differences) == 6
    assert _asked(model, [{"role": "user", "content": "Somebody else"}]).fault.status == 400
    model.end(recording)
    assert _asked(model, messages).fault.status == 400


def _asked(model: RecordedModel, messages: list[dict[str, Any]]) -> Any:
    return model.select(Request("chat", {}, {"model": "m", "messages": messages}))


def test_json_is_compared_as_json():
    assert same_json({"a": [1, 2.0]}, {"a": [1.0, 2]})
    assert same_json(json_or_text("ada_1"), "ada_1")
    assert same_json(json_or_text("91.0"), 91)
    for one, other in ((1, True), (0, None), ("1", 1), ([1], [1, 2]), ({"a": None}, {})):
        assert not same_json(one, other)


CARD, SWAP = {"payment_method_id": "card_1"}, "exchange_delivered_order_items"
SAME = "The new item id should be different from the old item id"


def _swap(order_id: str, old: list[str], new: list[str], method: str = "card_1") -> dict[str, Any]:
    return {"order_id": order_id, "item_ids": old, "new_item_ids": new, "payment_method_id": method}


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("get_user_details", {"user_id": "eve"}, "User not found"),
        ("get_product_details", {"product_id": "p9"}, "Product not found"),
        ("calculate", {"expression": "__import__('os')"}, "Invalid characters in expression"),
        ("calculate", {"expression": "1/0"}, "division by zero"),
        ("calculate", {"expression": "(1"}, "invalid syntax"),
        ("cancel_pending_order", {"order_id": "#A1", "reason": "bored"}, "Invalid reason"),
        (
            "cancel_pending_order",
            {"order_id": "#A2", "reason": "no longer needed"},
            "Non-pending order cannot be cancelled",
        ),
        (
            "return_delivered_order_items",
            {"order_id": "#A2", "item_ids": ["i2"], **CARD},
            "Some item not found",
        ),
        (SWAP, _swap("#A1", ["i1"], ["i2"]), "Non-delivered order cannot be exchanged"),
        (SWAP, _swap("#A2", ["i1"], []), "The number of items to be exchanged should match"),
        (SWAP, _swap("#A2", ["i1"] * 3, ["i2"] * 3), "Number of i1 not found."),
        ("modify_pending_order_items", _swap("#A1", ["i1"], ["i4"]), "New item i4 not found or available"),
        ("modify_pending_order_items", _swap("#A1", ["i1"], ["i1"]), SAME),
        (
            "modify_pending_order_items",
            _swap("#A1", ["i1"], ["i3"], "gift_1"),
            "Insufficient gift card balance to pay for the price difference",
        ),
        (
            "modify_pending_order_payment",
            {"order_id": "#A1", **CARD},
            "The new payment method should be different from the current one",
        ),
        (
            "modify_pending_order_payment",
            {"order_id": "#A1", "payment_method_id": "card_9"},
            "Payment method not found",
        ),
    ],
)
def test_the_shop_refuses_and_changes_nothing(tool, arguments, reason):
    one = Shop(shop())
    with pytest.raises(Refused) as refused:
        one.call(tool, arguments)
    assert str(refused.value) == reason
    assert one.changes() == {"users": {}, "orders": {}}


def test_the_shop_changes_what_is_its_own_alone():
    data = shop()
    before, one, other = copy.deepcopy(data), Shop(data), Shop(data)
    swap = {"item_ids": ["i1"], "new_item_ids": ["i2"], "payment_method_id": "gift_1"}
    changed = one.call("modify_pending_order_items", {"order_id": "#A1", **swap})
    assert (changed["status"], changed["items"][0]["item_id"]) == ("pending (item modified)", "i2")
    assert changed["payment_history"][-1] == {
        "transaction_type": "payment", "amount": 5.5, "payment_method_id": "gift_1"
    }  # fmt: skip
    swapped = one.call("exchange_delivered_order_items", {"order_id": "#A2", **swap})
    assert (swapped["status"], swapped["exchange_price_difference"]) == ("exchange requested", 5.5)
    one.call("modify_pending_order_payment", {"order_id": "#A3", "payment_method_id": "card_1"})
    one.call("modify_user_address", {"user_id": "ada_1", **AWAY})
    ada = one.call("get_user_details", {"user_id": "ada_1"})
    assert (ada["payment_methods"]["gift_1"]["balance"], ada["address"]) == (50.0, AWAY)
    returned = {"item_ids": ["i1", "i1"], "payment_method_id": "card_1"}
    assert other.call("return_delivered_order_items", {"order_id": "#A2", **returned})["return_items"] == [
        "i1",
        "i1",
    ]
    assert set(one.changes()["orders"]) == {"#A1", "#A2", "#A3"}
    assert set(other.changes()["orders"]) == {"#A2"}
    assert data == before


def test_the_backend_does_a_write_once_for_a_key():
    with RetailBackend(shop()) as backend, httpx.Client(base_url=backend.url, trust_env=False) as client:
        mine = {CONVERSATION: "c1"}
        cancel = {"json": {"reason": "no longer needed"}, "headers": {**mine, KEY: "k1"}}
        first = client.post("/orders/%23A1/cancellation", **cancel)
        again = client.post("/orders/%23A1/cancellation", **cancel)
        assert (first.status_code, again.json()) == (200, first.json())
        assert [(write.done, write.repeated) for write in backend.writes("c1")] == [
            (True, False),
            (False, True),
        ]
        refused = client.post("/orders/%23A1/cancellation", **{**cancel, "headers": {**mine, KEY: "k2"}})
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "Non-pending order cannot be cancelled",
        )
        assert client.get("/orders/%23A1", headers={CONVERSATION: "c2"}).json()["status"] == "pending"
        assert client.get("/orders/%23A9", headers=mine).status_code == 404
        assert client.get("/nowhere", headers=mine).status_code == 404
        assert client.get("/product-types").status_code == 400
        assert client.put("/orders/%23A1/payment", json={}, headers=mine).status_code == 400
        assert client.put("/orders/%23A1/payment", json={}, headers={**mine, KEY: "k3"}).status_code == 400
