"""An Admin app on a SQLite file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.admin_app import Admin, FakeBuilder

from signalbox.admin.app import create_app
from signalbox.admin.settings import AdminSettings
from signalbox.common.clients import AdminClient
from signalbox.common.platform import Platform
from signalbox.common.storage.migrations import MigrationSource
from signalbox.common.transport import AsgiServiceHop, lifespans


@pytest.fixture
def admin_settings(database_supply, tmp_path: Path) -> AdminSettings:
    database_supply.url(MigrationSource("admin", "signalbox.admin.migrations"), "sqlite", tmp_path)
    return AdminSettings(
        data=tmp_path,
        database_url=None,
        redis_url=None,
        service_secret="a secret that all services of the test share",
        ready_timeout_s=5.0,
        effect_timeout_s=2.0,
        replica_grace_s=0.3,
    )


@pytest.fixture
async def admin(admin_settings: AdminSettings) -> AsyncIterator[Admin]:
    platform = Platform.from_settings(admin_settings)
    builder = FakeBuilder()
    app = create_app(admin_settings, platform, builder=builder)
    platform.hops["admin"] = AsgiServiceHop(app, service="admin")
    async with platform, lifespans([app]):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as http:
            yield Admin(app, platform, builder, http, platform.client(AdminClient, caller="workflow"))
