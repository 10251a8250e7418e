"""The SQLite file: made once, whole or not at all, and opened by the service."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

from signalbox_example_shop.courier import PICKUPS
from signalbox_example_shop.faq_entries import FAQ
from signalbox_example_shop.generator import Dataset, generate
from signalbox_example_shop.schema import SCHEMA, SCHEMA_VERSION
from signalbox_example_shop.search import index_text


class DatabaseError(RuntimeError):
    """The database file cannot be used; the message says what to do about it."""


@contextmanager
def opened(path: Path | None, today: date) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the shop's data, generating it as of `today` when `path` does not exist yet.

    With `path` None the file lives in a temporary directory for as long as the connection does. Raises
    `DatabaseError` for a file that is not this version's.
    """
    if path is None:
        with (
            tempfile.TemporaryDirectory(prefix="signalbox-shop-") as directory,
            opened(Path(directory) / "shop.sqlite3", today) as connection,
        ):
            yield connection
        return
    ensure_database(path, today)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        _prepare(connection, path)
        yield connection


def ensure_database(path: Path, today: date) -> bool:
    """Generate the file at `path` unless it exists; return whether this call made it.

    It is written under another name and linked into place when complete. Of two processes that start together
    one wins and the other uses the winner's file.
    """
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    draft = Path(name)
    try:
        _write(draft, generate(today))
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        row = connection.execute("SELECT schema_version FROM meta").fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} is not a database of this shop ({error}); name another file.") from error
    if row is None or row["schema_version"] != SCHEMA_VERSION:
        raise DatabaseError(
            f"{path} was made by another version of the shop; delete it to have it made again."
        )
    connection.execute(PICKUPS)


def _write(path: Path, data: Dataset) -> None:
    with closing(sqlite3.connect(path)) as connection:
        # A draft that is lost in a crash is made again, so it needs no journal and no sync until the end.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        _insert(connection, data)
        connection.execute("INSERT INTO meta VALUES (?, ?)", (SCHEMA_VERSION, data.today.isoformat()))
        connection.commit()
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _insert(connection: sqlite3.Connection, data: Dataset) -> None:
    tables: dict[str, Sequence[tuple[object, ...]]] = {
        "customers": data.customers,
        "products": data.products,
        "product_index": [
            (row.sku, index_text(row.name, row.name_zh, row.category, row.description))
            for row in data.products
        ],
        "orders": data.orders,
        "order_items": data.order_items,
        "returns": data.returns,
        "return_items": data.return_items,
        "refunds": data.refunds,
        "faq": FAQ,
        "faq_index": [
            (entry.faq_id, entry.language, index_text(entry.question, entry.answer)) for entry in FAQ
        ],
    }
    for table, rows in tables.items():
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - the names above
