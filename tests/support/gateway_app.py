"""A gateway on a socket, for tests that put the fake provider behind it."""

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from openai import OpenAI

from signalbox.common.storage.migrations import migrate
from signalbox.llm_gateway.app import create_app
from signalbox.llm_gateway.settings import GatewaySettings
from signalbox_fake_provider import FakeProvider

DEADLINE_S = 10.0


class RunningGateway:
    """A gateway that serves on a free port in a thread, with its ledger in a SQLite file, if not told another."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.settings = GatewaySettings(data=directory, ollama_url="", **{"database_url": None, **settings})
        self._file = directory / "llm_gateway.db"
        self._listener = _listener(0)
        self._port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        migrate(
            "llm_gateway",
            "signalbox.llm_gateway.migrations",
            self.settings.database_url_of("llm_gateway"),
        )
        app = create_app(self.settings)
        lane = app.state.fast_lane
        config = uvicorn.Config(
            app,
            http="httptools" if lane is None else lane(None),
            log_config=None,
            lifespan="on",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        wait_for(lambda: self._server is not None and self._server.started)

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(DEADLINE_S)
            assert not self._thread.is_alive()
            self._server = None

    def restart(self) -> None:
        """Another gateway over the same data, at the same address."""
        self.stop()
        self._listener = _listener(self._port)
        self.start()

    def client(self, key: str = "local", **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/llm/v1", api_key=key, max_retries=0, **options)

    def rows(self, table: str = "ledger_calls") -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]

    def wait_for_rows(self, count: int) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.rows()) >= count)
        return self.rows()


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def wait_for(condition: Callable[[], bool], timeout: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition does not come true")
        threading.Event().wait(0.01)


def deployment(at: FakeProvider, model: str = "alias", **fields: Any) -> dict[str, Any]:
    """A deployment at the fake provider, priced at 1 USD and 2 USD for a million tokens in and out."""
    return {
        "model": model,
        "upstream_model": "fake-model",
        "provider": "openai-compatible",
        "base_url": at.base_url,
        "price": {"input": "1", "output": "2"},
        **fields,
    }
