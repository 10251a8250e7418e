"""What a write and a read cost through the storage port, against the bare drivers on the same disk.

One row: insert one row and commit. Turn: insert a row and advance a counter by compare-and-set, together.
Each line gives the wall time per call and the CPU of this process per call; the ratio is to the floor of its
group, measured in the same run. ``python bench/storage.py --help`` for options.
"""

import argparse
import asyncio
import itertools
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import uvloop
from psycopg_pool import AsyncConnectionPool

from signalbox.common.storage import Database, Statement, Write, open_database
from signalbox.common.storage.sqlite import SqliteDatabase
from signalbox_local import PostgresServer

_INSERT = Statement("INSERT INTO turns (id, body) VALUES (:id, :body)")
_ADVANCE = Statement("UPDATE sessions SET last_seq = last_seq + 1 WHERE id = :session")
_READ = Statement("SELECT id, last_seq FROM sessions WHERE id = :session")

_CREATE = (
    "CREATE TABLE turns (id text PRIMARY KEY, body text)",
    "CREATE TABLE sessions (id text PRIMARY KEY, last_seq bigint)",
)
_WORKERS = 32
_BODY = "x" * 500

Call = Callable[[int], Awaitable[object]]


class Report:
    """Prints the lines of one group and their ratio to the group's floor."""

    def __init__(self, title: str) -> None:
        self._floor: float | None = None
        print(f"\n{title}")
        print(f"  {'':44}{'wall us':>9}{'cpu us':>9}{'ratio':>8}")

    async def run(self, name: str, call: Call, *, workers: int, calls: int) -> None:
        """Make ``calls`` calls by ``workers`` concurrent workers; the first line of a group is its floor."""

        async def work(worker: int, number: int) -> None:
            for _ in range(number):
                await call(worker)

        await asyncio.gather(*(work(worker, 5) for worker in range(workers)))
        cpu, began = _cpu(), time.perf_counter()
        await asyncio.gather(*(work(worker, calls // workers) for worker in range(workers)))
        wall = (time.perf_counter() - began) / calls * 1e6
        cpu = (_cpu() - cpu) / calls * 1e6
        self._floor = self._floor or wall
        print(f"  {name:44}{wall:9.0f}{cpu:9.0f}{wall / self._floor:8.2f}")


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _ids() -> Iterator[str]:
    return (f"turn-{number}" for number in itertools.count())


def _port_calls(database: Database, ids: Iterator[str]) -> tuple[Call, Call, Call]:
    async def one_row(_worker: int) -> None:
        await database.write(Write(_INSERT, {"id": next(ids), "body": _BODY}))

    async def turn(worker: int) -> None:
        await database.write(
            Write(_INSERT, {"id": next(ids), "body": _BODY}), Write(_ADVANCE, {"session": str(worker)}, 1)
        )

    async def read(worker: int) -> None:
        await database.fetch_one(_READ, {"session": str(worker)})

    return one_row, turn, read


async def bench_sqlite(directory: Path, calls: int) -> None:
    """The port against the sqlite3 module called in place, with the same PRAGMAs."""
    ids = _ids()
    path = directory / "bench.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        for statement in _CREATE:
            connection.execute(statement)
        for worker in range(_WORKERS):
            connection.execute("INSERT INTO sessions VALUES (?, 0)", (str(worker),))

        async def plain_row(_worker: int) -> None:
            connection.execute("INSERT INTO turns VALUES (?, ?)", (next(ids), _BODY))

        async def plain_turn(worker: int) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO turns VALUES (?, ?)", (next(ids), _BODY))
            connection.execute("UPDATE sessions SET last_seq = last_seq + 1 WHERE id = ?", (str(worker),))
            connection.execute("COMMIT")

        async def plain_read(worker: int) -> None:
            connection.execute("SELECT id, last_seq FROM sessions WHERE id = ?", (str(worker),)).fetchone()

        database = SqliteDatabase(path)
        one_row, turn, read = _port_calls(database, ids)
        for title, plain, ours in (
            ("SQLite, one row", plain_row, one_row),
            ("SQLite, turn (2 statements)", plain_turn, turn),
            ("SQLite, read one row", plain_read, read),
        ):
            report = Report(title)
            await report.run("sqlite3 module, in place (floor)", plain, workers=1, calls=calls)
            await report.run("port, 1 at a time", ours, workers=1, calls=calls)
            commits = database.commits
            await report.run(f"port, {_WORKERS} at a time", ours, workers=_WORKERS, calls=calls)
            if database.commits > commits:
                print(f"  writes per commit: {calls / (database.commits - commits):.1f}")
        await database.close()


async def bench_postgres(url: str, calls: int) -> None:
    """The port against psycopg's own asynchronous connections, pool and pipeline."""
    ids = _ids()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _CREATE:
            connection.execute(statement)
        for worker in range(_WORKERS):
            connection.execute("INSERT INTO sessions VALUES (%s, 0)", (str(worker),))
    database = open_database(url, pool_size=8)
    one_row, turn, read = _port_calls(database, ids)
    insert = "INSERT INTO turns VALUES (%s, %s)"
    advance = "UPDATE sessions SET last_seq = last_seq + 1 WHERE id = %s"
    pool = AsyncConnectionPool(url, min_size=8, max_size=8, kwargs={"autocommit": True}, open=False)
    async with pool:

        async def plain_row(_worker: int) -> None:
            async with pool.connection() as connection:
                await connection.execute(insert, (next(ids), _BODY))

        async def plain_turn(worker: int) -> None:
            async with pool.connection() as connection, connection.pipeline(), connection.transaction():
                await connection.execute(insert, (next(ids), _BODY))
                await connection.execute(advance, (str(worker),))

        async def plain_read(worker: int) -> None:
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT id, last_seq FROM sessions WHERE id = %s", (str(worker),)
                )
                await cursor.fetchone()

        for workers in (1, _WORKERS):
            for title, plain, ours in (
                ("PostgreSQL, one row", plain_row, one_row),
                ("PostgreSQL, turn (2 statements, 1 precondition)", plain_turn, turn),
                ("PostgreSQL, read one row", plain_read, read),
            ):
                report = Report(f"{title}, {workers} at a time, 8 connections")
                await report.run("psycopg pool (floor)", plain, workers=workers, calls=calls)
                await report.run("port", ours, workers=workers, calls=calls)
    await database.close()


def main() -> None:
    """Run the benches that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="calls per line")
    parser.add_argument(
        "--directory", type=Path, help="where the SQLite file lies (default: a temporary one)"
    )
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            uvloop.run(bench_sqlite(Path(directory), options.calls))
    if options.only != "sqlite":
        with PostgresServer() as server:
            uvloop.run(bench_postgres(server.create_database("signalbox_bench"), options.calls))


if __name__ == "__main__":
    main()
