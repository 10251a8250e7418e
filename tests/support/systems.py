"""Whole systems for the suites: the same tests run against one process, against services, or against a URL."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from support.probe_backend import ProbeBackend
from support.public_api import PublicApi
from support.shop_orders import ShopOrders
from support.stores import SqliteStores, StackStores, Stores
from support.waiting import eventually

from signalbox.common.documents import parse
from signalbox_fake_provider import DEFAULT_MODELS, FakeProvider
from signalbox_local import LocalSystem, OneProcess, ServicesStack
from signalbox_local.stack import SERVICES

ROOT = Path(__file__).parents[2]
SHOP_WORKFLOW = ROOT / "examples" / "shop" / "workflow.yaml"
PROBE_WORKFLOW = Path(__file__).with_name("probe_workflow.yaml")

URL_VARIABLE = "SIGNALBOX_TEST_URL"
KEY_VARIABLE = "SIGNALBOX_TEST_KEY"
OTHER_KEY_VARIABLE = "SIGNALBOX_TEST_OTHER_KEY"

OPERATOR_SCOPES = (
    "query",
    "act_for_users",
    "tools",
    "sessions:read",
    "sessions:delete",
    "approvals",
    "llm",
    "config:read",
    "config:write",
    "keys:write",
)
TENANTS = ("acme", "globex", "hooli")
"""The first has everything, the second is its neighbour, the third is there to be fuzzed."""
PRICED_MODEL = "fake-priced"
"""A model of the fake provider that has a price: where there is a budget, what has none is refused."""
READY_S = 90.0
WEBHOOK_SECRET = "whsec_c2lnbmFsYm94LXRlc3RzLXNpZ24td2ViaG9va3M="
"""What the first tenant's webhooks are signed with, as the secret ``webhook``."""

T = TypeVar("T")


class RunningSystem:
    """A system that answers, and what tests may know of it beyond its URL.

    ``local`` and ``stores`` are None for a system given by URL, ``provider`` and ``backend`` for one that uses
    none of ours.
    """

    def __init__(
        self,
        shape: str,
        url: str,
        *,
        local: LocalSystem | None = None,
        stores: Stores | None = None,
        provider: FakeProvider | None = None,
        backend: ProbeBackend | None = None,
        traces: Path | None = None,
        secret_values: dict[str, str] | None = None,
    ) -> None:
        self.shape = shape
        self.url = url
        self._local = local
        self._stores = stores
        self._provider = provider
        self._backend = backend
        self._traces = traces
        self.secret_values = secret_values or {}
        self.operators: dict[str, str] = {}
        self.marks: dict[str, str] = {}
        self._orders: ShopOrders | None = None

    @property
    def local(self) -> LocalSystem:
        """The processes, where they are ours."""
        return _have(self._local, "this needs a system that the tests start themselves")

    @property
    def stores(self) -> Stores:
        """The databases and caches, where they are ours."""
        return _have(self._stores, "this needs a system that the tests start themselves")

    @property
    def provider(self) -> FakeProvider:
        """The model provider."""
        return _have(self._provider, "this needs a system on the tests' own model provider")

    @property
    def backend(self) -> ProbeBackend:
        """The backend of the probe workflow."""
        return _have(self._backend, "this needs a system with the probe workflow")

    @property
    def traces(self) -> Path:
        """Directory of the span files."""
        return _have(self._traces, "this needs a system that the tests start themselves")

    @property
    def orders(self) -> ShopOrders:
        """Orders of the example shop."""
        if self._orders is None:
            self._orders = ShopOrders(self.local.directory / "shop.db")
        return self._orders

    @property
    def logs(self) -> list[Path]:
        """Log files of every process."""
        return sorted(self.local.logs.glob("*.log"))

    def workflow_urls(self) -> list[str]:
        """A base URL per Workflow replica; where there is one process, its own."""
        local = self.local
        return local.service_urls("workflow") if isinstance(local, ServicesStack) else [self.url]

    def service_urls(self) -> dict[str, str]:
        """A base URL of each service, past the edge; empty where they share one process."""
        local = self.local
        if not isinstance(local, ServicesStack):
            return {}
        return {name: local.service_urls(name)[0] for name in SERVICES}

    def service_secret(self) -> str:
        """What signs the tokens of calls between services."""
        return self.local.environment()["SIGNALBOX_SERVICE_SECRET"]


def _have(value: T | None, reason: str) -> T:
    if value is None:
        pytest.skip(reason)
    return value


class Systems:
    """Starts systems side by side, each when it is first wanted or announced, and ends them."""

    def __init__(self, start: dict[str, Callable[[ExitStack], RunningSystem]]) -> None:
        self._start = start
        self._pool = ThreadPoolExecutor(max_workers=4)
        self._running: dict[str, Future[tuple[ExitStack, RunningSystem]]] = {}

    def announce(self, shapes: Iterable[str]) -> None:
        """Begin to start those, without waiting."""
        for shape in shapes:
            if shape not in self._running:
                self._running[shape] = self._pool.submit(self._open, shape)

    def get(self, shape: str) -> RunningSystem:
        """The running system of a shape."""
        self.announce([shape])
        return self._running[shape].result()[1]

    def release(self, shape: str) -> None:
        """End it."""
        future = self._running.pop(shape, None)
        if future is not None and future.exception() is None:
            future.result()[0].close()

    def stop(self) -> None:
        """End all."""
        for shape in list(self._running):
            self.release(shape)
        self._pool.shutdown()

    def _open(self, shape: str) -> tuple[ExitStack, RunningSystem]:
        with ExitStack() as stack:
            running = self._start[shape](stack)
            return stack.pop_all(), running
        raise AssertionError("unreachable")


def full_environment(provider: FakeProvider, provider_key: str) -> dict[str, str]:
    """What the contract suite runs with: API keys, models of the fake provider, loopback backends allowed."""
    return {
        "SIGNALBOX_AUTH": "keys",
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": provider_key,
        "SIGNALBOX_MODEL": "fake-model",
        "SIGNALBOX_OLLAMA_URL": "",
        "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
    }


def one_process(stack: ExitStack, directory: Path, env: dict[str, str]) -> OneProcess:
    """``signalbox up`` on SQLite, not started."""
    traces = {"SIGNALBOX_TRACE_FILE": str(directory / "traces" / "process.jsonl")}
    system = OneProcess(directory, env={**traces, **env}, shop=True)
    stack.callback(system.stop)
    return system


def services(stack: ExitStack, directory: Path, env: dict[str, str], *, replicas: int = 1) -> ServicesStack:
    """Six services on PostgreSQL, Redis and Traefik, not started."""
    traces = {
        name: {"SIGNALBOX_TRACE_FILE": str(directory / "traces" / f"{name}.jsonl")} for name in SERVICES
    }
    system = ServicesStack(directory, env=env, service_env=traces, shop=True, replicas={"workflow": replicas})
    stack.callback(system.stop)
    return system


def start_full(stack: ExitStack, shape: str, directory: Path) -> RunningSystem:
    """A system of a shape with keys, two tenants, the fake provider and both workflows published."""
    provider = stack.enter_context(FakeProvider(process=True, models=(*DEFAULT_MODELS, PRICED_MODEL)))
    backend = stack.enter_context(ProbeBackend())
    provider_key = f"provider-{secrets.token_hex(16)}"
    vault = directory / "secrets" / TENANTS[0]
    prices = directory / "prices.yaml"
    prices.parent.mkdir(parents=True, exist_ok=True)
    prices.write_text(f"prices: [{{deployment: openai/{PRICED_MODEL}, input: 1, output: 4}}]\n")
    env = {
        **full_environment(provider, provider_key),
        "SIGNALBOX_SECRETS_DIR": str(vault.parent),
        "SIGNALBOX_LLM_DEPLOYMENTS_FILE": str(prices),
    }
    local: LocalSystem
    stores: Stores
    if shape == "one_process":
        local = one_process(stack, directory, env)
        stores = SqliteStores(local)
        _give_shop_token(local, vault)
        local.run_cli("migrate")
        operators = {tenant: _first_key(local, tenant) for tenant in TENANTS}
        local.start(READY_S)
    else:
        local = services(stack, directory, env, replicas=2)
        stores = StackStores(local)
        _give_shop_token(local, vault)
        local.start(READY_S)
        operators = {tenant: _first_key(local, tenant) for tenant in TENANTS}
    running = RunningSystem(
        shape,
        local.edge_url,
        local=local,
        stores=stores,
        provider=provider,
        backend=backend,
        traces=directory / "traces",
        secret_values={"provider key": provider_key, "shop token": _shop_token(local)},
    )
    running.operators = operators
    _publish_all(running)
    return running


def _publish_all(running: RunningSystem) -> None:
    for tenant, key in running.operators.items():
        api = PublicApi(running.url, key)
        eventually(lambda api=api: _knows_key(api), f"the key of {tenant} works", 15.0)
        if tenant == TENANTS[0]:
            publish(api, shop_document())
            publish(api, probe_document(running.backend.url))
        else:
            publish(api, {**probe_document(running.backend.url), "greeting": f"Welcome to {tenant}."})
        api.close()


def _knows_key(api: PublicApi) -> bool:
    status = api.http.get("/admin/api/v1/workflows").status_code
    if status not in {200, 401}:
        raise RuntimeError(f"Admin answers {status} where a key is tried")
    return status == 200


def _first_key(local: LocalSystem, tenant: str) -> str:
    scopes = [part for scope in OPERATOR_SCOPES for part in ("--scope", scope)]
    # Its standard error says the key's id; the key alone is on standard output.
    return local.run_cli(
        "keys", "create", "--offline", "--tenant", tenant, "--name", f"operator of {tenant}", *scopes
    ).strip()


def _give_shop_token(local: LocalSystem, vault: Path) -> None:
    """The first tenant's secret; the environment has it for the default tenant only."""
    vault.mkdir(parents=True, mode=0o700)
    (vault / "shop-token").write_text(_shop_token(local))
    (vault / "webhook").write_text(WEBHOOK_SECRET)


def _shop_token(local: LocalSystem) -> str:
    assert local.shop is not None
    return local.shop.environment["SIGNALBOX_SECRET_SHOP_TOKEN"]


def publish(api: PublicApi, document: dict[str, object], **more: object) -> dict[str, object]:
    """Publish a document and return the answer. Raises Problem."""
    reply: dict[str, object] = api.call(
        "POST", "/admin/api/v1/publish", json={"document": document, **more}, timeout=60
    )
    return reply


def shop_document() -> dict[str, object]:
    """The example's workflow."""
    document: dict[str, object] = parse(SHOP_WORKFLOW.read_bytes())
    return document


def probe_document(backend_url: str) -> dict[str, object]:
    """A workflow whose tools call the probe backend."""
    document: dict[str, object] = parse(PROBE_WORKFLOW.read_bytes())
    document["variables"] = {"backend": backend_url}
    return document


def start_external(_: ExitStack) -> RunningSystem:
    """The system that the environment names."""
    running = RunningSystem("external", os.environ[URL_VARIABLE].rstrip("/"))
    if KEY_VARIABLE in os.environ:
        running.operators[TENANTS[0]] = os.environ[KEY_VARIABLE]
    if OTHER_KEY_VARIABLE in os.environ:
        running.operators[TENANTS[1]] = os.environ[OTHER_KEY_VARIABLE]
    return running


def run_signalbox(
    *arguments: str, env: dict[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """``signalbox ARGUMENTS`` to its end, whatever its status."""
    return subprocess.run(
        [sys.executable, "-m", "signalbox.common.cli", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
