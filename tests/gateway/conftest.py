"""A gateway on a socket, with the fake provider behind it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway_app import RunningGateway, deployment

from signalbox_fake_provider import FakeProvider


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
