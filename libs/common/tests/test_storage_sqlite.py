"""SQLite: one process, one writer, group commit, disks that are full."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.scratch_tables import ADD_BODY, ALL_ENTRIES

from signalbox.common.storage import DatabaseInUse, StorageUnavailable, Write, open_database
from signalbox.common.storage.migrations import MigrationSource
from signalbox.common.storage.sqlite import SqliteDatabase

SUPPORT = str(Path(__file__).parents[3] / "tests")


@pytest.fixture(scope="session")
def database_source():
    return MigrationSource("scratch", "support.scratch_migrations")


@pytest.fixture
def path(database_supply, database_source, tmp_path):
    return Path(database_supply.url(database_source, "sqlite", tmp_path).removeprefix("sqlite:///"))


def body(seq, text="x"):
    return Write(ADD_BODY, {"seq": seq, "body": text})


def run_python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": SUPPORT}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


OPEN = """
import sys
from signalbox.common.storage import DatabaseInUse, open_database
try:
    open_database("sqlite:///" + sys.argv[1])
except DatabaseInUse as error:
    print(error.detail)
    sys.exit(3)
"""


async def test_a_second_process_is_refused_in_one_sentence(path):
    database = open_database(f"sqlite:///{path}")
    other = run_python(OPEN, path)
    assert other.returncode == 3, other.stderr
    assert f"{path} is in use by process {os.getpid()}; stop it" in other.stdout
    assert len(other.stdout.strip().splitlines()) == 1
    await database.close()
    assert run_python(OPEN, path).returncode == 0


async def test_a_second_opening_in_the_same_process_is_refused_too(path):
    database = SqliteDatabase(path)
    with pytest.raises(DatabaseInUse):
        SqliteDatabase(path)
    await database.close()


async def test_writes_that_wait_share_a_commit_and_keep_their_order(path):
    database = SqliteDatabase(path)
    finished = []

    async def write(seq):
        await database.write(body(seq))
        finished.append(seq)

    await asyncio.gather(*(write(seq) for seq in range(500)))
    assert finished == list(range(500))
    assert 1 <= database.commits <= 50
    assert len(await database.fetch_all(ALL_ENTRIES)) == 500
    await database.close()


async def test_a_lone_write_does_not_wait_for_company(path):
    database = SqliteDatabase(path, durable=False)
    for seq in range(20):
        await database.write(body(seq))
    assert database.commits == 20
    await database.close()


async def test_every_commit_is_synchronised(path):
    database = SqliteDatabase(path)
    connection = database._connect_writer()
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    connection.close()
    await database.close()


async def test_a_read_cannot_write(path):
    database = SqliteDatabase(path)
    with pytest.raises(StorageUnavailable, match="readonly"):
        await database.fetch_all(ADD_BODY, {"seq": 1, "body": ""})
    await database.close()


async def test_reads_go_on_while_another_program_holds_the_write_lock(path):
    database = SqliteDatabase(path)
    await database.write(body(1))
    other = database._connect_writer()
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(database.write(body(2)))
    assert [row["seq"] for row in await database.fetch_all(ALL_ENTRIES)] == [1]
    assert not write.done()
    other.execute("ROLLBACK")
    await write
    other.close()
    await database.close()


async def test_close_ends_the_threads_and_a_temporary_database_is_removed():
    database = SqliteDatabase.temporary()
    await database.ping()
    names = {thread.name for thread in threading.enumerate()}
    assert any(name.startswith("signalbox-sqlite") for name in names)
    await database.close()
    assert not any(thread.name.startswith("signalbox-sqlite") for thread in threading.enumerate())
    assert not database.path.parent.exists()


async def test_a_path_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        SqliteDatabase(tmp_path / "file" / "x.db")
    (tmp_path / "text.db").write_text("this is not a database, but long enough to be looked at" * 100)
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        SqliteDatabase(tmp_path / "text.db")
    # The refused one has let go of the lock.
    (tmp_path / "text.db").unlink()
    await SqliteDatabase(tmp_path / "text.db").close()


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from support.scratch_tables import ADD_BODY, ALL_ENTRIES
from signalbox.common.storage import StorageUnavailable, Write
from signalbox.common.storage.sqlite import SqliteDatabase

def body(seq):
    return Write(ADD_BODY, {"seq": seq, "body": "x" * 2000})

async def main():
    database = SqliteDatabase(Path(sys.argv[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    await asyncio.gather(*(database.write(body(seq)) for seq in range(10)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    writes = (database.write(body(seq)) for seq in range(10, 400))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert refused and all(isinstance(outcome, StorageUnavailable) for outcome in refused), refused[:3]
    kept = {*range(10), *(seq for seq, outcome in enumerate(outcomes, 10) if isinstance(outcome, list))}
    assert {row["seq"] for row in await database.fetch_all(ALL_ENTRIES)} == kept
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await database.write(body(1000))
    assert {row["seq"] for row in await database.fetch_all(ALL_ENTRIES)} == kept | {1000}
    await database.close()
    print("recovered", len(refused))

asyncio.run(main())
"""


def test_a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_recovers(path):
    outcome = run_python(FULL, path)
    assert outcome.stdout.startswith("recovered"), outcome.stderr
