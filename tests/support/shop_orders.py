"""Orders of a running example shop that no test has used, and what was written to them."""

import sqlite3
from pathlib import Path

_FRESH = {
    "processing": "status = 'processing'",
    "shipped": "status = 'shipped'",
    "returnable": """
        status = 'delivered' AND delivered_at > datetime('now', '-20 days')
        AND order_number NOT IN (SELECT order_number FROM returns)
    """,
}
_FIRST_OF_OURS = 1100  # those below are named in the example's own dialogues


class ShopOrders:
    """Reads the shop's SQLite file beside the running shop."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._taken: set[int] = set()

    def fresh(self, kind: str) -> int:
        """The number of an order in that state (processing, shipped, returnable) that was not given out before."""
        rows = self._rows(
            f"SELECT order_number FROM orders WHERE {_FRESH[kind]} AND order_number >= ? "
            "ORDER BY order_number",
            _FIRST_OF_OURS,
        )
        number = next(int(row[0]) for row in rows if row[0] not in self._taken)
        self._taken.add(number)
        return number

    def returns_of(self, order: int) -> int:
        """How many returns an order has."""
        return len(self._rows("SELECT 1 FROM returns WHERE order_number = ?", order))

    def status_of(self, order: int) -> str:
        """The order's state."""
        return str(self._rows("SELECT status FROM orders WHERE order_number = ?", order)[0][0])

    def keys_of(self, route: str) -> list[str]:
        """The Idempotency-Keys with which the shop was written to."""
        return [str(row[0]) for row in self._rows("SELECT key FROM idempotency WHERE route = ?", route)]

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()
