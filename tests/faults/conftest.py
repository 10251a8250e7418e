"""Systems to break: their own stores, so that killing one hurts nobody else. Each test leaves them whole."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import httpx
import pytest
from support.loaded_stack import LoadedStack, loaded_stack
from support.public_api import PublicApi
from support.systems import READY_S, SHOP_WORKFLOW, one_process
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider
from signalbox_local import OneProcess, PostgresServer, RedisServer, ServicesStack

WHOLE_S = 30.0


@pytest.fixture(scope="session")
def model() -> Iterator[FakeProvider]:
    """The model provider of the stack: echoes, until a test scripts it."""
    with FakeProvider(process=True) as provider:
        yield provider


@pytest.fixture(scope="session")
def running_stack(model: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicesStack]:
    """Six services with the example published, on PostgreSQL and Redis that may be killed."""
    env = {
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "any",
        "SIGNALBOX_OLLAMA_URL": "",
        "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
    }
    with ExitStack() as held:
        postgres = held.enter_context(PostgresServer(own=True))
        redis = held.enter_context(RedisServer(own=True))
        stack = ServicesStack(
            tmp_path_factory.mktemp("stack"), env=env, postgres=postgres, redis=redis, shop=True
        )
        held.callback(stack.stop)
        stack.start(READY_S)
        stack.run_cli("publish", str(SHOP_WORKFLOW), "--url", stack.edge_url)
        yield stack


@pytest.fixture
def stack(running_stack: ServicesStack, model: FakeProvider) -> Iterator[ServicesStack]:
    """The stack, whole before the test and whole after it."""
    model.reset()
    make_whole(running_stack)
    yield running_stack
    model.reset()
    make_whole(running_stack)


@pytest.fixture(scope="session")
def running_pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedStack]:
    """Two replicas of each service but Admin, two workers, and the workflow of the load."""
    with loaded_stack(tmp_path_factory.mktemp("pairs")) as loaded:
        yield loaded


@pytest.fixture
def pairs(running_pairs: LoadedStack) -> Iterator[LoadedStack]:
    """The stack of pairs, whole before the test and whole after it."""
    make_whole(running_pairs.stack)
    yield running_pairs
    make_whole(running_pairs.stack)


@pytest.fixture
def user(stack: ServicesStack) -> Iterator[PublicApi]:
    """A customer at the stack's edge."""
    api = PublicApi(stack.edge_url, None)
    yield api
    api.close()


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    """One process with the example published."""
    with ExitStack() as held:
        system = one_process(held, tmp_path_factory.mktemp("process"), {"SIGNALBOX_OLLAMA_URL": ""})
        system.start(READY_S)
        system.run_cli("publish", str(SHOP_WORKFLOW), "--url", system.edge_url)
        yield system


def make_whole(stack: ServicesStack) -> None:
    """Thaw and start whatever a test has left frozen or dead, and wait until everything is ready."""
    for store in (stack.postgres, stack.redis):
        if store.process.running:
            store.thaw()
        else:
            store.restart()
    parts = [part for name, part in stack.processes().items() if name not in {"postgres", "redis"}]
    for part in parts:
        if part.running:
            part.thaw()
        else:
            part.launch()
    for part in parts:
        part.wait_ready(WHOLE_S)
    eventually(partial(_asks, stack.edge_url), "the edge routes to Workflow again", WHOLE_S)


def _asks(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
