"""The generated data: the same everywhere, whole or absent, and with the orders that the documents name."""

import hashlib
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from signalbox_example_shop import database
from signalbox_example_shop.database import DatabaseError, ensure_database, opened
from signalbox_example_shop.generator import KNOWN_ORDERS, generate

TODAY = date(2026, 3, 16)


def digest(path: Path) -> str:
    """Return a hash over every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def test_the_same_day_gives_the_same_rows(tmp_path: Path) -> None:
    first, second, later = (tmp_path / name for name in ("a", "b", "c"))
    ensure_database(first, TODAY)
    ensure_database(second, TODAY)
    ensure_database(later, TODAY + timedelta(days=1))

    assert digest(first) == digest(second)
    assert digest(first) != digest(later)


def test_generation_is_quick_enough_to_do_at_start() -> None:
    started = time.process_time()
    data = generate(TODAY)
    used = time.process_time() - started

    assert (len(data.customers), len(data.products), len(data.orders)) == (1000, 300, 5000)
    assert used < 1, f"{used:.2f} s of CPU"


def test_orders_are_numbered_without_gaps_and_add_up() -> None:
    data = generate(TODAY)
    goods = dict.fromkeys(range(1000, 6000), 0)
    for number, _, quantity, price in data.order_items:
        goods[number] += quantity * price

    assert [order.order_number for order in data.orders] == list(goods)
    assert all(order.total_cents == goods[order.order_number] + order.shipping_cents for order in data.orders)
    assert {order.shipping_cents for order in data.orders if goods[order.order_number] >= 7500} == {0}


def test_well_known_orders_are_what_the_documents_say() -> None:
    orders = {order.order_number: order for order in generate(TODAY).orders}

    assert {number: orders[number].status for number in KNOWN_ORDERS} == {
        1042: "shipped",
        1043: "delivered",
        1044: "delivered",
        1045: "processing",
        1046: "delivered",
        1047: "delivered",
    }
    assert orders[1042].tracking_number is not None
    assert (orders[1043].delivered_at or "")[:10] == "2026-03-11"
    assert (orders[1044].delivered_at or "")[:10] == "2025-12-16"
    assert {orders[number].customer_id for number in KNOWN_ORDERS} == {"C-0042"}


def test_a_generation_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SCHEMA", "CREATE TABLE meta (schema_version, generated_on);")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        ensure_database(tmp_path / "shop.sqlite3", TODAY)

    assert list(tmp_path.iterdir()) == []


def test_of_two_that_start_together_one_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite3"

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ensure_database(path, TODAY), range(4)))

    assert made.count(True) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_kept(database_file: Path) -> None:
    with opened(database_file, TODAY) as connection:
        connection.execute("UPDATE orders SET status = 'cancelled' WHERE order_number = 1045")

    with opened(database_file, TODAY + timedelta(days=9)) as connection:
        row = connection.execute("SELECT status FROM orders WHERE order_number = 1045").fetchone()
    assert row["status"] == "cancelled"


def test_a_foreign_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are somebody's notes, not a database; " * 40)

    with pytest.raises(DatabaseError, match="name another file"), opened(path, TODAY):
        pass

    assert path.read_text().startswith("these are somebody's notes")


def test_a_file_of_another_version_is_refused(database_file: Path) -> None:
    with closing(sqlite3.connect(database_file)) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
        connection.commit()

    with pytest.raises(DatabaseError, match="delete it"), opened(database_file, TODAY):
        pass


def test_without_a_path_the_data_lives_as_long_as_the_connection() -> None:
    with opened(None, TODAY) as connection:
        path = Path(connection.execute("PRAGMA database_list").fetchone()["file"])
        assert path.exists()

    assert not path.parent.exists()
