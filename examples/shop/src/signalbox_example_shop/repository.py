"""Everything that is looked up: customers, orders, tracking, products, stock and refunds."""

import sqlite3
from datetime import datetime, timedelta

from signalbox_example_shop import records
from signalbox_example_shop.errors import NotFoundError
from signalbox_example_shop.models import (
    Customer,
    Health,
    Money,
    Order,
    OrderItem,
    OrderSummary,
    Product,
    Refund,
    Stock,
    Tracking,
    TrackingEvent,
)
from signalbox_example_shop.search import match_expression

_ITEMS = """
SELECT i.sku, p.name, p.name_zh, i.quantity, i.unit_price_cents,
       (SELECT COALESCE(SUM(ri.quantity), 0) FROM returns r JOIN return_items ri USING (return_id)
        WHERE r.order_number = i.order_number AND ri.sku = i.sku) AS returned
FROM order_items i JOIN products p USING (sku) WHERE i.order_number = ? ORDER BY i.sku
"""

WAREHOUSE = "Altensee"


class Repository:
    """Reads over one connection. Anything that is not there raises `NotFoundError`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read over `connection`, which stays its owner's to close."""
        self._connection = connection

    def health(self) -> Health:
        """Count what there is."""
        row = self._connection.execute(
            "SELECT generated_on, (SELECT COUNT(*) FROM customers) AS customers,"
            " (SELECT COUNT(*) FROM products) AS products, (SELECT COUNT(*) FROM orders) AS orders FROM meta"
        ).fetchone()
        return Health(**dict(row))

    def customer(self, customer_id: str) -> Customer:
        """Return the customer with that id."""
        row = self._one("SELECT * FROM customers WHERE customer_id = ?", customer_id.upper())
        if row is None:
            raise NotFoundError("customer_not_found", f"There is no customer {customer_id}.")
        return records.customer(row)

    def customer_by_email(self, email: str) -> Customer:
        """Return the customer with that e-mail address, in any case."""
        row = self._one("SELECT * FROM customers WHERE email = ?", email.strip().lower())
        if row is None:
            raise NotFoundError(
                "customer_not_found", f"There is no customer with the e-mail address {email}."
            )
        return records.customer(row)

    def orders_of(self, customer_id: str, status: str | None, limit: int) -> list[OrderSummary]:
        """Return a customer's newest orders, those of one status only if it is given."""
        known = self.customer(customer_id)
        rows = self._connection.execute(
            "SELECT * FROM orders WHERE customer_id = ? AND (? IS NULL OR status = ?)"
            " ORDER BY placed_at DESC, order_number DESC LIMIT ?",
            (known.customer_id, status, status, limit),
        )
        return [records.order_summary(row) for row in rows]

    def order(self, order_number: int) -> Order:
        """Return an order with its items."""
        row = self._order_row(order_number)
        return Order(
            order_number=order_number,
            customer_id=row["customer_id"],
            status=row["status"],
            placed_at=row["placed_at"],
            shipped_at=row["shipped_at"],
            delivered_at=row["delivered_at"],
            cancelled_at=row["cancelled_at"],
            estimated_delivery_on=row["estimated_delivery_on"],
            carrier=row["carrier"],
            tracking_number=row["tracking_number"],
            address=records.address(row),
            items=self._items(order_number),
            shipping=Money(cents=row["shipping_cents"]),
            total=Money(cents=row["total_cents"]),
        )

    def tracking(self, order_number: int, now: datetime) -> Tracking:
        """Return what has happened to an order's parcel up to `now`, oldest first."""
        row = self._order_row(order_number)
        events = [event for event in _events(row) if event.at <= now]
        return Tracking(
            order_number=order_number,
            status=row["status"],
            carrier=row["carrier"],
            tracking_number=row["tracking_number"],
            estimated_delivery_on=row["estimated_delivery_on"],
            last_place=events[-1].place if events else WAREHOUSE,
            events=events,
        )

    def product(self, sku: str) -> Product:
        """Return the product with that SKU, in any case."""
        return records.product(self._product_row(sku))

    def stock(self, sku: str) -> Stock:
        """Return how many pieces of a product can be sent."""
        row = self._product_row(sku)
        return Stock(
            sku=row["sku"],
            name=row["name"],
            quantity=row["stock"],
            in_stock=row["stock"] > 0,
            restock_on=row["restock_on"] if row["stock"] == 0 else None,
        )

    def search_products(
        self, query: str | None, category: str | None, max_price_cents: int | None, limit: int
    ) -> list[Product]:
        """Return the products that fit: by how well they match `query`, else by price."""
        where = "(:category IS NULL OR category = :category) AND (:price IS NULL OR price_cents <= :price)"
        values = {"category": category, "price": max_price_cents, "limit": limit, "match": ""}
        sql = f"SELECT * FROM products WHERE {where} ORDER BY price_cents, sku LIMIT :limit"
        if query and query.strip():
            expression = match_expression(query)
            if expression is None:
                return []
            values["match"] = expression
            sql = (
                "SELECT products.* FROM product_index JOIN products USING (sku)"
                f" WHERE product_index MATCH :match AND {where}"
                " ORDER BY bm25(product_index), price_cents, sku LIMIT :limit"
            )
        return [records.product(row) for row in self._connection.execute(sql, values)]

    def refund(self, refund_id: str) -> Refund:
        """Return the refund with that id."""
        row = self._one("SELECT * FROM refunds WHERE refund_id = ?", records.refund_row_id(refund_id))
        if row is None:
            raise NotFoundError("refund_not_found", f"There is no refund {refund_id}.")
        return records.refund(row)

    def refunds_of(self, order_number: int) -> list[Refund]:
        """Return the refunds of an order, newest first."""
        self._order_row(order_number)
        rows = self._connection.execute(
            "SELECT * FROM refunds WHERE order_number = ? ORDER BY refund_id DESC", (order_number,)
        )
        return [records.refund(row) for row in rows]

    def _one(self, sql: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def _order_row(self, order_number: int) -> sqlite3.Row:
        row = self._one("SELECT * FROM orders WHERE order_number = ?", order_number)
        if row is None:
            raise NotFoundError("order_not_found", f"There is no order {order_number}.")
        return row

    def _product_row(self, sku: str) -> sqlite3.Row:
        row = self._one("SELECT * FROM products WHERE sku = ?", sku.upper())
        if row is None:
            raise NotFoundError("product_not_found", f"There is no product {sku}.")
        return row

    def _items(self, order_number: int) -> list[OrderItem]:
        return [
            OrderItem(
                sku=row["sku"],
                name=row["name"],
                name_zh=row["name_zh"],
                quantity=row["quantity"],
                returned=row["returned"],
                unit_price=Money(cents=row["unit_price_cents"]),
            )
            for row in self._connection.execute(_ITEMS, (order_number,))
        ]


def _events(row: sqlite3.Row) -> list[TrackingEvent]:
    events = [TrackingEvent(at=row["placed_at"], event="ordered", place=WAREHOUSE)]
    if row["cancelled_at"]:
        events.append(TrackingEvent(at=row["cancelled_at"], event="cancelled", place=WAREHOUSE))
    if row["shipped_at"]:
        shipped_at = datetime.fromisoformat(row["shipped_at"])
        hub = f"{row['carrier']} hub {row['country']}"
        events.append(TrackingEvent(at=shipped_at, event="handed_over", place=WAREHOUSE))
        events.append(TrackingEvent(at=shipped_at + timedelta(hours=18), event="in_transit", place=hub))
    if row["delivered_at"]:
        events.append(TrackingEvent(at=row["delivered_at"], event="delivered", place=row["city"]))
    return sorted(events, key=lambda event: event.at)
