"""A real PostgreSQL server for tests, benches and `make services`."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from signalbox_local.accounts import unprivileged_account
from signalbox_local.errors import LocalError, NotManagedError, NotReadyError
from signalbox_local.ports import HOST, free_port, require_free
from signalbox_local.postgres_binaries import URL_VARIABLE, postgres_directory
from signalbox_local.postgres_cluster import USER, PostgresCluster
from signalbox_local.processes import ManagedProcess

_SETTINGS: Mapping[str, str] = {"max_connections": "300", "shared_buffers": "64MB", "max_wal_size": "512MB"}


class PostgresServer:
    """One PostgreSQL server on the loopback address, or the one that ``SIGNALBOX_TEST_POSTGRES_URL`` names.

    ``directory`` keeps its data between runs; without it the data live in a temporary directory that `stop`
    removes. A root caller runs it as ``postgres`` or ``nobody``. ``fsync`` is on unless switched off, because
    durability is what is tested. ``settings`` adds server settings by name. ``own=True`` ignores the
    variable: for tests that kill, restart or freeze the server.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        own: bool = False,
    ) -> None:
        """Describe the server; nothing is created before `start`."""
        self._external = None if own else os.environ.get(URL_VARIABLE) or None
        self._directory = directory
        self._port = port
        self._settings = {**_SETTINGS, "fsync": "on" if fsync else "off", **(settings or {})}
        self._cluster: PostgresCluster | None = None
        self._process: ManagedProcess | None = None
        self._created: list[str] = []

    @property
    def managed(self) -> bool:
        """Whether the server is started here, so that it can be killed, restarted and frozen."""
        return self._external is None

    @property
    def process(self) -> ManagedProcess:
        """The server's process; raises `NotManagedError` for a server given by URL or not started."""
        if self._process is None:
            reason = "was not started" if self.managed else f"was given by {URL_VARIABLE}"
            message = (
                f"this PostgreSQL {reason}, so it has no process; start one with PostgresServer(own=True)"
            )
            raise NotManagedError(message)
        return self._process

    @property
    def url(self) -> str:
        """``postgresql://`` URL of the maintenance database, with user and password."""
        return self._external or self.url_of("postgres")

    @property
    def port(self) -> int:
        """TCP port of the server."""
        return urlsplit(self.url).port or 5432

    @property
    def socket_directory(self) -> Path:
        """Directory of the unix socket of a server started here."""
        return self._files().sockets

    def url_of(self, database: str) -> str:
        """URL of ``database`` on this server, whether it exists or not."""
        if self._external is not None:
            return urlunsplit(urlsplit(self._external)._replace(path=f"/{database}"))
        return f"postgresql://{USER}:{self._files().password}@{HOST}:{self._port}/{database}"

    def start(self, timeout: float = 60.0) -> Self:
        """Create the cluster if there is none, start it and wait until it answers a query.

        Raises `BinaryNotFoundError`, `PortTakenError`, or `NotReadyError` after ``timeout`` seconds; for a
        server given by URL `LocalError` when it does not answer.
        """
        if self._external is not None:
            self._check_external()
            return self
        account = unprivileged_account()
        binaries = postgres_directory(account)
        if self._port is None:
            self._port = free_port()
        require_free(self._port, "PostgreSQL")
        self._cluster = PostgresCluster(self._directory, account)
        self._cluster.initialise(binaries)
        settings = {
            **self._settings,
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": str(self._cluster.sockets),
        }
        self._process = ManagedProcess(
            "PostgreSQL",
            [
                str(binaries / "postgres"),
                f"-D{self._cluster.data}",
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            log=self._cluster.log,
            cwd=self._cluster.base,
            ready=self._answers,
            account=account,
            stop_signal=signal.SIGINT,
        )
        try:
            self._process.start(timeout)
        except NotReadyError:
            self.stop()
            raise
        return self

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create the database ``name``, as a copy of ``template`` when given, and return its URL.

        An older database of that name is replaced. On a server given by URL `stop` drops what was created.
        """
        self.drop_database(name)
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._execute(statement)
        self._created.append(name)
        return self.url_of(name)

    def ensure_database(self, name: str) -> str:
        """Return the URL of the database ``name``, which is created when there is none."""
        with psycopg.connect(self.url, connect_timeout=10) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        return self.url_of(name) if found else self.create_database(name)

    def drop_database(self, name: str) -> None:
        """Drop the database ``name`` with its connections; no-op when there is none."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, grace: float = 10.0) -> None:
        """Shut down (fast) and remove temporary data; on a server given by URL drop what was made here."""
        if self._external is not None:
            while self._created:
                self.drop_database(self._created.pop())
            return
        if self._process is not None:
            self._process.stop(grace)
        if self._cluster is not None:
            self._cluster.discard()
        self._process = self._cluster = None

    def kill(self) -> None:
        """SIGKILL the server with all its backends; `restart` recovers from the write-ahead log."""
        self.process.kill()

    def restart(self, timeout: float = 60.0) -> Self:
        """Start again on the same data and port, after a `kill` or a shutdown of what still runs."""
        self.process.restart(timeout)
        return self

    def freeze(self) -> None:
        """Stop answering while every connection stays open, until `thaw`."""
        self.process.freeze()

    def thaw(self) -> None:
        """Undo `freeze`."""
        self.process.thaw()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()

    def _files(self) -> PostgresCluster:
        if self._cluster is None:
            message = "this PostgreSQL has no address before it is started; call start() first"
            raise LocalError(message)
        return self._cluster

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _check_external(self) -> None:
        try:
            psycopg.connect(self.url, connect_timeout=10).close()
        except psycopg.Error as error:
            message = f"the PostgreSQL that {URL_VARIABLE} names does not answer: {error}"
            raise LocalError(message) from error
