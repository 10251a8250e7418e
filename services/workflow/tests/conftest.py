"""A Workflow service over SQLite and the in-memory cache, for each test."""

import pytest
from support.workflow_stage import Stage


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def dialect():
    # Both databases run under the same repository tests (tests/storage); here one is enough.
    return "sqlite"


@pytest.fixture
async def stage(database):
    made = Stage(database)
    made.releases.publish()
    yield made
    await made.close()
