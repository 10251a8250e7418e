"""Who asks of a whole system: a user and the operator of one tenant, and the operator of another."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.public_api import PublicApi
from support.systems import KEY_VARIABLE, TENANTS, RunningSystem

from signalbox_fake_provider import FakeProvider

PROBE = {"workflow_id": "probe"}


def _api(system: RunningSystem, tenant: str) -> PublicApi:
    key = system.operators.get(tenant)
    if key is None and (system.shape != "external" or tenant != TENANTS[0]):
        pytest.skip(f"no key is given for {tenant}")
    return PublicApi(system.url, key)


@pytest.fixture(scope="session")
def admin_client(system: RunningSystem) -> Iterator[PublicApi]:
    """The operator of the first tenant: every scope that a key can have."""
    api = _api(system, TENANTS[0])
    if system.shape == "external" and api.http.get("/admin/api/v1/workflows").status_code == 404:
        pytest.skip("no Admin is at this URL")
    yield api
    api.close()


@pytest.fixture(scope="session")
def client(system: RunningSystem, request: pytest.FixtureRequest) -> Iterator[PublicApi]:
    """A user of the first tenant, with a key of its own that may ask and call models."""
    if not system.operators:
        api = _api(system, TENANTS[0])
    else:
        operator: PublicApi = request.getfixturevalue("admin_client")
        made = operator.call("POST", "/admin/api/v1/keys", json={"name": "user", "scopes": ["query", "llm"]})
        system.secret_values["user key"] = made["key"]
        api = PublicApi(system.url, made["key"])
    yield api
    api.close()


@pytest.fixture(scope="session")
def other(system: RunningSystem) -> Iterator[PublicApi]:
    """The operator of the second tenant."""
    api = _api(system, TENANTS[1])
    yield api
    api.close()


@pytest.fixture
def with_keys(system: RunningSystem) -> None:
    """For tests of an installation that asks who calls."""
    if not system.operators:
        pytest.skip(f"this installation is used without a key: {KEY_VARIABLE} is not set")


@pytest.fixture
def provider(system: RunningSystem) -> Iterator[FakeProvider]:
    """The model provider, without a script before and after."""
    yielded = system.provider
    yielded.reset()
    yield yielded
    yielded.reset()


@pytest.fixture
def probe(system: RunningSystem) -> dict[str, Any]:
    """Further members of a query for the probe workflow."""
    assert system.backend.url
    return dict(PROBE)
