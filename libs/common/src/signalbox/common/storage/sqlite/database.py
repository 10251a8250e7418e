"""The database port over one SQLite file."""

import asyncio
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Self

from signalbox.common.record import record
from signalbox.common.storage.errors import StorageUnavailable
from signalbox.common.storage.ports import Dialect, Params, Row, Statement, Write
from signalbox.common.storage.sqlite.lock import FileLock
from signalbox.common.storage.sqlite.outbox import Outbox
from signalbox.common.storage.sqlite.readers import ReaderThreads, ReadJob
from signalbox.common.storage.sqlite.session import open_connection, prepare
from signalbox.common.storage.sqlite.writer import GroupWriter, WriteJob

READERS = 2
PING_TIMEOUT_S = 1.0
_PING = Statement("SELECT 1 AS one")
_NO_PARAMS: Params = {}


@record
class _Threads:
    loop: asyncio.AbstractEventLoop
    writer: GroupWriter
    readers: ReaderThreads


class SqliteDatabase:
    """One SQLite file in one process: WAL, every commit on the disk (``synchronous=FULL``), group commit.

    The file is created if need be and locked from the constructor until `close`. ``durable=False`` leaves
    out the fsync, for tests. Raises DatabaseInUse or StorageUnavailable.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._path = path
        self._durable = durable
        self._scratch: Path | None = None
        self._threads: _Threads | None = None
        self._closed = False
        self._lock = FileLock(path)
        self._lock.acquire()
        try:
            # Made here, so that a file that cannot be used is said at the start.
            open_connection(path, durable=durable).close()
        except StorageUnavailable:
            self._lock.release()
            raise

    @classmethod
    def temporary(cls) -> Self:
        """A database in a directory of its own, removed by `close`; for tests."""
        scratch = Path(tempfile.mkdtemp(prefix="signalbox-"))
        database = cls(scratch / "temporary.db", durable=False)
        database._scratch = scratch
        return database

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return "sqlite"

    @property
    def commits(self) -> int:
        """Transactions committed so far; fewer than writes when several shared one."""
        return self._threads.writer.commits if self._threads else 0

    async def fetch_all(self, statement: Statement, params: Params | None = None) -> list[Row]:
        """All rows of a read; it sees every write that has returned."""
        step = prepare(statement, params or _NO_PARAMS, None)
        threads = self._running()
        future: asyncio.Future[list[Row]] = threads.loop.create_future()
        threads.readers.submit(ReadJob(step, future))
        return await future

    async def fetch_one(self, statement: Statement, params: Params | None = None) -> Row | None:
        """The first row of a read, or None."""
        rows = await self.fetch_all(statement, params)
        return rows[0] if rows else None

    async def write(self, *writes: Write) -> list[list[Row]]:
        """Run the writes in order as one transaction that is durable on return; see the port."""
        if not writes:
            return []
        steps = [prepare(each.statement, each.params, each.expect) for each in writes]
        threads = self._running()
        future: asyncio.Future[list[list[Row]]] = threads.loop.create_future()
        threads.writer.submit(WriteJob(steps, future))
        return await future

    async def ping(self) -> None:
        """Return when the database answers; raise StorageUnavailable within a second when it does not."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self.fetch_one(_PING)
        except TimeoutError:
            raise StorageUnavailable(f"The SQLite database {self._path} does not answer.") from None

    async def close(self) -> None:
        """Commit what was submitted, end the threads and unlock the file; idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        if self._threads is not None:
            self._threads.readers.stop()
            self._threads.writer.stop()
        self._lock.release()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _running(self) -> _Threads:
        if self._closed:
            raise StorageUnavailable("The database is closed: the service is stopping.")
        if self._threads is None:
            loop = asyncio.get_running_loop()
            outbox = Outbox(loop)
            self._threads = _Threads(
                loop,
                GroupWriter(self._connect_writer, outbox),
                ReaderThreads(self._connect_reader, outbox, READERS),
            )
        return self._threads

    def _connect_writer(self) -> sqlite3.Connection:
        return open_connection(self._path, durable=self._durable)

    def _connect_reader(self) -> sqlite3.Connection:
        return open_connection(self._path, read_only=True)
