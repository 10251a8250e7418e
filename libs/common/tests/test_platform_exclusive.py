"""PostgreSQL without Redis: one process, and a second one is told why not."""

import pytest

from signalbox.common.platform import Platform
from signalbox.common.settings import CommonSettings
from signalbox.common.storage import DatabaseInUse
from signalbox_local.postgres import PostgresServer


@pytest.fixture
def shared_url():
    with PostgresServer() as server:
        yield server.create_database("exclusive")


def platform_on(url, directory):
    platform = Platform.from_settings(CommonSettings(database_url=url, redis_url=None, data=directory))
    platform.database("workflow")
    return platform


async def test_a_second_process_is_refused_until_the_first_has_ended(shared_url, tmp_path):
    async with platform_on(shared_url, tmp_path):
        with pytest.raises(DatabaseInUse, match="SIGNALBOX_REDIS_URL"):
            async with platform_on(shared_url, tmp_path):
                pass
    async with platform_on(shared_url, tmp_path) as after:
        await after.database("workflow").ping()


async def test_services_that_need_no_shared_cache_may_be_several(shared_url, tmp_path):
    settings = CommonSettings(database_url=shared_url, redis_url=None, data=tmp_path)
    first, second = Platform.from_settings(settings), Platform.from_settings(settings)
    first.database("admin")
    second.database("admin")
    async with first, second:
        await second.database("admin").ping()
