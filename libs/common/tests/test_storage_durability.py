"""What was acknowledged is there after kill -9, of the client (SQLite) and of the server (PostgreSQL)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.scratch_tables import ALL_ENTRIES

from signalbox.common.storage import open_database
from signalbox.common.storage.migrations import MigrationSource, migrate
from signalbox_local import PostgresServer

SUPPORT = str(Path(__file__).parents[3] / "tests")
SOURCE = MigrationSource("scratch", "support.scratch_migrations")

WRITER = """
import asyncio, sys
from support.scratch_tables import ADD_BODY
from signalbox.common.storage import StorageUnavailable, Write, open_database

async def worker(database, first):
    for seq in range(first, first + 100_000):
        # Two rows in one list: a half-written list shows.
        await database.write(
            Write(ADD_BODY, {"seq": seq, "body": "x"}), Write(ADD_BODY, {"seq": -seq, "body": "x"})
        )
        sys.stdout.write(f"{seq}\\n")
        sys.stdout.flush()

async def main():
    database = open_database(sys.argv[1], pool_size=8)
    workers = (worker(database, 1 + number * 100_000) for number in range(8))
    await asyncio.gather(*workers, return_exceptions=True)

asyncio.run(main())
"""


def write_until_killed(url, kill, acknowledged=300):
    """Start the writer, call ``kill`` after so many acknowledgements; all that it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        env={**os.environ, "PYTHONPATH": SUPPORT},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        kill(process)
        lines.extend(process.stdout.readlines())
    # The last line may have been cut by the kill.
    return {int(line) for line in lines if line.endswith("\n")}


async def assert_kept(url, acknowledged):
    database = open_database(url)
    rows = {row["seq"] for row in await database.fetch_all(ALL_ENTRIES)}
    await database.close()
    assert len(acknowledged) >= 300
    assert acknowledged <= rows
    assert {seq for seq in rows if seq > 0} == {-seq for seq in rows if seq < 0}


async def test_sqlite_keeps_what_a_killed_process_acknowledged(tmp_path):
    url = f"sqlite:///{tmp_path / 'scratch.db'}"
    migrate(SOURCE.service, SOURCE.package, url)
    await assert_kept(url, write_until_killed(url, lambda process: process.kill()))


async def test_postgresql_keeps_what_a_killed_server_acknowledged():
    with PostgresServer(own=True) as server:
        migrate(SOURCE.service, SOURCE.package, server.url)
        acknowledged = write_until_killed(server.url, lambda _process: server.kill())
        server.restart()
        await assert_kept(server.url, acknowledged)


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///", "file.db", ""])
def test_urls_that_name_no_database(url):
    from signalbox.common.storage.factory import BadDatabaseUrl

    with pytest.raises(BadDatabaseUrl, match="SIGNALBOX_DATABASE_URL"):
        open_database(url)
