"""A shop whose data was generated on one fixed day, and a client that calls it without a socket."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from signalbox_example_shop.app import create_app
from signalbox_example_shop.database import ensure_database
from signalbox_example_shop.settings import Settings

# A Monday, at noon.
NOW = datetime(2026, 3, 16, 12, 0, tzinfo=UTC)


def fixed_clock() -> datetime:
    """Return the moment at which these tests take place."""
    return NOW


@pytest.fixture(scope="session")
def generated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the database once; tests copy it and never write to it."""
    path = tmp_path_factory.mktemp("shop") / "generated.sqlite3"
    assert ensure_database(path, NOW.date())
    return path


@pytest.fixture
def database_file(generated_file: Path, tmp_path: Path) -> Path:
    """Give a test its own copy of the database."""
    return Path(shutil.copy(generated_file, tmp_path / "shop.sqlite3"))


@pytest.fixture
async def shop(database_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Call a running shop that asks for no token."""
    app = create_app(Settings(database=database_file), fixed_clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
    ):
        yield client
