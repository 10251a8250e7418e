"""A small shop and conversations about it in the format of the recordings, written for tests."""

import json
from pathlib import Path
from typing import Any

GREETING = "Welcome to the lamp shop."
HOME = {
    "address1": "1 Mill Lane",
    "address2": "",
    "city": "Ely",
    "country": "UK",
    "state": "CB",
    "zip": "CB7",
}
AWAY = {**HOME, "address1": "2 Quay", "zip": "CB6"}


def variant(item_id: str, colour: str, price: float, *, available: bool = True) -> dict[str, Any]:
    """One variant of the lamp."""
    return {"item_id": item_id, "options": {"colour": colour}, "available": available, "price": price}


def item(item_id: str, colour: str, price: float) -> dict[str, Any]:
    """A lamp in an order."""
    return {
        "name": "Lamp",
        "product_id": "p1",
        "item_id": item_id,
        "price": price,
        "options": {"colour": colour},
    }


def order(number: str, status: str, *items: dict[str, Any], method: str = "card_1") -> dict[str, Any]:
    """An order of Ada's."""
    paid = round(sum(one["price"] for one in items), 2)
    return {
        "order_id": number,
        "user_id": "ada_1",
        "address": HOME,
        "items": list(items),
        "status": status,
        "fulfillments": [],
        "payment_history": [{"transaction_type": "payment", "amount": paid, "payment_method_id": method}],
    }


def shop() -> dict[str, Any]:
    """The data of the shop."""
    lamps = (
        variant("i1", "red", 20.0),
        variant("i2", "blue", 25.5),
        variant("i3", "green", 90.0),
        variant("i4", "grey", 20.0, available=False),
    )
    orders = (
        order("#A1", "pending", item("i1", "red", 20.0)),
        order("#A2", "delivered", item("i1", "red", 20.0), item("i1", "red", 20.0)),
        order("#A3", "pending", item("i2", "blue", 25.5), method="gift_1"),
    )
    ada = {
        "user_id": "ada_1",
        "name": {"first_name": "Ada", "last_name": "Low"},
        "address": HOME,
        "email": "ada@example.com",
        "payment_methods": {
            "card_1": {"source": "credit_card", "id": "card_1", "brand": "visa", "last_four": "1111"},
            "gift_1": {"source": "gift_card", "id": "gift_1", "balance": 30.0},
        },
        "orders": [one["order_id"] for one in orders],
    }
    return {
        "products": {
            "p1": {
                "name": "Lamp",
                "product_id": "p1",
                "variants": {lamp["item_id"]: lamp for lamp in lamps},
            }
        },
        "users": {"ada_1": ada},
        "orders": {one["order_id"]: one for one in orders},
    }


def says(text: str) -> dict[str, Any]:
    """The assistant, to the user."""
    return {"role": "assistant", "content": text, "tool_calls": None, "usage": None}


def user(text: str) -> dict[str, Any]:
    """The user."""
    return {"role": "user", "content": text, "tool_calls": None}


def calls(*wanted: tuple[str, dict[str, Any], Any]) -> list[dict[str, Any]]:
    """An answer with tool calls (tool, arguments, result), and the results; one that begins with ``Error:`` failed.

    Their ids are the same in each answer, as some models' are.
    """
    asked = [
        {"id": f"call_{number}", "name": tool, "arguments": arguments, "requestor": "assistant"}
        for number, (tool, arguments, _) in enumerate(wanted)
    ]
    results = [
        {
            "role": "tool",
            "id": f"call_{number}",
            "content": result if isinstance(result, str) else json.dumps(result),
            "error": isinstance(result, str) and result.startswith("Error:"),
        }
        for number, (_, _, result) in enumerate(wanted)
    ]
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": asked,
            "usage": {"prompt_tokens": 90, "completion_tokens": 9},
        },
        *results,
    ]


def shown(number: str, **more: Any) -> dict[str, Any]:
    """An order as the shop shows it."""
    done = (
        "cancel_reason",
        "exchange_items",
        "exchange_new_items",
        "exchange_payment_method_id",
        "exchange_price_difference",
        "return_items",
        "return_payment_method_id",
    )
    return {**shop()["orders"][number], **dict.fromkeys(done), **more}


def conversations() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Conversations, of which two begin alike, and their tasks: reads, refusals, writes among parallel calls."""
    found = calls(
        ("find_user_id_by_email", {"email": "nobody@example.com"}, "Error: User not found"),
        ("find_user_id_by_name_zip", {"first_name": "ada", "last_name": "LOW", "zip": "CB7"}, "ada_1"),
        ("get_order_details", {"order_id": "#A1"}, shown("#A1")),
        ("calculate", {"expression": "2 * (20 + 25.5)"}, "91.0"),
    )
    cancelled = shown(
        "#A1",
        status="cancelled",
        cancel_reason="no longer needed",
        payment_history=[
            {"transaction_type": kind, "amount": 20.0, "payment_method_id": "card_1"}
            for kind in ("payment", "refund")
        ],
    )
    cancel = ("cancel_pending_order", {"order_id": "#A1", "reason": "no longer needed"})
    writes = calls(
        (*cancel, cancelled),
        (*cancel, "Error: Non-pending order cannot be cancelled"),
        ("get_order_details", {"order_id": "#A1"}, cancelled),
        (
            "modify_pending_order_address",
            {"order_id": "#A3", **AWAY},
            shown("#A3", address=AWAY),
        ),
    )
    opening = [says(GREETING), user("Hello"), says("Who are you?"), user("Ada Low, CB7"), *found]
    first = [*opening, says("Found."), user("Cancel and move."), *writes, says("Done."), user("###STOP###")]
    second = [*opening[:3], user("Nobody."), says("Goodbye then."), user("###STOP###")]
    third = [user("No greeting here"), says("Straight to it.")]
    action = {"name": cancel[0], "arguments": cancel[1]}
    return [
        {"task_id": "1", "messages": first, "reward_info": {"db_check": {"db_match": False}}},
        {"task_id": "2", "messages": second, "reward_info": {"db_check": {"db_match": True}}},
        {"task_id": "3", "messages": third, "reward_info": None},
    ], [
        {"id": "1", "evaluation_criteria": {"actions": [action]}},
        {"id": "2", "evaluation_criteria": {"actions": []}},
    ]


def write(folder: Path) -> dict[str, Any]:
    """Write the folder; gives the document with the conversations."""
    simulations, tasks = conversations()
    info = {"environment_info": {"policy": "# Policy\nSell lamps."}}
    document = {"info": info, "tasks": tasks, "simulations": simulations}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retail_db.json").write_text(json.dumps(shop()))
    (folder / "lamps.json").write_text(json.dumps(document))
    return document
