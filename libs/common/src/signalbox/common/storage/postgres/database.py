"""The database port over PostgreSQL."""

import asyncio
import random
from collections.abc import Sequence

from signalbox.common.storage.errors import StorageUnavailable
from signalbox.common.storage.ports import Dialect, Params, Row, Statement, Write
from signalbox.common.storage.postgres.connection import Command, Rows
from signalbox.common.storage.postgres.failures import RepeatWrite
from signalbox.common.storage.postgres.pool import ConnectionPool
from signalbox.common.storage.postgres.queries import Queries
from signalbox.common.storage.postgres.values import encode_all

ATTEMPTS = 4
PING_TIMEOUT_S = 1.0
_NO_PARAMS: Params = {}


class PostgresDatabase:
    """PostgreSQL behind the port: READ COMMITTED, one round trip per call, nothing hangs.

    No call takes longer than ``timeout_s``, the wait for one of the ``pool_size`` connections included, even
    when the server is frozen. Deadlocks are repeated within that time. Connections are opened at need, so a
    server that is away at the start is only noticed by the first call.
    """

    def __init__(self, url: str, *, pool_size: int = 8, timeout_s: float = 5.0) -> None:
        self._timeout_s = timeout_s
        self._pool = ConnectionPool(url, size=pool_size, timeout_s=timeout_s)
        self._queries = Queries()
        self._calls = 0
        self._closed = False
        self._finished = asyncio.Event()

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return "postgresql"

    async def fetch_all(self, statement: Statement, params: Params | None = None) -> list[Row]:
        """All rows of a read; it sees every write that has returned."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        return (await self._run([self._command(statement, params or _NO_PARAMS, None)], deadline))[0]

    async def fetch_one(self, statement: Statement, params: Params | None = None) -> Row | None:
        """The first row of a read, or None."""
        rows = await self.fetch_all(statement, params)
        return rows[0] if rows else None

    async def write(self, *writes: Write) -> list[list[Row]]:
        """Run the writes in order as one transaction that is durable on return; see the port."""
        if not writes:
            return []
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        commands = [self._command(each.statement, each.params, each.expect) for each in writes]
        return await self._run(commands, deadline)

    async def ping(self) -> None:
        """Return when the database answers; raise StorageUnavailable within a second when it does not."""
        deadline = asyncio.get_running_loop().time() + min(PING_TIMEOUT_S, self._timeout_s)
        await self._run([], deadline)

    async def close(self) -> None:
        """Let the calls that have begun finish, then close all connections; idempotent."""
        self._closed = True
        if self._calls:
            await self._finished.wait()
        self._pool.close()

    def _command(self, statement: Statement, params: Params, expect: int | None) -> Command:
        query = self._queries.get(statement, expect)
        bound = query.compiled.bind(params)
        values, formats = encode_all([bound[name] for name in query.compiled.names])
        return Command(query, values, formats)

    async def _run(self, commands: Sequence[Command], deadline: float) -> list[Rows]:
        if self._closed:
            raise StorageUnavailable("The database is closed: the service is stopping.")
        self._calls += 1
        try:
            return await self._run_repeatedly(commands, deadline)
        finally:
            self._calls -= 1
            if self._closed and not self._calls:
                self._finished.set()

    async def _run_repeatedly(self, commands: Sequence[Command], deadline: float) -> list[Rows]:
        attempt = 1
        while True:
            connection = self._pool.take() or await self._pool.acquire(deadline)
            try:
                return await connection.run(commands, deadline)
            except RepeatWrite as again:
                if attempt == ATTEMPTS:
                    raise again.error from None
            # Two lists that met in a deadlock should not meet again.
            await asyncio.sleep(random.uniform(0, 0.01) * attempt)  # noqa: S311 - spreads retries
            attempt += 1
