"""One PostgreSQL connection in libpq's pipeline mode, driven by event loop callbacks.

psycopg opens the connection; its cursors are not used, because they cost five to ten times what the messages
cost (`bench/storage.py` measures both). The statements between two synchronisation points of a pipeline are
one transaction: it commits at the second one, or rolls back if any of them failed (PostgreSQL documentation,
"Pipelining" in the chapter on the frontend/backend protocol). So a list of statements needs neither BEGIN nor
COMMIT and takes one round trip.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.storage.errors import StorageUnavailable
from signalbox.common.storage.postgres.failures import RepeatWrite, failure_of
from signalbox.common.storage.postgres.queries import Query
from signalbox.common.storage.postgres.values import decode_rows

PREPARE_AFTER = 3
MAX_PREPARED = 400

Rows = list[dict[str, Any]]
_PREPARING = -1


@record
class Command:
    """A query with its encoded parameters."""

    query: Query
    values: Sequence[bytes | None]
    formats: Sequence[Format] | None


@dataclass(slots=True)
class _Batch:
    """What is in flight: the replies come in the order of ``expected``."""

    commands: Sequence[Command]
    future: asyncio.Future[list[Rows]]
    expected: list[int] = field(default_factory=list)
    """For each reply the position of its command, or _PREPARING."""
    preparing: list[bytes] = field(default_factory=list)
    replies: int = 0
    rows: list[Rows] = field(default_factory=list)
    failure: SignalboxError | RepeatWrite | None = None


class PipelineConnection:
    """Runs one list of commands at a time, as one transaction, in one round trip.

    ``released`` is called when the connection is free again or closed: after the answer, not after the
    caller, who may have been cancelled meanwhile.
    """

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        loop: asyncio.AbstractEventLoop,
        released: Callable[["PipelineConnection"], None],
    ) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._loop = loop
        self._released = released
        self._prepared: dict[bytes, bytes] = {}
        self._names = 0
        self._batch: _Batch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self.opened_at = loop.time()
        self.closed = False
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._socket = self._pg.socket
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        loop.add_reader(self._socket, self._on_readable)

    def is_usable(self) -> bool:
        """Whether the server has said nothing since the last answer: what it says unasked is goodbye."""
        return not self.closed and not self._poll.poll(0)

    def run(self, commands: Sequence[Command], deadline: float) -> asyncio.Future[list[Rows]]:
        """Send the commands; the future gets the rows of each.

        ``deadline`` is in loop time; after it the connection is closed and the outcome is not known. The
        future fails with SignalboxError or RepeatWrite; cancelling it does not stop the server.
        """
        batch = self._batch = _Batch(commands, self._loop.create_future())
        self._timer = self._loop.call_at(deadline, self._expire)
        try:
            for index, command in enumerate(commands):
                self._send(batch, index, command)
            self._pg.pipeline_sync()
            self._flush()
        except psycopg.Error as error:
            self._lose(f"PostgreSQL's connection broke: {_sentence(error)}.")
        return batch.future

    def close(self) -> None:
        """Close at once; what is in flight fails with an unknown outcome."""
        self._lose("the database was closed")

    def _send(self, batch: _Batch, index: int, command: Command) -> None:
        query = command.query
        query.uses += 1
        name = self._prepared.get(query.sql)
        if name is None:
            if query.uses < PREPARE_AFTER or len(self._prepared) >= MAX_PREPARED:
                self._pg.send_query_params(query.sql, command.values, param_formats=command.formats)
                batch.expected.append(index)
                return
            self._names += 1
            name = self._prepared[query.sql] = b"signalbox_%d" % self._names
            self._pg.send_prepare(name, query.sql)
            batch.preparing.append(query.sql)
            batch.expected.append(_PREPARING)
        self._pg.send_query_prepared(name, command.values, command.formats)
        batch.expected.append(index)

    def _flush(self) -> None:
        pending = self._pg.flush() == 1
        if pending and not self._writing:
            self._loop.add_writer(self._socket, self._on_writable)
        elif self._writing and not pending:
            self._loop.remove_writer(self._socket)
        self._writing = pending

    def _on_writable(self) -> None:
        try:
            self._flush()
        except psycopg.Error as error:
            self._lose(f"PostgreSQL's connection broke: {_sentence(error)}.")

    def _on_readable(self) -> None:
        try:
            self._pg.consume_input()
            gaps = 0
            while self._batch is not None and gaps < 2 and not self._pg.is_busy():
                # The replies of two commands are separated by one None.
                result = self._pg.get_result()
                gaps = gaps + 1 if result is None else 0
                if result is not None:
                    self._on_result(self._batch, result)
        except psycopg.Error as error:
            self._lose(f"PostgreSQL's connection broke: {_sentence(error)}.")
            return
        if self._pg.status == ConnStatus.BAD:
            self._lose("PostgreSQL closed the connection.")

    def _on_result(self, batch: _Batch, result: PGresult) -> None:
        status = result.status
        if status == ExecStatus.PIPELINE_SYNC:
            self._finish(batch)
            return
        # A failure of the commit itself comes after the replies of all commands.
        index = batch.expected[min(batch.replies, len(batch.expected) - 1)]
        batch.replies += 1
        if status == ExecStatus.TUPLES_OK:
            batch.rows.append(batch.commands[index].query.rows(decode_rows(result)))
        elif status == ExecStatus.COMMAND_OK:
            if index == _PREPARING:
                batch.preparing.pop(0)
            else:
                batch.rows.append([])
        elif batch.failure is None and status != ExecStatus.PIPELINE_ABORTED:
            if index == _PREPARING:
                index = batch.expected[batch.replies]
            batch.failure = failure_of(result, index)

    def _finish(self, batch: _Batch) -> None:
        for sql in batch.preparing:
            del self._prepared[sql]
        self._settle(batch, batch.failure)
        if isinstance(batch.failure, RepeatWrite) and batch.failure.reconnect:
            self._lose("prepared statements are stale")
        else:
            self._released(self)

    def _settle(self, batch: _Batch, failure: BaseException | None) -> None:
        self._batch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if batch.future.done():
            return
        if failure is None:
            batch.future.set_result(batch.rows)
        else:
            batch.future.set_exception(failure)

    def _expire(self) -> None:
        self._lose("PostgreSQL did not answer in time; whether a write took effect is not known.")

    def _lose(self, reason: str, failure: BaseException | None = None) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        if self._writing:
            self._loop.remove_writer(self._socket)
        self._pg.finish()
        if self._batch is not None:
            self._settle(self._batch, failure or StorageUnavailable(reason))
        self._released(self)


def _sentence(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).rstrip(".")
