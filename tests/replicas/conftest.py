"""Three replicas for the suites about turns that run on several; each test uses sessions of its own."""

from collections.abc import Iterator

import pytest
from support.public_api import PublicApi
from support.replicas import Replicas


@pytest.fixture(scope="session")
def running_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Three processes over one PostgreSQL and one Redis."""
    with Replicas(tmp_path_factory.mktemp("replicas")) as running:
        yield running


@pytest.fixture
def replicas(running_replicas: Replicas) -> Iterator[Replicas]:
    """The replicas, with no script left in their model."""
    running_replicas.provider.reset()
    yield running_replicas
    running_replicas.provider.reset()


@pytest.fixture
def apis(replicas: Replicas) -> Iterator[list[PublicApi]]:
    """A client of each replica."""
    made = replicas.apis()
    yield made
    for api in made:
        api.close()
