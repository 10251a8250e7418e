"""The real Redis server: empty after every start, dead after a kill, silent while frozen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from signalbox_local import BinaryNotFoundError, NotManagedError, RedisServer
from signalbox_local import redis as redis_module
from signalbox_local.redis import URL_VARIABLE


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, socket_timeout=0.5, retry=None) as connected:
        yield connected


def test_it_is_a_supported_version_that_keeps_nothing_on_disk(client: redis.Redis) -> None:
    version = tuple(int(part) for part in client.info("server")["redis_version"].split("."))
    assert version >= (6, 2)
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("appendonly") == {"appendonly": "no"}


def test_databases_are_apart(server: RedisServer, client: redis.Redis) -> None:
    client.set("name", "zero")
    with redis.Redis.from_url(server.url_of(3)) as other:
        assert other.get("name") is None


def test_killed_it_is_gone_and_restarted_it_is_empty(server: RedisServer, client: redis.Redis) -> None:
    address = server.url
    client.set("name", "value")
    server.kill()
    with pytest.raises(redis.ConnectionError):
        client.get("name")
    server.restart()
    assert server.url == address
    assert client.get("name") is None


def test_frozen_it_is_silent_until_the_thaw(server: RedisServer, client: redis.Redis) -> None:
    client.set("name", "kept")
    server.freeze()
    with pytest.raises(redis.TimeoutError):
        client.get("name")
    server.thaw()
    assert client.get("name") == b"kept"


def test_a_server_given_by_url_is_used_and_never_killed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, server.url)
    with RedisServer() as external:
        assert external.url == server.url
        with pytest.raises(NotManagedError, match="own=True"):
            external.kill()
    with redis.Redis.from_url(server.url) as still_there:
        assert still_there.ping()


def test_without_any_server_the_error_says_what_to_provide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_module, "inside_package", lambda *_parts: None)
    monkeypatch.setattr(redis_module, "beside_python", lambda _name: None)
    with pytest.raises(BinaryNotFoundError, match=URL_VARIABLE):
        RedisServer(own=True).start()
