"""The replicated shape: several ``signalbox up`` over one PostgreSQL and one Redis, each reached by its own URL."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psycopg
from psycopg.rows import dict_row
from support.probe_backend import ProbeBackend
from support.public_api import PublicApi
from support.systems import READY_S, probe_document, publish
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider
from signalbox_local import OneProcess, PostgresServer, RedisServer


class Replicas:
    """Replicas with the probe workflow published, their stores, their model and their backend.

    Use as a context manager. ``env`` adds to the settings of every replica.
    """

    def __init__(self, directory: Path, count: int = 3, env: Mapping[str, str] | None = None) -> None:
        self.postgres = PostgresServer(own=True)
        self.redis = RedisServer(own=True)
        self.provider = FakeProvider(process=True)
        self.backend = ProbeBackend()
        self.processes: list[OneProcess] = []
        self._directory = directory
        self._count = count
        self._env = dict(env or {})
        self._database = "replicas"
        self._held = ExitStack()

    @property
    def database_url(self) -> str:
        """URL of the database of all replicas."""
        return self.postgres.url_of(self._database)

    @property
    def urls(self) -> list[str]:
        """Base URL of each replica."""
        return [process.edge_url for process in self.processes]

    def apis(self) -> list[PublicApi]:
        """A client of each replica, without a credential; the caller closes them."""
        return [PublicApi(url, None) for url in self.urls]

    def publish(self, **changes: object) -> str:
        """Publish the probe workflow, with other members, and wait until every replica serves it; its hash."""
        document = {**probe_document(self.backend.url), **changes}
        apis = self.apis()
        try:
            snapshot = publish(apis[0], document)["snapshot"]
            assert isinstance(snapshot, dict)
            wanted = str(snapshot["config_hash"])
            for api in apis:
                eventually(
                    lambda api=api: _serves(api, document, wanted), f"{api.url} serves the release", 15
                )
            return wanted
        finally:
            for api in apis:
                api.close()

    def rows(self, table: str, **where: str) -> list[dict[str, object]]:
        """Rows of a table whose columns have these values, oldest first."""
        condition = " AND ".join(f"{name} = %({name})s" for name in where) or "true"
        query = f"SELECT * FROM {table} WHERE {condition} ORDER BY created_at"
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, where).fetchall()  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        """Start everything."""
        try:
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        """End everything."""
        self._held.close()

    def _start(self) -> None:
        for part in (self.postgres, self.redis, self.provider, self.backend):
            self._held.enter_context(part)
        self.postgres.ensure_database(self._database)
        env = {
            "SIGNALBOX_DATABASE_URL": self.database_url,
            "SIGNALBOX_REDIS_URL": self.redis.url,
            "SIGNALBOX_SERVICE_SECRET": secrets.token_urlsafe(48),
            "OPENAI_BASE_URL": self.provider.base_url,
            "OPENAI_API_KEY": "any",
            "SIGNALBOX_MODEL": "fake-model",
            "SIGNALBOX_OLLAMA_URL": "",
            "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
            **self._env,
        }
        self.processes = [
            OneProcess(self._directory / f"replica-{number}", env=env) for number in range(self._count)
        ]
        for process in self.processes:
            self._held.callback(process.stop)
        # The first one makes the tables; the others would wait for it anyway.
        self.processes[0].start(READY_S)
        with ThreadPoolExecutor(self._count) as pool:
            for _ in pool.map(lambda process: process.start(READY_S), self.processes[1:]):
                pass
        self.publish()


def _serves(api: PublicApi, document: Mapping[str, object], config_hash: str) -> bool:
    workflow = document["workflow_id"]
    first = api.stream("say ready", workflow_id=workflow)[0]
    return first.data.get("config_hash") == config_hash
