"""Sending things back: the shop's rules and what an accepted return changes."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

from signalbox_example_shop import records
from signalbox_example_shop.errors import NotFoundError, RefusedError, UnprocessableError
from signalbox_example_shop.models import (
    Money,
    Order,
    Return,
    ReturnableItem,
    ReturnEligibility,
    ReturnItem,
    ReturnReason,
    ReturnRequest,
)
from signalbox_example_shop.repository import Repository

WINDOW_DAYS = 30
SEND_BACK_DAYS = 14


def eligibility(order: Order, now: datetime) -> ReturnEligibility:
    """Say whether `order` can be returned at `now`, and if not, by which rule.

    Only delivered orders, within 30 calendar days of delivery, and only pieces that no return exists for yet.
    """
    days_left = None
    if order.delivered_at is not None:
        days_left = max(0, WINDOW_DAYS - _days_since(order.delivered_at, now))
    left = [
        ReturnableItem(
            sku=item.sku,
            name=item.name,
            quantity=item.quantity - item.returned,
            refund=Money(cents=(item.quantity - item.returned) * item.unit_price.cents),
        )
        for item in order.items
        if item.quantity > item.returned
    ]
    reason, detail = _verdict(order, left, now)
    items = left if reason == "ok" else []
    return ReturnEligibility(
        order_number=order.order_number,
        returnable=reason == "ok",
        reason=reason,
        detail=detail,
        window_days=WINDOW_DAYS,
        days_left=days_left,
        items=items,
        refund=Money(cents=sum(item.refund.cents for item in items)),
    )


def _verdict(order: Order, left: Sequence[ReturnableItem], now: datetime) -> tuple[ReturnReason, str]:
    number = order.order_number
    if order.delivered_at is None:
        return "not_delivered", f"Order {number} is {order.status}; only delivered orders can be returned."
    if not left:
        return "already_returned", f"Everything of order {number} has been returned already."
    if _days_since(order.delivered_at, now) > WINDOW_DAYS:
        return "window_over", f"Order {number} was delivered more than {WINDOW_DAYS} days ago."
    return "ok", f"Order {number} can be returned."


def _days_since(delivered_at: datetime, now: datetime) -> int:
    # Calendar days: whoever got a parcel in the evening has as many days as who got it in the morning.
    return (now.date() - delivered_at.date()).days


def create_return(connection: sqlite3.Connection, request: ReturnRequest, now: datetime) -> Return:
    """Accept a return, with its refund pending until the parcel arrives; runs in the caller's transaction.

    Raises `RefusedError` with the rule's name as code, or `UnprocessableError` for an item that the order
    does not have.
    """
    order = Repository(connection).order(request.order_number)
    allowed = eligibility(order, now)
    if not allowed.returnable:
        raise RefusedError(allowed.reason, allowed.detail)
    items = _chosen_items(request, order, allowed.items)
    prices = {item.sku: item.unit_price.cents for item in order.items}
    send_back_by = (now + timedelta(days=SEND_BACK_DAYS)).date().isoformat()
    row_id: int = connection.execute(
        "INSERT INTO returns (order_number, status, reason, created_at, send_back_by)"
        " VALUES (?, 'requested', ?, ?, ?) RETURNING return_id",
        (order.order_number, request.reason, now.isoformat(), send_back_by),
    ).fetchone()[0]
    connection.executemany(
        "INSERT INTO return_items VALUES (?, ?, ?)", [(row_id, item.sku, item.quantity) for item in items]
    )
    amount_cents = sum(item.quantity * prices[item.sku] for item in items)
    connection.execute(
        "INSERT INTO refunds (order_number, return_id, status, amount_cents, created_at)"
        " VALUES (?, ?, 'pending', ?, ?)",
        (order.order_number, row_id, amount_cents, now.isoformat()),
    )
    return load_return(connection, records.return_id(row_id))


def _chosen_items(request: ReturnRequest, order: Order, left: Sequence[ReturnableItem]) -> list[ReturnItem]:
    available = {item.sku: item.quantity for item in left}
    if request.items is None:
        return [ReturnItem(sku=sku, quantity=quantity) for sku, quantity in available.items()]
    ordered = {item.sku for item in order.items}
    chosen: dict[str, int] = {}
    for item in request.items:
        sku = item.sku.upper()
        if sku not in ordered:
            raise UnprocessableError(
                "item_not_in_order", f"Order {order.order_number} has no item {item.sku}."
            )
        if sku in chosen:
            raise UnprocessableError("item_repeated", f"Name {sku} once, with the number of pieces.")
        quantity = item.quantity if item.quantity is not None else available.get(sku, 0)
        if not 0 < quantity <= available.get(sku, 0):
            raise RefusedError(
                "already_returned",
                f"Order {order.order_number} has {available.get(sku, 0)} pieces of {sku} left to return.",
            )
        chosen[sku] = quantity
    return [ReturnItem(sku=sku, quantity=quantity) for sku, quantity in chosen.items()]


def load_return(connection: sqlite3.Connection, return_id: str) -> Return:
    """Return the accepted return with that id; raises `NotFoundError` when there is none."""
    row_id = records.return_row_id(return_id)
    row = connection.execute("SELECT * FROM returns WHERE return_id = ?", (row_id,)).fetchone()
    if row is None:
        raise NotFoundError("return_not_found", f"There is no return {return_id}.")
    items = connection.execute(
        "SELECT sku, quantity FROM return_items WHERE return_id = ? ORDER BY sku", (row_id,)
    )
    refund = connection.execute("SELECT * FROM refunds WHERE return_id = ?", (row_id,)).fetchone()
    identifier = records.return_id(row_id)
    return Return(
        return_id=identifier,
        order_number=row["order_number"],
        status=row["status"],
        reason=row["reason"],
        items=[ReturnItem(sku=item["sku"], quantity=item["quantity"]) for item in items],
        created_at=row["created_at"],
        send_back_by=row["send_back_by"],
        label_url=f"https://shop.example/labels/{identifier}",
        refund=records.refund(refund),
    )


def withdraw_return(connection: sqlite3.Connection, return_id: str) -> Return:
    """Take back a return whose parcel has not arrived, and its refund; runs in the caller's transaction.

    Raises `NotFoundError`, and `RefusedError` once the parcel has arrived.
    """
    found = load_return(connection, return_id)
    if found.status != "requested":
        raise RefusedError(f"return_{found.status}", f"The parcel of return {return_id} has arrived.")
    row_id = records.return_row_id(return_id)
    for table in ("refunds", "return_items", "returns"):
        connection.execute(f"DELETE FROM {table} WHERE return_id = ?", (row_id,))  # noqa: S608 - the names above
    return found
