"""How stored rows become the models that the endpoints return, and back from public ids to row ids."""

import re
import sqlite3

from signalbox_example_shop.models import Address, Customer, Money, OrderSummary, Product, Refund

_RETURN_ID = re.compile(r"R-([1-9][0-9]{5})")
_REFUND_ID = re.compile(r"RF-([1-9][0-9]{5})")
_FIRST = 100_000


def return_id(row_id: int) -> str:
    """Return the id that customers see for a return: `R-` and six digits."""
    return f"R-{_FIRST + row_id}"


def return_row_id(text: str) -> int:
    """Return the row that a customer's return id names; 0, which no row has, when it is not one."""
    found = _RETURN_ID.fullmatch(text.upper())
    return int(found[1]) - _FIRST if found else 0


def refund_id(row_id: int) -> str:
    """Return the id that customers see for a refund: `RF-` and six digits."""
    return f"RF-{_FIRST + row_id}"


def refund_row_id(text: str) -> int:
    """Return the row that a customer's refund id names; 0, which no row has, when it is not one."""
    found = _REFUND_ID.fullmatch(text.upper())
    return int(found[1]) - _FIRST if found else 0


def address(row: sqlite3.Row) -> Address:
    """Read the address columns of a customer or an order."""
    return Address(street=row["street"], city=row["city"], postcode=row["postcode"], country=row["country"])


def customer(row: sqlite3.Row) -> Customer:
    """Read a row of `customers`."""
    return Customer(
        customer_id=row["customer_id"],
        name=row["name"],
        email=row["email"],
        language=row["language"],
        address=address(row),
        since=row["since"],
    )


def product(row: sqlite3.Row) -> Product:
    """Read a row of `products`."""
    return Product(
        sku=row["sku"],
        name=row["name"],
        name_zh=row["name_zh"],
        category=row["category"],
        description=row["description"],
        price=Money(cents=row["price_cents"]),
        in_stock=row["stock"] > 0,
    )


def order_summary(row: sqlite3.Row) -> OrderSummary:
    """Read a row of `orders` without its items."""
    return OrderSummary(
        order_number=row["order_number"],
        status=row["status"],
        placed_at=row["placed_at"],
        total=Money(cents=row["total_cents"]),
    )


def refund(row: sqlite3.Row) -> Refund:
    """Read a row of `refunds`."""
    return Refund(
        refund_id=refund_id(row["refund_id"]),
        order_number=row["order_number"],
        return_id=return_id(row["return_id"]) if row["return_id"] is not None else None,
        status=row["status"],
        amount=Money(cents=row["amount_cents"]),
        created_at=row["created_at"],
        paid_at=row["paid_at"],
    )
