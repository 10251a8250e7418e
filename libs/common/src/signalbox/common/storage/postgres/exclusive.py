"""Refusing a second process where processes could not see each other.

Without Redis, leases and limits live in the memory of one process. PostgreSQL alone would let several start, and
each would believe that it is the only one; an advisory lock held for the life of the process prevents that.
"""

import psycopg

from signalbox.common.storage.errors import DatabaseInUse, StorageUnavailable

_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_CONNECT_TIMEOUT_S = 5


class ExclusiveUse:
    """The right to be the only process of a service on a database."""

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._connection: psycopg.AsyncConnection | None = None

    async def acquire(self) -> None:
        """Take the right, and hold it until ``release`` or the end of the process.

        Raises:
            DatabaseInUse: another process has it.
            StorageUnavailable: the database cannot be reached.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
            )
            row = await (await connection.execute(_TRY_LOCK, (f"signalbox:{self._service}",))).fetchone()
        except psycopg.Error as error:
            raise StorageUnavailable(f"PostgreSQL cannot be reached: {error}") from error
        if row is None or not row[0]:
            await connection.close()
            raise DatabaseInUse(
                f"Another process runs {self._service} on this database, and without Redis they cannot see each "
                "other; set SIGNALBOX_REDIS_URL for all of them, or stop the other one."
            )
        self._connection = connection

    async def release(self) -> None:
        """Give the right back."""
        if self._connection is not None:
            await self._connection.close()
