"""The courier who collects returns: another firm's rules, behind signed requests."""

import sqlite3
from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from signalbox_example_shop.errors import NotFoundError, RefusedError, UnprocessableError
from signalbox_example_shop.repository import Repository

COUNTRIES = frozenset({"DE", "FR", "NL"})
DAYS_AHEAD = 14
_SATURDAY = 5
_FIRST = 700_000

# Made when the shop opens, so that a file from before there was a courier goes on being usable.
PICKUPS = """
CREATE TABLE IF NOT EXISTS pickups (
    pickup_id INTEGER PRIMARY KEY,
    order_number INTEGER NOT NULL REFERENCES orders,
    day TEXT NOT NULL,
    note TEXT,
    created_at TEXT NOT NULL
)
"""


class PickupDay(BaseModel):
    """Whether the courier collects on a day, and if not, why."""

    day: date
    open: bool
    detail: str


class PickupRequest(BaseModel):
    """A wish to have the parcel of a return collected at the order's address."""

    model_config = ConfigDict(extra="forbid")

    order_number: Annotated[int, Field(ge=0, le=999_999_999)]
    day: date
    note: Annotated[str, Field(max_length=200)] | None = None


class Pickup(BaseModel):
    """A booked collection."""

    pickup_id: str
    order_number: int
    day: date
    city: str


def pickup_day(day: date, today: date) -> PickupDay:
    """Say whether the courier collects on `day`: Monday to Friday, from tomorrow on, two weeks ahead."""
    if day.weekday() >= _SATURDAY:
        return PickupDay(day=day, open=False, detail="The courier does not collect on weekends.")
    if not today < day <= today + timedelta(days=DAYS_AHEAD):
        return PickupDay(
            day=day, open=False, detail=f"The courier collects from tomorrow on, {DAYS_AHEAD} days ahead."
        )
    return PickupDay(day=day, open=True, detail="The courier collects between 8:00 and 18:00.")


def book_pickup(connection: sqlite3.Connection, request: PickupRequest, now: datetime) -> Pickup:
    """Book a collection; runs in the caller's transaction.

    Raises `UnprocessableError` for a day on which nobody comes, `RefusedError` for a country that the courier
    does not serve: that is known only here, after the return has been made.
    """
    order = Repository(connection).order(request.order_number)
    chosen = pickup_day(request.day, now.date())
    if not chosen.open:
        raise UnprocessableError("day_not_served", chosen.detail)
    if order.address.country not in COUNTRIES:
        raise RefusedError("country_not_served", f"The courier does not collect in {order.address.country}.")
    row_id: int = connection.execute(
        "INSERT INTO pickups (order_number, day, note, created_at) VALUES (?, ?, ?, ?) RETURNING pickup_id",
        (order.order_number, request.day.isoformat(), request.note, now.isoformat()),
    ).fetchone()[0]
    return Pickup(
        pickup_id=f"P-{_FIRST + row_id}",
        order_number=order.order_number,
        day=request.day,
        city=order.address.city,
    )


def load_pickup(connection: sqlite3.Connection, order_number: int) -> Pickup:
    """Return the newest collection that is booked for an order; raises `NotFoundError` when there is none."""
    row = connection.execute(
        "SELECT * FROM pickups WHERE order_number = ? ORDER BY pickup_id DESC LIMIT 1", (order_number,)
    ).fetchone()
    if row is None:
        raise NotFoundError("pickup_not_found", f"No collection is booked for order {order_number}.")
    return Pickup(
        pickup_id=f"P-{_FIRST + row['pickup_id']}",
        order_number=order_number,
        day=row["day"],
        city=Repository(connection).order(order_number).address.city,
    )
