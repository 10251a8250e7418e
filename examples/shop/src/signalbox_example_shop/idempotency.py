"""Writes that are safe to repeat: the reply to an `Idempotency-Key` is kept and given again."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from fastapi import Response
from pydantic import BaseModel

from signalbox_example_shop.errors import UnprocessableError

REPLAYED_HEADER = "Idempotency-Replayed"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction, undone when it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def write_once(
    connection: sqlite3.Connection,
    *,
    route: str,
    key: str | None,
    request: BaseModel,
    status: int,
    now: datetime,
    write: Callable[[], BaseModel],
) -> Response:
    """Carry out `write` and return its result as JSON; for a `key` seen before, give the first reply again.

    The reply is stored in the transaction of the write, so that neither exists without the other. Only
    successes are kept: a refused write changed nothing and may be tried again. Raises `UnprocessableError`
    when the key comes back with another request.
    """
    fingerprint = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    with transaction(connection):
        if key is not None:
            row = connection.execute(
                "SELECT request_hash, status, body FROM idempotency WHERE route = ? AND key = ?", (route, key)
            ).fetchone()
            if row is not None:
                if row["request_hash"] != fingerprint:
                    raise UnprocessableError(
                        "idempotency_key_reused", "This Idempotency-Key came with another request before."
                    )
                return _json(row["body"], row["status"], {REPLAYED_HEADER: "true"})
        body = write().model_dump_json()
        if key is not None:
            connection.execute(
                "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?)",
                (route, key, fingerprint, status, body, now.isoformat()),
            )
    return _json(body, status)


def _json(body: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")
