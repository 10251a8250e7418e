"""Gateway processes over one Redis and one PostgreSQL, and looks into both."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
from psycopg.rows import dict_row
from support.gateway_app import wait_for

from signalbox_local import free_port

SECRET = "replicas-of-one-gateway-share-this"


def ledger_rows(url: str, table: str = "ledger_calls") -> list[dict[str, Any]]:
    """The rows of a table of the gateway, oldest first."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY created_at").fetchall()  # type: ignore[arg-type]


def counters(url: str) -> dict[str, Any]:
    """What Redis counts now, without windows, which expire: slots, and open calls by process that it knows to live."""
    found: dict[str, Any] = {}
    with redis.Redis.from_url(url, decode_responses=True) as client:
        for name in client.scan_iter("sb:a:parallel:*"):
            found[name] = int(client.get(name) or 0)
        for owner in client.hkeys("sb:a:processes"):
            if calls := client.hlen(f"sb:a:calls:{owner}"):
                found[owner] = calls
    return found


class GatewayProcess:
    """``signalbox serve llm_gateway`` over the stores and the file that it is given."""

    def __init__(
        self, directory: Path, redis_url: str, database_url: str, file: Path, **settings: Any
    ) -> None:
        self._port = free_port()
        self._directory = directory
        self.url = f"http://127.0.0.1:{self._port}"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SIGNALBOX_", "OPENAI_"))
        }
        self._environment = {
            **clean,
            "SIGNALBOX_DATA": str(directory),
            "SIGNALBOX_OLLAMA_URL": "",
            "SIGNALBOX_REDIS_URL": redis_url,
            "SIGNALBOX_DATABASE_URL": database_url,
            "SIGNALBOX_LLM_DEPLOYMENTS_FILE": str(file),
            "SIGNALBOX_SERVICE_SECRET": SECRET,
            **{f"SIGNALBOX_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "log"

    def start(self) -> "GatewayProcess":
        """Start it, and wait until it is ready."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "signalbox.common.cli",
                    "serve",
                    "llm_gateway",
                    "--port",
                    str(self._port),
                ],
                env=self._environment,
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        wait_for(self.ready, timeout=60)
        return self

    def ready(self) -> bool:
        """Whether it says that all that it needs works."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout: float = 20) -> int:
        """Its exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def stop(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
