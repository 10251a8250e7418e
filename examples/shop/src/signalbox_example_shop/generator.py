"""Everything the shop knows on its first day, from one seed: customers, orders, returns and refunds.

The same seed and day give the same rows on every machine. Dates count back from the day of generation, so
that "delivered five days ago" is true when somebody tries the example.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from signalbox_example_shop.catalogue import ProductRow, generate_products
from signalbox_example_shop.words import CARRIERS, FAMILY_NAMES, GIVEN_NAMES, PLACES, STREETS, Place

SEED = 20_240_229
CUSTOMERS = 1_000
FIRST_ORDER, LAST_ORDER = 1_000, 5_999
FREE_SHIPPING_FROM_CENTS = 7_500
SHIPPING_CENTS = 490
KNOWN_CUSTOMER = "C-0042"

OLDEST_ORDER_DAYS = 240
WAREHOUSE_DAYS = 2
RETURN_DAYS = 8
CANCELLED_SHARE = 0.05
RETURNED_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order that the documentation, the dialogues and the tests rely on. Ages are in days before today."""

    status: str
    placed: int
    delivered: int | None = None
    refund: str | None = None


KNOWN_ORDERS = {
    1042: KnownOrder("shipped", placed=3),
    1043: KnownOrder("delivered", placed=9, delivered=5),
    1044: KnownOrder("delivered", placed=95, delivered=90),
    1045: KnownOrder("processing", placed=0),
    1046: KnownOrder("delivered", placed=24, delivered=20, refund="processing"),
    1047: KnownOrder("delivered", placed=40, delivered=36, refund="paid"),
}


class CustomerRow(NamedTuple):
    """One customer with the address that orders are sent to."""

    customer_id: str
    name: str
    email: str
    language: str
    street: str
    city: str
    postcode: str
    country: str
    since: str


class OrderRow(NamedTuple):
    """One order; the times that its status has not reached are None."""

    order_number: int
    customer_id: str
    status: str
    placed_at: str
    shipped_at: str | None
    delivered_at: str | None
    cancelled_at: str | None
    estimated_delivery_on: str
    carrier: str | None
    tracking_number: str | None
    street: str
    city: str
    postcode: str
    country: str
    shipping_cents: int
    total_cents: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """All generated rows; the tuples are in the column order of their tables."""

    today: date
    products: list[ProductRow]
    customers: list[CustomerRow]
    orders: list[OrderRow] = field(default_factory=list)
    order_items: list[tuple[int, str, int, int]] = field(default_factory=list)
    returns: list[tuple[int, int, str, str, str, str]] = field(default_factory=list)
    return_items: list[tuple[int, str, int]] = field(default_factory=list)
    refunds: list[tuple[int, int, int, str, int, str, str | None]] = field(default_factory=list)


def generate(today: date) -> Dataset:
    """Return the shop's rows as of `today`."""
    # A seeded Mersenne Twister is what makes the data repeatable; nothing here needs to be unguessable.
    rng = random.Random(SEED)  # noqa: S311
    products = generate_products(rng, today)
    data = Dataset(today, products, [_customer(rng, number, today) for number in range(1, CUSTOMERS + 1)])
    by_id = {customer.customer_id: customer for customer in data.customers}
    for number in range(FIRST_ORDER, LAST_ORDER + 1):
        known = KNOWN_ORDERS.get(number)
        customer = by_id[KNOWN_CUSTOMER] if known else rng.choice(data.customers)
        _add_order(rng, data, number, customer, known or _random_order(rng))
    return data


def _customer(rng: random.Random, number: int, today: date) -> CustomerRow:
    given, family, place = rng.choice(GIVEN_NAMES), rng.choice(FAMILY_NAMES), rng.choice(PLACES)
    return CustomerRow(
        customer_id=f"C-{number:04d}",
        name=f"{given} {family}",
        email=f"{given}.{family}.{number}@example.com".lower(),
        language="zh" if place.country == "CN" else "en",
        street=f"{rng.choice(STREETS)} {rng.randint(1, 99)}",
        city=place.city,
        postcode=_postcode(rng, place),
        country=place.country,
        since=(today - timedelta(days=rng.randint(250, 2_000))).isoformat(),
    )


def _postcode(rng: random.Random, place: Place) -> str:
    return f"{place.postcode}{rng.randint(0, 999):03d}"


def _random_order(rng: random.Random) -> KnownOrder:
    # Squared, because a shop that grows has more new orders than old ones.
    placed = int(rng.random() ** 2 * OLDEST_ORDER_DAYS)
    if rng.random() < CANCELLED_SHARE:
        return KnownOrder("cancelled", placed)
    if placed < WAREHOUSE_DAYS:
        return KnownOrder("processing", placed)
    transit = rng.randint(3, 8)
    if placed < transit:
        return KnownOrder("shipped", placed)
    delivered = placed - transit
    returned = delivered > RETURN_DAYS and rng.random() < RETURNED_SHARE
    return KnownOrder(
        "delivered", placed, delivered, rng.choice(("processing", "paid")) if returned else None
    )


def _at(rng: random.Random, today: date, days_ago: int) -> datetime:
    moment = time(rng.randint(6, 17), rng.randint(0, 59), rng.randint(0, 59), tzinfo=UTC)
    # Today's events lie just after midnight: at any hour of the day they are in the past.
    if days_ago == 0:
        moment = time(0, 0, rng.randint(0, 59), tzinfo=UTC)
    return datetime.combine(today - timedelta(days=days_ago), moment)


def _add_order(
    rng: random.Random, data: Dataset, number: int, customer: CustomerRow, plan: KnownOrder
) -> None:
    today = data.today
    items = [
        (number, product.sku, rng.choice((1, 1, 1, 2)), product.price_cents)
        for product in rng.sample(data.products, rng.choice((1, 1, 2, 3)))
    ]
    goods_cents = sum(quantity * price for _, _, quantity, price in items)
    shipping_cents = 0 if goods_cents >= FREE_SHIPPING_FROM_CENTS else SHIPPING_CENTS
    placed_at = _at(rng, today, plan.placed)
    shipped = plan.status in ("shipped", "delivered")
    arrives_on = (
        today + timedelta(days=2) if plan.delivered is None else today - timedelta(days=plan.delivered)
    )
    data.orders.append(
        OrderRow(
            order_number=number,
            customer_id=customer.customer_id,
            status=plan.status,
            placed_at=placed_at.isoformat(),
            shipped_at=(placed_at + timedelta(hours=20)).isoformat() if shipped else None,
            delivered_at=_at(rng, today, plan.delivered).isoformat() if plan.delivered is not None else None,
            cancelled_at=(placed_at + timedelta(minutes=40)).isoformat()
            if plan.status == "cancelled"
            else None,
            estimated_delivery_on=arrives_on.isoformat(),
            carrier=rng.choice(CARRIERS) if shipped else None,
            tracking_number=f"SB{number}{rng.randint(100_000, 999_999)}EU" if shipped else None,
            street=customer.street,
            city=customer.city,
            postcode=customer.postcode,
            country=customer.country,
            shipping_cents=shipping_cents,
            total_cents=goods_cents + shipping_cents,
        )
    )
    data.order_items.extend(items)
    if plan.refund and plan.delivered is not None:
        _add_return(data, items, plan.refund, today - timedelta(days=plan.delivered))


def _add_return(
    data: Dataset, items: Sequence[tuple[int, str, int, int]], refund: str, delivered: date
) -> None:
    identifier = len(data.returns) + 1
    number = items[0][0]
    created = datetime.combine(delivered + timedelta(days=2), time(9), tzinfo=UTC)
    status = "completed" if refund == "paid" else "received"
    amount_cents = sum(quantity * price for _, _, quantity, price in items)
    paid_at = (created + timedelta(days=5)).isoformat() if refund == "paid" else None
    send_back_by = (created.date() + timedelta(days=14)).isoformat()
    data.returns.append((identifier, number, status, "does not fit", created.isoformat(), send_back_by))
    data.return_items.extend((identifier, sku, quantity) for _, sku, quantity, _ in items)
    data.refunds.append((identifier, number, identifier, refund, amount_cents, created.isoformat(), paid_at))
