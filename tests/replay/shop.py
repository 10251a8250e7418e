"""The retail shop behind the recorded conversations: its reads, and its writes by the rules of its policy."""

import ast
import copy
import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]

_OF_ORDERS = (
    "cancel_reason",
    "exchange_items",
    "exchange_new_items",
    "exchange_payment_method_id",
    "exchange_price_difference",
    "return_items",
    "return_payment_method_id",
)
"""What an order only has after something was done with it; null before."""
_REASONS = frozenset({"no longer needed", "ordered by mistake"})
_ARITHMETIC = frozenset("0123456789+-*/(). ")
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class Refused(Exception):
    """The shop does not do it; the message says why. ``missing`` is whether there is no such thing."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class Shop:
    """The shop as one conversation sees it: what it changes is its own, the data stays as it was.

    Calls come one at a time.
    """

    def __init__(self, data: Mapping[str, Mapping[str, Record]]) -> None:
        self._data = data
        self._changed: dict[str, dict[str, Record]] = {"users": {}, "orders": {}}
        self._lock = threading.Lock()

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """What a tool gives for arguments. Raises `Refused`."""
        with self._lock:
            return OPERATIONS[tool](self, **arguments)

    def changes(self) -> dict[str, dict[str, Record]]:
        """The records that are not as they were, by kind and id."""
        return {
            kind: {name: record for name, record in changed.items() if record != self._data[kind][name]}
            for kind, changed in self._changed.items()
        }

    def find_user_by_email(self, email: str) -> Record:
        """Who has this address."""
        return self._find_user(lambda user: user["email"].lower() == email.lower())

    def find_user_by_name_zip(self, first_name: str, last_name: str, zip: str) -> Record:  # noqa: A002
        """Who has this name and zip code; the case of the name does not count."""
        wanted = (first_name.lower(), last_name.lower(), zip)

        def is_wanted(user: Record) -> bool:
            name = user["name"]
            return (name["first_name"].lower(), name["last_name"].lower(), user["address"]["zip"]) == wanted

        return self._find_user(is_wanted)

    def user(self, user_id: str) -> Record:
        """A user."""
        return self._get("users", user_id, "User not found")

    def order(self, order_id: str) -> Record:
        """An order."""
        return {**dict.fromkeys(_OF_ORDERS), **self._get("orders", order_id, "Order not found")}

    def product(self, product_id: str) -> Record:
        """A product with its variants."""
        return self._get("products", product_id, "Product not found")

    def product_types(self) -> dict[str, str]:
        """Ids of products by name."""
        named = {product["name"]: product["product_id"] for product in self._data["products"].values()}
        return dict(sorted(named.items()))

    def calculate(self, expression: str) -> float:
        """The value of an arithmetic expression, to two places."""
        if not set(expression) <= _ARITHMETIC:
            raise Refused("Invalid characters in expression")
        try:
            return round(float(_value(ast.parse(expression.strip(), mode="eval").body)), 2)
        except ZeroDivisionError as error:
            raise Refused("division by zero") from error
        except (SyntaxError, ValueError) as error:
            raise Refused("invalid syntax") from error

    def transfer(self, summary: str) -> str:
        """A person takes over."""
        return "Transfer successful"

    def cancel(self, order_id: str, reason: str) -> Record:
        """Cancel a pending order: everything paid is refunded."""
        order = self._own("orders", order_id, "Order not found")
        if order["status"] != "pending":
            raise Refused("Non-pending order cannot be cancelled")
        if reason not in _REASONS:
            raise Refused("Invalid reason")
        for payment in list(order["payment_history"]):
            self._transact(order, "refund", payment["amount"], payment["payment_method_id"])
        order |= {"status": "cancelled", "cancel_reason": reason}
        return self.order(order_id)

    def return_items(self, order_id: str, item_ids: list[str], payment_method_id: str) -> Record:
        """Ask for the return of items of a delivered order."""
        order = self._own("orders", order_id, "Order not found")
        if order["status"] != "delivered":
            raise Refused("Non-delivered order cannot be returned")
        method = self._method(order, payment_method_id)
        paid_with = order["payment_history"][0]["payment_method_id"]
        if method["source"] != "gift_card" and payment_method_id != paid_with:
            raise Refused("Payment method should be the original payment method or a gift card")
        _check_owned(order, item_ids, "Some item not found")
        order |= {
            "status": "return requested",
            "return_items": sorted(item_ids),
            "return_payment_method_id": payment_method_id,
        }
        return self.order(order_id)

    def exchange_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Record:
        """Ask for the exchange of items of a delivered order."""
        order = self._own("orders", order_id, "Order not found")
        if order["status"] != "delivered":
            raise Refused("Non-delivered order cannot be exchanged")
        _check_owned(order, item_ids)
        pairs = self._pairs(order, item_ids, new_item_ids)
        difference = round(sum(new["price"] - old["price"] for old, new in pairs), 2)
        self._check_funds(self._method(order, payment_method_id), difference)
        order |= {
            "status": "exchange requested",
            "exchange_items": sorted(item_ids),
            "exchange_new_items": sorted(new_item_ids),
            "exchange_payment_method_id": payment_method_id,
            "exchange_price_difference": difference,
        }
        return self.order(order_id)

    def modify_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> Record:
        """Replace items of a pending order, and settle the difference in price."""
        order = self._own("orders", order_id, "Order not found")
        if order["status"] != "pending":
            raise Refused("Non-pending order cannot be modified")
        _check_owned(order, item_ids)
        pairs = self._pairs(order, item_ids, new_item_ids, different=True)
        difference = sum(new["price"] - old["price"] for old, new in pairs)
        self._check_funds(self._method(order, payment_method_id), difference)
        kind = "payment" if difference > 0 else "refund"
        self._transact(order, kind, abs(difference), payment_method_id)
        for old, new in pairs:
            old |= {"item_id": new["item_id"], "price": new["price"], "options": new["options"]}
        order["status"] = "pending (item modified)"
        return self.order(order_id)

    def modify_address(self, order_id: str, **address: str) -> Record:
        """Send a pending order to another address."""
        order = self._own("orders", order_id, "Order not found")
        _check_pending(order)
        order["address"] = address
        return self.order(order_id)

    def modify_payment(self, order_id: str, payment_method_id: str) -> Record:
        """Pay a pending order otherwise."""
        order = self._own("orders", order_id, "Order not found")
        _check_pending(order)
        method, paid = self._method(order, payment_method_id), order["payment_history"]
        if len(paid) != 1 or paid[0]["transaction_type"] != "payment":
            raise Refused("There should be exactly one payment for a pending order")
        if paid[0]["payment_method_id"] == payment_method_id:
            raise Refused("The new payment method should be different from the current one")
        amount = paid[0]["amount"]
        if method["source"] == "gift_card" and method["balance"] < amount:
            raise Refused("Insufficient gift card balance to pay for the order")
        self._transact(order, "payment", amount, payment_method_id)
        self._transact(order, "refund", amount, paid[0]["payment_method_id"])
        return self.order(order_id)

    def modify_user_address(self, user_id: str, **address: str) -> Record:
        """Change a user's own address."""
        user = self._own("users", user_id, "User not found")
        user["address"] = address
        return user

    def _find_user(self, is_wanted: Callable[[Record], bool]) -> Record:
        for user_id in self._data["users"]:
            if is_wanted(self.user(user_id)):
                return {"user_id": user_id}
        raise Refused("User not found", missing=True)

    def _get(self, kind: str, name: str, otherwise: str) -> Record:
        record = self._changed.get(kind, {}).get(name) or self._data[kind].get(name)
        if record is None:
            raise Refused(otherwise, missing=True)
        return record

    def _own(self, kind: str, name: str, otherwise: str) -> Record:
        """A record that may be changed."""
        record = self._get(kind, name, otherwise)
        return self._changed[kind].setdefault(name, copy.deepcopy(record))

    def _method(self, order: Record, payment_method_id: str) -> Record:
        """A way to pay of the order's user, which may be changed."""
        user = self._own("users", order["user_id"], "User not found")
        method: Record | None = user["payment_methods"].get(payment_method_id)
        if method is None:
            raise Refused("Payment method not found")
        return method

    def _check_funds(self, method: Record, difference: float) -> None:
        if method["source"] == "gift_card" and method["balance"] < difference:
            raise Refused("Insufficient gift card balance to pay for the price difference")

    def _transact(self, order: Record, kind: str, amount: float, payment_method_id: str) -> None:
        """Note a payment or a refund; a gift card's balance changes at once."""
        order["payment_history"].append(
            {"transaction_type": kind, "amount": amount, "payment_method_id": payment_method_id}
        )
        method = self._method(order, payment_method_id)
        if method["source"] == "gift_card":
            change = -amount if kind == "payment" else amount
            method["balance"] = round(method["balance"] + change, 2)

    def _pairs(
        self, order: Record, item_ids: list[str], new_item_ids: list[str], *, different: bool = False
    ) -> list[tuple[Record, Record]]:
        """Items of the order with what replaces each: available, and a variant of the same product."""
        if len(item_ids) != len(new_item_ids):
            raise Refused("The number of items to be exchanged should match")
        pairs: list[tuple[Record, Record]] = []
        for old_id, new_id in zip(item_ids, new_item_ids, strict=True):
            if different and old_id == new_id:
                raise Refused("The new item id should be different from the old item id")
            taken = [id(item) for item, _ in pairs]
            old = next(item for item in order["items"] if item["item_id"] == old_id and id(item) not in taken)
            new = self.product(old["product_id"])["variants"].get(new_id)
            if new is None or not new["available"]:
                raise Refused(f"New item {new_id} not found or available")
            pairs.append((old, new))
        return pairs


def _check_pending(order: Record) -> None:
    if not order["status"].startswith("pending"):
        raise Refused("Non-pending order cannot be modified")


def _check_owned(order: Record, item_ids: list[str], otherwise: str | None = None) -> None:
    there = [item["item_id"] for item in order["items"]]
    for item_id in item_ids:
        if item_ids.count(item_id) > there.count(item_id):
            raise Refused(otherwise or f"Number of {item_id} not found.")


def _value(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("no arithmetic")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "find_user_id_by_email": Shop.find_user_by_email,
    "find_user_id_by_name_zip": Shop.find_user_by_name_zip,
    "get_user_details": Shop.user,
    "get_order_details": Shop.order,
    "get_product_details": Shop.product,
    "list_all_product_types": Shop.product_types,
    "calculate": Shop.calculate,
    "transfer_to_human_agents": Shop.transfer,
    "cancel_pending_order": Shop.cancel,
    "return_delivered_order_items": Shop.return_items,
    "exchange_delivered_order_items": Shop.exchange_items,
    "modify_pending_order_items": Shop.modify_items,
    "modify_pending_order_address": Shop.modify_address,
    "modify_pending_order_payment": Shop.modify_payment,
    "modify_user_address": Shop.modify_user_address,
}
"""The shop's work by the names that the recordings know it by."""
