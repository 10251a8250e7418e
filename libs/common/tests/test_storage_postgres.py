"""PostgreSQL that restarts, freezes, is full of locks, or slow."""

import asyncio
import time

import psycopg
import pytest
from support.scratch_tables import ADD_ACCOUNT, ADD_BODY, ADVANCE, ALL_ENTRIES, GET_ACCOUNT

from signalbox.common.storage import SchemaMissing, Statement, StorageUnavailable, Write, open_database
from signalbox.common.storage.migrations import migrate
from signalbox.common.storage.postgres import PostgresDatabase
from signalbox_local import PostgresServer

A = {"of_tenant": "t", "of_id": "a"}


@pytest.fixture(scope="module")
def server():
    with PostgresServer(own=True, fsync=False, settings={"deadlock_timeout": "20ms"}) as server:
        migrate("scratch", "support.scratch_migrations", server.url)
        yield server


@pytest.fixture
async def database(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("TRUNCATE accounts, entries")
    database = PostgresDatabase(server.url, pool_size=4, timeout_s=1.0)
    yield database
    await database.close()


def body(seq):
    return Write(ADD_BODY, {"seq": seq, "body": "x"})


async def connections(server):
    with psycopg.connect(server.url) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'signalbox'"
        ).fetchone()[0]


async def until(condition, deadline_s=10.0):
    end = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_restart_is_survived_without_one_failing_call_after_it(server, database):
    await asyncio.gather(*(database.write(body(seq)) for seq in range(20)))
    server.restart()
    await asyncio.gather(*(database.write(body(100 + seq)) for seq in range(20)))
    assert len(await database.fetch_all(ALL_ENTRIES)) == 40


async def test_a_server_that_is_away_is_said_at_once(server, database):
    await database.write(body(1))
    server.process.stop()
    try:
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await database.write(body(2))
        with pytest.raises(StorageUnavailable):
            await database.ping()
        assert time.monotonic() - began < 0.9
    finally:
        server.restart()
    await database.ping()
    assert [row["seq"] for row in await database.fetch_all(ALL_ENTRIES)] == [1]


async def test_a_kill_in_mid_flight_fails_what_runs_and_nothing_hangs(server, database):
    slow = Statement("SELECT pg_sleep(0.8)")
    running = [asyncio.create_task(database.fetch_all(slow)) for _ in range(4)]
    await until(lambda: _sleeping(server, 4))
    server.kill()
    began = time.monotonic()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes), outcomes
    assert time.monotonic() - began < 0.9
    server.restart()
    await database.write(body(1))


async def _sleeping(server, number):
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        ).fetchone()
        return row[0] == number


async def test_a_frozen_server_costs_nobody_more_than_the_timeout(server, database):
    await asyncio.gather(*(database.write(body(seq)) for seq in range(10)))
    server.freeze()
    try:
        began = time.monotonic()
        # More callers than connections: some are answered by nobody, some wait for those.
        outcomes = await asyncio.gather(
            *(database.write(body(100 + seq)) for seq in range(20)),
            *(database.fetch_all(ALL_ENTRIES) for _ in range(5)),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
        assert time.monotonic() - began < 1.6
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await database.ping()
        assert time.monotonic() - began < 1.3
    finally:
        server.thaw()
    await database.ping()
    await asyncio.gather(*(database.write(body(200 + seq)) for seq in range(10)))


async def test_callers_queue_for_connections_and_the_pool_keeps_its_size(server, database):
    await asyncio.gather(*(database.write(body(seq)) for seq in range(300)))
    assert len(await database.fetch_all(ALL_ENTRIES)) == 300
    assert await connections(server) == 4


async def test_cancelled_callers_neither_leak_nor_close_connections(server, database):
    await asyncio.gather(*(database.ping() for _ in range(4)))
    pids = {await _pid(database) for _ in range(4)}
    for round_ in range(20):
        tasks = [asyncio.create_task(database.write(body(round_ * 100 + seq))) for seq in range(30)]
        for _ in range(round_ % 5):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(database.ping() for _ in range(20)))
    assert await connections(server) == 4
    assert pids <= set(await _pids(server))


async def _pid(database):
    statement = Statement("SELECT pg_backend_pid() AS pid")
    return (await database.fetch_one(statement))["pid"]


async def _pids(server):
    with psycopg.connect(server.url) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'signalbox'")
        return [row[0] for row in rows]


async def test_lists_that_deadlock_are_repeated(server, database):
    await database.write(
        *(Write(ADD_ACCOUNT, {"tenant": "t", "id": name, "email": None}) for name in ("a", "b"))
    )
    plus = Statement("UPDATE accounts SET version = version + 1 WHERE tenant = :of_tenant AND id = :of_id")
    pause = Write(Statement("SELECT pg_sleep(0.1)"))

    def both(first, second):
        one, other = (Write(plus, {"of_tenant": "t", "of_id": name}, 1) for name in (first, second))
        return database.write(one, pause, other)

    await asyncio.gather(both("a", "b"), both("b", "a"))
    rows = [await database.fetch_one(GET_ACCOUNT, {"of_tenant": "t", "of_id": name}) for name in ("a", "b")]
    assert [row["version"] for row in rows] == [2, 2]
    assert "deadlock detected" in server.process.log.read_text()


async def test_a_lock_that_is_not_released_ends_with_the_timeout(server, database):
    await database.write(Write(ADD_ACCOUNT, {"tenant": "t", "id": "a", "email": None}))
    with psycopg.connect(server.url) as holder:
        holder.execute("SELECT * FROM accounts FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await database.write(Write(ADVANCE, {**A, "seen": 0}, 1))
        assert 0.9 < time.monotonic() - began < 1.5
        # The server gives up as well: no backend goes on waiting for the lock.
        await until(lambda: _nobody_waits(server))
    assert (await database.fetch_one(GET_ACCOUNT, A))["version"] == 0


async def _nobody_waits(server):
    with psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchone()
        return row[0] == 0


async def test_statements_are_prepared_once_per_connection(server, database):
    database = PostgresDatabase(server.url, pool_size=1)
    listing = Statement("SELECT name, statement FROM pg_prepared_statements")
    for seq in range(5):
        await database.write(body(10_000 + seq), Write(GET_ACCOUNT, A, 0))
    for number in range(5):
        await database.fetch_all(Statement(f"SELECT {number}"))
    prepared = [row["statement"] for row in await database.fetch_all(listing)]
    assert len(prepared) == 2, prepared
    assert any(text.startswith("INSERT INTO entries") for text in prepared)
    await database.close()


async def test_a_statement_whose_preparation_fails_can_be_run_later(server):
    database = PostgresDatabase(server.url, pool_size=1)
    late = Statement("SELECT word FROM made_later")
    for _ in range(5):
        with pytest.raises(SchemaMissing):
            await database.fetch_all(late)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE made_later (word text)")
        connection.execute("INSERT INTO made_later VALUES ('now')")
        for _ in range(5):
            assert await database.fetch_all(late) == [{"word": "now"}]
        connection.execute("ALTER TABLE made_later ALTER word TYPE bigint USING 7")
        # The prepared plan no longer fits: noticed, and prepared anew on another connection.
        assert await database.fetch_all(late) == [{"word": 7}]
        connection.execute("DROP TABLE made_later")
    await database.close()


async def test_a_commit_means_the_disk_whatever_the_server_is_set_to(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET synchronous_commit = off")
        database = open_database(server.url, timeout_s=2.5)
        try:
            setting = Statement(
                "SELECT current_setting('synchronous_commit') AS commit, "
                "current_setting('statement_timeout') AS t"
            )
            assert await database.fetch_one(setting) == {"commit": "on", "t": "2500ms"}
        finally:
            await database.close()
            connection.execute("ALTER DATABASE postgres RESET synchronous_commit")
