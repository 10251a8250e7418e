"""Our gateway as an operator would run it: keys, limits, budgets and the ledger on, on PostgreSQL and Redis."""

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
import yaml
from loads import MODELS, Missing, Subject
from machine import LOAD_CORE, on_core
from place import Place

from signalbox.common.auth.keys import create_key
from signalbox.contracts.admin import ChangesReply
from signalbox.contracts.identity import DEFAULT_TENANT, KeyRecord, Scope
from signalbox_local.companions import neutral_environment
from signalbox_local.ports import HOST, free_port
from signalbox_local.postgres import PostgresServer
from signalbox_local.redis import RedisServer
from signalbox_local.system import signalbox_command

NAME = "signalbox"
_PLENTY = 10**9
_LEDGER_S = 20.0
_COUNTED = ("requests", "tokens", "budget")
"""Words in the names of Redis's keys for limits that are counted over time, and for budgets."""


@dataclass(frozen=True, slots=True)
class _Books:
    """What a gateway's run has to show for itself: rows, counters, and its own account of what it counted."""

    database_url: str
    redis: RedisServer
    port: int

    def check(self, answered: int, sent: int) -> list[str]:
        """What is wrong with the books after a run, in sentences: each call has its row and was counted."""
        deadline = time.monotonic() + _LEDGER_S
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while (rows := self._rows(connection)) < answered and time.monotonic() < deadline:
                time.sleep(0.05)
        found = []
        if not answered <= rows <= sent:
            found.append(f"{answered} calls were answered and {sent} sent, but the ledger has {rows} rows")
        counted, uncounted = self._admitted("yes"), self._admitted("no")
        if counted < answered or uncounted:
            found.append(
                f"of {answered} calls, {counted:.0f} were counted against limits and budgets and {uncounted:.0f} "
                "admitted uncounted"
            )
        with redis.Redis.from_url(self.redis.url) as client:
            found += [f"Redis counted no {kind}" for kind in _COUNTED if not self._has_any(client, kind)]
        return found

    def _admitted(self, counted: str) -> float:
        """Calls that the gateway says it has admitted, counted or not."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        prefix = f'signalbox_llm_admitted_total{{counted="{counted}"}} '
        return next(
            (float(line[len(prefix) :]) for line in text.splitlines() if line.startswith(prefix)), 0.0
        )

    @staticmethod
    def _has_any(client: redis.Redis, kind: str) -> bool:
        return next(client.scan_iter(f"*{kind}*", count=1000), None) is not None

    @staticmethod
    def _rows(connection: psycopg.Connection[tuple[int]]) -> int:
        row = connection.execute("SELECT count(*) FROM ledger_calls").fetchone()
        return row[0] if row else 0


def _gateway_file(place: Place) -> str:
    """The gateway's file: priced deployments, and limits and budgets that apply to every call but refuse none."""
    deployments = [
        {
            "model": model,
            "provider": "openai-compatible",
            "base_url": place.provider_url,
            "price": {"input": "1", "output": "2"},
        }
        for model in MODELS
    ]
    counted = {"requests": _PLENTY, "tokens": _PLENTY * 1000, "parallel": _PLENTY}
    limits = [
        {"name": f"per-{of}", "tenant": DEFAULT_TENANT, "of": of, **counted}
        for of in ("tenant", "key", "model")
    ]
    budgets = [
        {"name": f"{of}-month", "tenant": DEFAULT_TENANT, "of": of, "amount": "1000000", "window": "month"}
        for of in ("tenant", "key")
    ]
    return yaml.safe_dump({"deployments": deployments, "limits": limits, "budgets": budgets})


@contextmanager
def gateway(place: Place) -> Iterator[Subject]:
    """`signalbox serve llm_gateway` with everything on; its stores run on the load's core."""
    new = create_key()
    key = KeyRecord(
        key_id=new.key_id,
        tenant=DEFAULT_TENANT,
        name="bench",
        secret_sha256=new.secret_sha256,
        scopes=frozenset({Scope.LLM}),
        created_at=int(time.time() * 1000),
    )
    data = place.directory / NAME
    (data / "llm_gateway").mkdir(parents=True)
    file = data / "gateway.yaml"
    file.write_text(_gateway_file(place))
    # What a gateway keeps of Admin's keys: it serves them while Admin is away, as it is here.
    kept = ChangesReply(revision=1, releases=[], prepare=[], keys=[key])
    (data / "llm_gateway" / "feed.json").write_text(kept.model_dump_json())
    nobody = f"http://{HOST}:{free_port()}"
    with on_core(LOAD_CORE):
        postgres, store = PostgresServer(own=True).start(), RedisServer(own=True).start()
    try:
        environment = {
            "SIGNALBOX_AUTH": "keys",
            "SIGNALBOX_DATA": str(data),
            "SIGNALBOX_DATABASE_URL": postgres.create_database("bench"),
            "SIGNALBOX_REDIS_URL": store.url,
            "SIGNALBOX_SERVICE_SECRET": new.key,
            "SIGNALBOX_LLM_DEPLOYMENTS_FILE": str(file),
            "SIGNALBOX_OLLAMA_URL": nobody,
            "SIGNALBOX_ADMIN_URL": nobody,
            "SIGNALBOX_LOG_LEVEL": "warning",
        }
        _migrate(environment)
        port = free_port()
        subject = Subject(
            NAME,
            port,
            "/llm/v1/chat/completions",
            headers={"authorization": f"Bearer {new.key}"},
            stores=[postgres.process.pid, store.process.pid],
            check=_Books(environment["SIGNALBOX_DATABASE_URL"], store, port).check,
        )
        command = signalbox_command("serve", "llm_gateway", "--host", HOST, "--port", str(port))
        if place.profile is not None:
            command[1:3] = [str(Path(__file__).with_name("sampled.py")), str(place.profile)]
        with place.running(subject, command, env=environment) as running:
            yield running
    finally:
        store.stop()
        postgres.stop()


def _migrate(environment: dict[str, str]) -> None:
    done = subprocess.run(
        signalbox_command("migrate", "--wait"),
        env={**neutral_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Missing(f"the tables of the gateway cannot be made: {done.stdout}{done.stderr}")
