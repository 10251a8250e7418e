"""The ledger while PostgreSQL is gone, frozen, slow or in a deadlock: calls are served, and each has one row."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import psycopg
import pytest
from support.gateway_app import RunningGateway, deployment, wait_for

from signalbox_local import PostgresServer

CALL = {"model": "alias", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(own=True, fsync=False, settings={"deadlock_timeout": "2s"}) as server:
        yield server


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.create_database("ledger")


@pytest.fixture
def start(start_gateway, provider, url):
    """Starts a gateway whose ledger is in ``url``."""

    def start(**settings: Any) -> RunningGateway:
        return start_gateway(llm_deployments=[deployment(provider)], database_url=url, **settings)

    return start


def ask(gateway: RunningGateway) -> httpx.Response:
    return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=CALL, timeout=20)


def served(gateway: RunningGateway, count: int) -> set[str]:
    """The ids of so many calls, of which each was answered at once."""
    answers = []
    for _ in range(count):
        started = time.monotonic()
        answers.append(ask(gateway))
        assert time.monotonic() - started < 2
    assert [answer.status_code for answer in answers] == [200] * count
    return {answer.headers["signalbox-llm-call-id"] for answer in answers}


def written(url: str) -> list[str]:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        return [call_id for (call_id,) in connection.execute("SELECT call_id FROM ledger_calls")]


def check_complete(url: str, ids: set[str]) -> None:
    """Every call has its row, with its attempt, and none has two."""
    wait_for(lambda: len(written(url)) >= len(ids), timeout=20)
    assert sorted(written(url)) == sorted(ids)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        found = connection.execute("SELECT call_id, number FROM ledger_attempts").fetchall()
    assert sorted(found) == [(call_id, 1) for call_id in sorted(ids)]


def test_calls_are_served_while_the_database_is_gone_and_all_have_a_row_afterwards(start, postgres, url):
    gateway = start()
    ids = served(gateway, 3)
    wait_for(lambda: len(written(url)) == 3)
    postgres.kill()
    try:
        ids |= served(gateway, 20)
    finally:
        postgres.restart()
    ids |= served(gateway, 1)
    check_complete(url, ids)


def test_calls_are_served_while_the_database_is_frozen_and_all_have_a_row_afterwards(start, postgres, url):
    gateway = start()
    ids = served(gateway, 1)
    postgres.freeze()
    try:
        ids |= served(gateway, 10)
    finally:
        postgres.thaw()
    check_complete(url, ids)


def test_with_too_many_rows_waiting_calls_are_refused_instead_of_lost_from_the_books(start, postgres, url):
    gateway = start(ledger_max_waiting=5)
    postgres.kill()
    try:
        ids = served(gateway, 5)
        refused = ask(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
        assert refused.headers["retry-after"] == "2"
    finally:
        postgres.restart()
    wait_for(lambda: len(written(url)) == 5, timeout=20)
    ids |= served(gateway, 1)
    check_complete(url, ids)


def test_rows_wait_for_a_slow_database_and_calls_do_not(start, url):
    gateway = start()
    with closing(psycopg.connect(url)) as other:
        other.execute("LOCK TABLE ledger_calls IN SHARE MODE")
        ids = served(gateway, 20)
        wait_for(lambda: waits_for_a_lock(url))
        ids |= served(gateway, 5)
        assert written(url) == []
        other.rollback()
    check_complete(url, ids)


def test_a_deadlock_costs_no_row_and_doubles_none(start, url):
    gateway = start()
    with closing(psycopg.connect(url)) as other:
        # The gateway writes calls, then attempts; the other one takes them the other way round, and is in no hurry to
        # look for a deadlock, so that it is the gateway's transaction that ends.
        other.execute("SET deadlock_timeout = '1min'")
        other.execute("LOCK TABLE ledger_attempts IN SHARE MODE")
        ids = served(gateway, 5)
        wait_for(lambda: waits_for_a_lock(url))
        with ThreadPoolExecutor(1) as pool:
            crossing = pool.submit(other.execute, "LOCK TABLE ledger_calls IN SHARE MODE")
            ids |= served(gateway, 5)
            crossing.result(timeout=10)
        other.rollback()
    check_complete(url, ids)
    wait_for(lambda: deadlocks(url) == 1)


def waits_for_a_lock(url: str) -> bool:
    """Whether a writer of the ledger waits for a lock."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE '%ledger_%'"
        ).fetchone()
    return row is not None and row[0] > 0


def deadlocks(url: str) -> int:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    return row[0] if row else 0
