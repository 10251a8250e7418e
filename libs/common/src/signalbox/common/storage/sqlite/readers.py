"""The threads that read, each with its own connection: a read never waits for a commit."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.storage.ports import Row
from signalbox.common.storage.sqlite.failures import failure_of
from signalbox.common.storage.sqlite.outbox import Outbox, Outcome
from signalbox.common.storage.sqlite.session import Step, run_step


@record
class ReadJob:
    """A statement and who waits for its rows."""

    step: Step
    future: asyncio.Future[list[Row]]


class ReaderThreads:
    """Runs reads in the order in which they came, ``count`` at a time."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], outbox: Outbox, count: int) -> None:
        self._connect = connect
        self._outbox = outbox
        self._jobs: queue.SimpleQueue[ReadJob | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"signalbox-sqlite-reader-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: ReadJob) -> None:
        """Queue a read."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what is queued and end; blocks until then."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            try:
                connection = connection or self._connect()
                # Autocommit: each read sees what was committed before it began.
                self._outbox.put(Outcome(job.future, run_step(connection, job.step, 0)))
            except SignalboxError as error:
                self._outbox.put(Outcome(job.future, failure=error))
            except Exception as error:  # noqa: BLE001 - the thread outlives whatever a statement raises
                self._outbox.put(Outcome(job.future, failure=failure_of(error, 0)))
        if connection is not None:
            connection.close()
