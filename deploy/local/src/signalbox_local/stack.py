"""The services shape on one machine: PostgreSQL, Redis, six services, workers, Traefik before them."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from signalbox_local.errors import LocalError
from signalbox_local.ports import HOST, free_port, require_free
from signalbox_local.postgres import PostgresServer
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_http
from signalbox_local.redis import RedisServer
from signalbox_local.system import (
    SERVICE_GRACE_SECONDS,
    STORE_GRACE_SECONDS,
    LocalSystem,
    all_at_once,
    signalbox_command,
)
from signalbox_local.traefik import ROUTED_SERVICES, TraefikServer

SERVICES = ("admin", "llm_gateway", "tools", "flows", "skills", "workflow")
_SECRET_FILE = "service-secret"  # noqa: S105 - a file name


class ServicesStack(LocalSystem):
    """The six services behind Traefik on PostgreSQL and Redis, with workers of background tasks.

    ``workers`` is the number of those; without any, Workflow's replicas do their work. ``replicas`` says how many
    processes a service has (one by default); callers reach all of them, through Traefik or by the comma-separated
    URLs in the environment. ``service_env`` adds to the environment of one service. ``postgres`` and ``redis`` are
    servers that run already and stay running: the stack takes a database of its own on the first, and the second
    must not be shared by stacks that run at the same time.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        edge_port: int | None = None,
        replicas: Mapping[str, int] | None = None,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        service_env: Mapping[str, Mapping[str, str]] | None = None,
        postgres: PostgresServer | None = None,
        redis: RedisServer | None = None,
        shop: bool = False,
        provider: bool | Path = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Describe the stack; nothing runs before `start`. Raises `LocalError` for a service that is none."""
        super().__init__(directory, env=env, shop=shop, provider=provider, on_progress=on_progress)
        unknown = {*(replicas or {}), *(service_env or {})} - set(SERVICES)
        if unknown:
            raise LocalError(
                f"no service is named {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}"
            )
        self.postgres = postgres or PostgresServer(self.directory / "postgres" if directory else None)
        self.redis = redis or RedisServer()
        self._own_postgres, self._own_redis = postgres is None, redis is None
        self._database = "signalbox" if postgres is None else f"signalbox_{secrets.token_hex(6)}"
        self._service_env = {name: dict(values) for name, values in (service_env or {}).items()}
        counts = {name: (replicas or {}).get(name, 1) for name in SERVICES}
        self._ports = {name: [free_port() for _ in range(count)] for name, count in counts.items()}
        self._worker_ports = [free_port() for _ in range(workers)]
        self._processes: dict[str, list[ManagedProcess]] = {}
        self._workers: list[ManagedProcess] = []
        self.traefik = TraefikServer(
            {name: self.service_urls(name) for name in ROUTED_SERVICES}, port=edge_port
        )
        self._edge_port = edge_port

    @property
    def edge_url(self) -> str:
        """Base URL of Traefik."""
        return self.traefik.url

    @property
    def database_url(self) -> str:
        """URL of the database of all services."""
        return self.postgres.url_of(self._database)

    def service_urls(self, name: str) -> list[str]:
        """Base URLs of the replicas of the service ``name``, past the edge."""
        return [f"http://{HOST}:{port}" for port in self._ports[name]]

    def service(self, name: str, index: int = 0) -> ManagedProcess:
        """The process of one replica of the service ``name``, to restart, kill or freeze it."""
        return self._processes[name][index]

    def worker(self, index: int = 0) -> ManagedProcess:
        """The process of one worker, to restart, kill or freeze it."""
        return self._workers[index]

    @property
    def workers(self) -> list[ManagedProcess]:
        """The processes of all workers."""
        return list(self._workers)

    def processes(self) -> dict[str, ManagedProcess]:
        """Every process of the running stack by its name: ``workflow-0``, ``worker-0``, ``postgres``, ``traefik``."""
        found = {process.name: process for process in self._ours()}
        found |= {companion.process.name: companion.process for companion in self._companions()}
        found["traefik"] = self.traefik.process
        for name, server in (("postgres", self.postgres), ("redis", self.redis)):
            if server.managed:
                found[name] = server.process
        return found

    def start(self, timeout: float = 60.0) -> Self:
        """Start stores, companions, services and the edge; each has ``timeout`` seconds to become ready."""
        if self._edge_port is not None:
            require_free(self._edge_port, "the edge")
        try:
            self._start_stores(timeout)
            self._start_companions(timeout)
            self.run_cli("migrate", "--wait")
            self._say("tables are up to date")
            self._start_services(timeout)
            self.traefik.start(timeout)
        except BaseException:
            self.stop()
            raise
        self._say(f"traefik: {self.edge_url}")
        return self

    def stop(self) -> None:
        """End everything, in less than five seconds, and remove temporary data."""
        processes = self._ours()
        all_at_once(
            [
                partial(self.traefik.stop, SERVICE_GRACE_SECONDS),
                *(partial(process.stop, SERVICE_GRACE_SECONDS) for process in processes),
                *self._stop_companions(),
            ]
        )
        stores = [self.postgres.stop] if self._own_postgres else []
        stores += [self.redis.stop] if self._own_redis else []
        all_at_once(partial(stop, STORE_GRACE_SECONDS) for stop in stores)
        self._discard()

    def _start_stores(self, timeout: float) -> None:
        if self._own_postgres:
            self.postgres.start(timeout)
        if self._own_redis:
            self.redis.start(timeout)
        self.postgres.ensure_database(self._database)
        self._say(f"postgres: {self.database_url}")
        self._say(f"redis: {self.redis.url}")

    def _start_services(self, timeout: float) -> None:
        environment = self.environment()
        self._processes = {
            name: [self._describe(name, index, environment) for index in range(len(ports))]
            for name, ports in self._ports.items()
        }
        self._workers = [
            self._describe_worker(index, environment) for index in range(len(self._worker_ports))
        ]
        processes = self._ours()
        for process in processes:
            process.launch()
        for process in processes:
            process.wait_ready(timeout)
            self._say(f"{process.name} is ready")

    def _ours(self) -> list[ManagedProcess]:
        return [*(process for group in self._processes.values() for process in group), *self._workers]

    def _describe(self, name: str, index: int, environment: Mapping[str, str]) -> ManagedProcess:
        more = self._service_env.get(name, {})
        return self._process(f"{name}-{index}", ["serve", name], self._ports[name][index], environment, more)

    def _describe_worker(self, index: int, environment: Mapping[str, str]) -> ManagedProcess:
        # A worker is Workflow's image, with Workflow's settings.
        more = self._service_env.get("workflow", {})
        return self._process(f"worker-{index}", ["worker"], self._worker_ports[index], environment, more)

    def _process(
        self,
        name: str,
        command: list[str],
        port: int,
        environment: Mapping[str, str],
        more: Mapping[str, str],
    ) -> ManagedProcess:
        data = self.directory / "data" / name
        data.mkdir(parents=True, exist_ok=True)
        return ManagedProcess(
            name,
            signalbox_command(*command, "--host", HOST, "--port", str(port)),
            log=self.logs / f"{name}.log",
            env={**environment, "SIGNALBOX_DATA": str(data), **more},
            ready=answers_http(f"http://{HOST}:{port}/ready"),
        )

    def _environment(self) -> dict[str, str]:
        peers = {f"SIGNALBOX_{name.upper()}_URL": ",".join(self.service_urls(name)) for name in SERVICES}
        return {
            **peers,
            "SIGNALBOX_DATABASE_URL": self.database_url,
            "SIGNALBOX_REDIS_URL": self.redis.url,
            "SIGNALBOX_SERVICE_SECRET": self._service_secret(),
            "SIGNALBOX_TASK_QUEUE": "celery" if self._worker_ports else "in_process",
            "SIGNALBOX_DATA": str(self.directory / "data"),
        }

    def _service_secret(self) -> str:
        file = self.directory / _SECRET_FILE
        if not file.exists():
            self._prepare()
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(48))
        return file.read_text()
