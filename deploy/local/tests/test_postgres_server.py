"""A real PostgreSQL server: databases, what survives a kill, freezing, and what it says without binaries."""

import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from signalbox_local import (
    BinaryNotFoundError,
    NotManagedError,
    PortTakenError,
    PostgresServer,
    port_is_free,
    postgres_binaries,
)
from signalbox_local.postgres_binaries import URL_VARIABLE
from signalbox_local.readiness import answers_line

SSL_REQUEST = struct.pack("!II", 8, 80877103)  # PostgreSQL's protocol: answered by one byte, S or N


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(own=True) as running:
        yield running


def rows(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute("SELECT value FROM kept ORDER BY value").fetchall()


def test_it_is_a_supported_version_that_syncs_to_disk(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        assert connection.info.server_version >= 150_000
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_each_database_is_empty_or_a_copy_of_its_template(server: PostgresServer) -> None:
    first = server.create_database("first")
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    copy = server.create_database("copy", template="first")
    assert rows(copy) == [(7,)]
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(server.create_database("first"))


def test_a_wrong_password_is_refused_and_the_socket_works(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url.replace("signalbox:", "signalbox:wrong"))
    with psycopg.connect(server.url, host=str(server.socket_directory)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_was_committed_survives_a_kill(server: PostgresServer) -> None:
    url = server.create_database("survivor")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (value int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("INSERT INTO kept VALUES (2)")
    assert server.restart().url_of("survivor") == url
    assert rows(url) == [(1,)]


def test_frozen_it_keeps_connections_open_and_answers_after_the_thaw(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        server.freeze()
        assert not answers_line(server.port, SSL_REQUEST, b"")()
        server.thaw()
        assert answers_line(server.port, SSL_REQUEST, b"N")()
        assert connection.execute("SELECT 5").fetchone() == (5,)


def test_a_given_directory_keeps_its_data_and_a_taken_port_is_named(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "cluster", own=True) as first:
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 3 AS value")
        port = first.port
        with pytest.raises(PortTakenError, match=str(port)):
            PostgresServer(port=port, own=True).start()
    assert port_is_free(port)
    with PostgresServer(tmp_path / "cluster", port=port, own=True) as second:
        assert rows(second.url) == [(3,)]


def test_a_server_given_by_url_is_used_and_tidied_but_never_killed(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, server.url)
    external = PostgresServer().start()
    assert not external.managed
    url = external.create_database("borrowed")
    psycopg.connect(url).close()
    with pytest.raises(NotManagedError, match="own=True"):
        external.kill()
    external.stop()
    with pytest.raises(psycopg.OperationalError, match="borrowed"):
        psycopg.connect(url)


def test_without_any_server_the_error_says_what_to_provide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_binaries, "_SYSTEM_DIRECTORIES", tmp_path)
    monkeypatch.setattr(postgres_binaries, "inside_package", lambda *_parts: None)
    with pytest.raises(BinaryNotFoundError, match=URL_VARIABLE):
        PostgresServer(own=True).start()
