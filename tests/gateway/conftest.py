"""A gateway on a socket, with the fake provider behind it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from support.databases import DatabaseSupply
from support.gateway_app import RunningGateway, deployment

from signalbox.common.storage.migrations import MigrationSource
from signalbox_fake_provider import FakeProvider
from signalbox_local import RedisServer


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
def provider(shared_provider: FakeProvider) -> FakeProvider:
    shared_provider.script([])
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def lane(request: pytest.FixtureRequest) -> bool:
    """Whether gateways have their fast lane: where a suite does not ask for both ways, they do."""
    return getattr(request, "param", True)


@pytest.fixture
def start_gateway(tmp_path: Path, lane: bool) -> Iterator[Callable[..., RunningGateway]]:
    """Starts gateways with settings of the test's choice."""
    running: list[RunningGateway] = []

    def start(**settings: Any) -> RunningGateway:
        gateway = RunningGateway(tmp_path / f"gateway{len(running)}", **{"llm_lane": lane, **settings})
        running.append(gateway)
        gateway.start()
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture
def gateway(start_gateway: Callable[..., RunningGateway], provider: FakeProvider) -> RunningGateway:
    """A gateway with the deployment ``alias`` (priced, renamed) and ``fake-small`` (unpriced, under its own name)."""
    return start_gateway(
        llm_deployments=[
            deployment(provider),
            deployment(provider, "fake-small", upstream_model=None, price=None),
            deployment(
                provider,
                "fake-embedding",
                upstream_model=None,
                capabilities={"embeddings": True, "chat": False},
            ),
        ]
    )


@pytest.fixture(scope="session")
def counting_redis() -> Iterator[RedisServer]:
    """A Redis for gateways that are started over it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def ledger_url(database_supply: DatabaseSupply, tmp_path: Path) -> str:
    """URL of a PostgreSQL database with the gateway's empty tables."""
    source = MigrationSource("llm_gateway", "signalbox.llm_gateway.migrations")
    return database_supply.url(source, "postgresql", tmp_path)


@pytest.fixture
def gateways(
    start_gateway: Callable[..., RunningGateway],
    provider: FakeProvider,
    counting_redis: RedisServer,
    ledger_url: str,
    tmp_path: Path,
) -> Callable[..., list[RunningGateway]]:
    """Starts gateways over one Redis, emptied, one PostgreSQL and one file, ``tmp_path / "gateway.yaml"``."""

    def start(
        count: int = 1,
        model: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        **file: Any,
    ) -> list[RunningGateway]:
        with redis.Redis.from_url(counting_redis.url) as client:
            client.flushall()
        path = tmp_path / "gateway.yaml"
        path.write_text(yaml.safe_dump({"deployments": [deployment(provider, **(model or {}))], **file}))
        stores = {"redis_url": counting_redis.url, "database_url": ledger_url}
        return [start_gateway(llm_deployments_file=path, **stores, **(settings or {})) for _ in range(count)]

    return start
