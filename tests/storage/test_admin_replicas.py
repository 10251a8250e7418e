"""Two replicas of Admin on one PostgreSQL, asked in turn by replicas of services."""

import contextlib
import itertools
import time

import httpx
import pytest
from support.admin_app import API, FakeBuilder, Follower, document, following, until

from signalbox.admin.app import create_app
from signalbox.admin.settings import AdminSettings
from signalbox.common.platform import Platform
from signalbox.common.storage.migrations import MigrationSource
from signalbox.common.transport import AsgiServiceHop, lifespans


class InTurn:
    """A hop that goes to another replica with each call."""

    def __init__(self, hops):
        self._hops = itertools.cycle(hops)

    async def send(self, request):
        return await next(self._hops).send(request)

    async def aclose(self):
        pass


@pytest.fixture
async def pair(database_supply, tmp_path):
    """HTTP clients of two replicas, and the platform of those who follow them."""
    source = MigrationSource("admin", "signalbox.admin.migrations")
    settings = AdminSettings(
        data=tmp_path,
        database_url=database_supply.url(source, "postgresql", tmp_path),
        redis_url=None,
        service_secret="a secret that all services of the test share",
        replica_grace_s=0.3,
    )
    async with contextlib.AsyncExitStack() as stack:
        platforms = [await stack.enter_async_context(Platform.from_settings(settings)) for _ in range(2)]
        apps = [create_app(settings, platform, builder=FakeBuilder()) for platform in platforms]
        await stack.enter_async_context(lifespans(apps))
        platforms[0].hops["admin"] = InTurn([AsgiServiceHop(app, service="admin") for app in apps])
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin")
            )
            for app in apps
        ]
        yield clients, platforms[0]


async def test_a_release_by_either_is_served_by_all_within_two_seconds(pair, tmp_path):
    clients, platform = pair
    followers = [Follower(platform, tmp_path / str(number)) for number in range(3)]
    async with following(*followers):
        for number in range(1, 7):
            started = time.monotonic()
            body = {"document": document(greeting=f"Hello {number}")}
            reply = await clients[number % 2].post(f"{API}/publish", json=body)
            assert reply.status_code == 200, reply.text
            assert reply.json()["release"]["number"] == number
            assert [follower.runs() for follower in followers] == [number] * 3
            assert time.monotonic() - started < 2


async def test_nobody_goes_back_to_an_older_release(pair, tmp_path):
    clients, platform = pair
    follower = Follower(platform, tmp_path / "f")
    seen = []
    applied = follower.feed._apply

    async def watched(reply):
        seen.append(reply.revision)
        await applied(reply)

    follower.feed._apply = watched
    async with following(follower):
        for number in range(4):
            await clients[number % 2].post(
                f"{API}/publish", json={"document": document(greeting=str(number))}
            )
    assert seen == sorted(set(seen))


async def test_a_key_revoked_at_one_stops_working_at_the_other(pair):
    clients, _ = pair
    made = (await clients[0].post(f"{API}/keys", json={"name": "k", "scopes": ["config:read"]})).json()
    headers = {"x-api-key": made["key"]}

    async def answers(status):
        return (await clients[1].get(f"{API}/workflows", headers=headers)).status_code == status

    await until(lambda: answers(200), 2)
    await clients[0].delete(f"{API}/keys/{made['key_id']}")
    await until(lambda: answers(401), 2)
