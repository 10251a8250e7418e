"""The one thread that writes: it commits the lists that wait as a group.

A commit costs one fsync whatever it holds, so lists that arrive during one commit share the next.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.storage.ports import Row
from signalbox.common.storage.sqlite.failures import failure_of
from signalbox.common.storage.sqlite.outbox import Outbox, Outcome
from signalbox.common.storage.sqlite.session import Step, run_step

MAX_GROUP = 256


@record
class WriteJob:
    """A list of statements and who waits for it."""

    steps: Sequence[Step]
    future: asyncio.Future[list[list[Row]]]


class GroupWriter:
    """Runs lists in the order in which they came; each is written whole or not at all.

    ``commits`` counts transactions, for benches and tests.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], outbox: Outbox) -> None:
        self._connect = connect
        self._outbox = outbox
        self._jobs: queue.SimpleQueue[WriteJob | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="signalbox-sqlite-writer", daemon=True)
        self.commits = 0
        self._thread.start()

    def submit(self, job: WriteJob) -> None:
        """Queue a list."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Commit what is queued and end; blocks until then."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        running = True
        while running:
            group = [self._jobs.get()]
            while group[-1] is not None and len(group) < MAX_GROUP:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            running = group[-1] is not None
            jobs = [job for job in group if job is not None and not job.future.cancelled()]
            if not jobs:
                continue
            try:
                connection = connection or self._connect()
                self._outbox.put(*self._commit(connection, jobs))
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever SQLite raises
                failure = error if isinstance(error, SignalboxError) else failure_of(error, 0)
                self._outbox.put(*(Outcome(job.future, failure=failure) for job in jobs))
                if connection is not None:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    def _commit(self, connection: sqlite3.Connection, jobs: list[WriteJob]) -> list[Outcome]:
        """One transaction for all jobs: at first without savepoints, which only a failure makes necessary."""
        try:
            return self._transaction(connection, jobs, _run_job)
        except _JobFailed as failed:
            if len(jobs) == 1:
                return [Outcome(jobs[0].future, failure=failed.error)]
        try:
            return self._transaction(connection, jobs, _run_job_apart)
        except _JobFailed as failed:
            return [Outcome(job.future, failure=failed.error) for job in jobs]

    def _transaction(
        self,
        connection: sqlite3.Connection,
        jobs: list[WriteJob],
        run: Callable[[sqlite3.Connection, WriteJob], Outcome],
    ) -> list[Outcome]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [run(connection, job) for job in jobs]
            connection.execute("COMMIT")
        except BaseException as error:
            # SQLite may have ended the transaction itself (disk full, I/O error).
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _JobFailed(failure_of(error, 0)) from error
            raise
        self.commits += 1
        return outcomes


class _JobFailed(Exception):
    """A list cannot be written; the transaction it ran in is rolled back."""

    def __init__(self, error: SignalboxError) -> None:
        super().__init__(str(error))
        self.error = error


def _run_job(connection: sqlite3.Connection, job: WriteJob) -> Outcome:
    results: list[list[Row]] = []
    for index, step in enumerate(job.steps):
        try:
            results.append(run_step(connection, step, index))
        except SignalboxError as error:
            raise _JobFailed(error) from None
        except Exception as error:
            raise _JobFailed(failure_of(error, index)) from error
    return Outcome(job.future, results)


def _run_job_apart(connection: sqlite3.Connection, job: WriteJob) -> Outcome:
    connection.execute("SAVEPOINT list")
    try:
        outcome = _run_job(connection, job)
    except _JobFailed as failed:
        if not connection.in_transaction:
            # SQLite has rolled back the lists before this one too.
            raise
        connection.execute("ROLLBACK TO list")
        outcome = Outcome(job.future, failure=failed.error)
    connection.execute("RELEASE list")
    return outcome
