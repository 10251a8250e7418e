"""Migrations on both databases."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from support import scratch_migrations

from signalbox.common.storage import DatabaseInUse, SchemaMissing, StorageUnavailable, open_database
from signalbox.common.storage.migrations import MigrationFailed, discover, migrate, script_head
from signalbox.common.storage.migrations.sources import MigrationSource
from signalbox.common.storage.migrations.targets import target_of
from signalbox_local import PostgresServer, free_port

SUPPORT = str(Path(__file__).parents[3] / "tests")
PACKAGE = "support.scratch_migrations"
SOURCE = MigrationSource("scratch", PACKAGE)


@pytest.fixture
def url(database_supply, dialect, tmp_path):
    if dialect == "postgresql":
        return database_supply.empty_postgres("migrations")
    return f"sqlite:///{tmp_path / 'with % and space' / 'm.db'}"


def stored(url):
    return target_of(SOURCE, url).stored_version()


def set_stored(url, revision):
    with target_of(SOURCE, url).engine().begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version_scratch SET version_num = '{revision}'")


def test_the_declared_head_is_the_last_revision():
    assert script_head(PACKAGE) == scratch_migrations.HEAD


def test_heads_of_all_installed_services():
    for source in discover():
        assert script_head(source.package) == source.head


def test_revisions_that_do_not_count_up_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "bad_migrations"
    (package / "versions").mkdir(parents=True)
    (package / "__init__.py").write_text('HEAD = "a1"\n')
    (package / "versions" / "a1_first.py").write_text('revision = "a1"\ndown_revision = None\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="0001, 0002"):
        script_head("bad_migrations")


async def test_a_new_database_gets_every_table(url):
    assert stored(url) is None
    migrated = migrate("scratch", PACKAGE, url)
    assert (migrated.before, migrated.after, migrated.changed) == (None, "0002", True)
    assert stored(url) == "0002"
    database = open_database(url)
    from support.scratch_tables import ALL_ENTRIES, GET_ACCOUNT

    assert await database.fetch_all(ALL_ENTRIES) == []
    assert await database.fetch_one(GET_ACCOUNT, {"of_tenant": "t", "of_id": "a"}) is None
    await database.close()


async def test_without_migration_the_error_says_what_to_do(url):
    from support.scratch_tables import ALL_ENTRIES

    database = open_database(url)
    with pytest.raises(SchemaMissing, match="signalbox migrate"):
        await database.fetch_all(ALL_ENTRIES)
    await database.close()


AT_HEAD = """
import sys, time
from signalbox.common.storage.migrations import migrate
began = time.perf_counter()
migrated = migrate("scratch", "support.scratch_migrations", sys.argv[1])
assert not migrated.changed
assert "alembic" not in sys.modules
print(time.perf_counter() - began)
"""


def test_at_head_nothing_is_loaded_or_locked(url):
    migrate("scratch", PACKAGE, url)
    with target_of(SOURCE, url).try_lock() as held:
        assert held
        done = subprocess.run(
            [sys.executable, "-c", AT_HEAD, url],
            env={**os.environ, "PYTHONPATH": SUPPORT},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.0


def test_a_newer_schema_is_left_alone(url):
    migrate("scratch", PACKAGE, url)
    set_stored(url, "0007")
    migrated = migrate("scratch", PACKAGE, url)
    assert (migrated.changed, migrated.after) == (False, "0007")


MIGRATE = """
import sys
from signalbox.common.storage.migrations import migrate
sys.stdin.readline()
print(migrate("scratch", "support.scratch_migrations", sys.argv[1]).before)
"""


def test_several_processes_at_once(url):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            env={**os.environ, "PYTHONPATH": SUPPORT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert stored(url) == "0002"


def test_a_lock_that_somebody_keeps_ends_in_words(url, monkeypatch):
    monkeypatch.setattr("signalbox.common.storage.migrations.runner.LOCK_PATIENCE_S", 0.5)
    lines = []
    with target_of(SOURCE, url).try_lock(), pytest.raises(DatabaseInUse, match="scratch database"):
        migrate("scratch", PACKAGE, url, report=lines.append)
    assert len(lines) == 1
    assert stored(url) is None


def test_a_failing_revision_leaves_nothing_behind(url, tmp_path, monkeypatch):
    package = tmp_path / "half_migrations"
    (package / "versions").mkdir(parents=True)
    (package / "__init__.py").write_text('HEAD = "0002"\n')
    (package / "versions" / "0001_good.py").write_text(
        'from alembic import op\nrevision = "0001"\ndown_revision = None\n'
        'def upgrade():\n    op.execute("CREATE TABLE good (id text)")\n'
    )
    (package / "versions" / "0002_bad.py").write_text(
        'from alembic import op\nrevision = "0002"\ndown_revision = "0001"\n'
        'def upgrade():\n    op.execute("CREATE TABLE bad (id text)")\n'
        '    op.execute("CREATE TABLE good (id text)")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MigrationFailed, match="good"):
        migrate("scratch", "half_migrations", url)
    assert stored(url) == "0001"
    with target_of(SOURCE, url).engine().connect() as connection:
        from sqlalchemy import inspect

        assert inspect(connection).has_table("good")
        assert not inspect(connection).has_table("bad")


def scripted(tmp_path, monkeypatch, script):
    """A package with two revisions, and a script for new SQLite files."""
    package = tmp_path / "scripted_migrations"
    (package / "versions").mkdir(parents=True)
    (package / "__init__.py").write_text('HEAD = "0002"\n')
    (package / "sqlite.sql").write_text(script)
    for number, before in ((1, None), (2, "0001")):
        (package / "versions" / f"000{number}_step.py").write_text(
            f'from alembic import op\nrevision = "000{number}"\ndown_revision = {before!r}\n'
            f'def upgrade():\n    op.execute("CREATE TABLE step_{number} (id text)")\n'
        )
    monkeypatch.syspath_prepend(tmp_path)
    # Each test has a package of this name in a directory of its own.
    monkeypatch.delitem(sys.modules, "scripted_migrations", raising=False)
    return f"sqlite:///{tmp_path / 's.db'}"


def tables_of(url):
    with target_of(SOURCE, url).engine().connect() as connection:
        from sqlalchemy import inspect

        return set(inspect(connection).get_table_names())


VERSION = (
    "CREATE TABLE alembic_version_scratch (version_num text); INSERT INTO alembic_version_scratch VALUES"
)


def test_a_new_sqlite_file_is_made_by_the_script(tmp_path, monkeypatch):
    url = scripted(tmp_path, monkeypatch, f"CREATE TABLE made (id text); {VERSION} ('0002');")
    migrated = migrate("scratch", "scripted_migrations", url)
    assert (migrated.before, migrated.after) == (None, "0002")
    assert tables_of(url) == {"made", "alembic_version_scratch"}


def test_revisions_after_the_script_are_applied(tmp_path, monkeypatch):
    url = scripted(tmp_path, monkeypatch, f"CREATE TABLE step_1 (id text); {VERSION} ('0001');")
    assert migrate("scratch", "scripted_migrations", url).after == "0002"
    assert tables_of(url) == {"step_1", "step_2", "alembic_version_scratch"}


def test_a_file_that_is_not_empty_is_left_to_the_revisions(tmp_path, monkeypatch):
    url = scripted(tmp_path, monkeypatch, f"CREATE TABLE made (id text); {VERSION} ('0002');")
    with target_of(SOURCE, url).engine().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (id text)")
    assert migrate("scratch", "scripted_migrations", url).after == "0002"
    assert tables_of(url) == {"mine", "step_1", "step_2", "alembic_version_scratch"}


def test_a_script_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    url = scripted(
        tmp_path, monkeypatch, f"CREATE TABLE made (id text); {VERSION} ('0002'); CREATE nonsense;"
    )
    with pytest.raises(MigrationFailed, match="nonsense"):
        migrate("scratch", "scripted_migrations", url)
    assert tables_of(url) == set()


def test_services_share_a_postgresql_database(database_supply):
    url = database_supply.empty_postgres("shared")
    migrate("first", PACKAGE, url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE accounts, entries")
    assert migrate("second", PACKAGE, url).changed
    assert not migrate("first", PACKAGE, url).changed


def test_without_wait_an_unreachable_server_is_said_at_once():
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        migrate("scratch", PACKAGE, f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert time.monotonic() - began < 2


def test_waiting_is_bounded_and_reports():
    lines = []
    with pytest.raises(StorageUnavailable):
        migrate(
            "scratch",
            PACKAGE,
            f"postgresql://nobody@127.0.0.1:{free_port()}/none",
            wait=True,
            wait_s=0.6,
            report=lines.append,
        )
    assert len(lines) == 1
    assert "waiting (0 s): PostgreSQL cannot be reached" in lines[0]


def test_waiting_ends_when_the_server_comes(tmp_path):
    with PostgresServer(own=True, fsync=False) as server:
        server.process.stop()
        lines = []
        waiting = threading.Thread(
            target=migrate,
            args=("scratch", PACKAGE, server.url),
            kwargs={"wait": True, "report": lines.append},
        )
        waiting.start()
        end = time.monotonic() + 10
        while not lines:
            assert time.monotonic() < end
            time.sleep(0.01)
        server.restart()
        waiting.join(30)
        assert stored(server.url) == "0002"


class FullDisk:
    """A file system on which files can be made, and no byte be written."""

    def __call__(self, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_full_disk_is_said_at_once(url, monkeypatch):
    monkeypatch.setattr("signalbox.common.storage.sqlite.lock.os.pwrite", FullDisk())
    with pytest.raises(StorageUnavailable, match="No space left on device; make room"):
        migrate("scratch", PACKAGE, url, wait=True, wait_s=3600)


def test_a_directory_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable, match="SIGNALBOX_DATA"):
        migrate("scratch", PACKAGE, f"sqlite:///{tmp_path / 'file' / 'm.db'}", wait=True, wait_s=3600)
