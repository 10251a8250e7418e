"""What can be done to an order before it leaves the warehouse: cancel it, or send it elsewhere."""

import sqlite3
from datetime import datetime

from signalbox_example_shop import records
from signalbox_example_shop.errors import RefusedError
from signalbox_example_shop.models import Address, Cancellation, Order
from signalbox_example_shop.repository import Repository


def cancel_order(connection: sqlite3.Connection, order_number: int, now: datetime) -> Cancellation:
    """Cancel an order: its pieces go back to stock and its total is refunded; in the caller's transaction.

    Raises `RefusedError` unless the order is still being processed.
    """
    order = _open_order(connection, order_number, "cancelled")
    connection.execute(
        "UPDATE orders SET status = 'cancelled', cancelled_at = ? WHERE order_number = ?",
        (now.isoformat(), order_number),
    )
    connection.executemany(
        "UPDATE products SET stock = stock + ? WHERE sku = ?",
        [(item.quantity, item.sku) for item in order.items],
    )
    row = connection.execute(
        "INSERT INTO refunds (order_number, status, amount_cents, created_at)"
        " VALUES (?, 'processing', ?, ?) RETURNING *",
        (order_number, order.total.cents, now.isoformat()),
    ).fetchone()
    return Cancellation(
        order_number=order_number, status="cancelled", cancelled_at=now, refund=records.refund(row)
    )


def change_address(connection: sqlite3.Connection, order_number: int, address: Address) -> Order:
    """Send an order to another address; in the caller's transaction.

    Raises `RefusedError` unless the order is still being processed.
    """
    _open_order(connection, order_number, "sent elsewhere")
    connection.execute(
        "UPDATE orders SET street = ?, city = ?, postcode = ?, country = ? WHERE order_number = ?",
        (address.street, address.city, address.postcode, address.country, order_number),
    )
    return Repository(connection).order(order_number)


def _open_order(connection: sqlite3.Connection, order_number: int, change: str) -> Order:
    order = Repository(connection).order(order_number)
    if order.status != "processing":
        raise RefusedError(
            f"order_{order.status}",
            f"Order {order_number} is {order.status} and can no longer be {change}.",
        )
    return order
