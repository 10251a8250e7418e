import asyncio
import random
import ssl
import time

import pytest
import redis.asyncio as redis_py
import trustme
import uvloop

from signalbox.common.cache import CacheUnavailable, Place, StoredValue
from signalbox.common.cache.redis import RedisCache
from signalbox.common.cache.redis.address import parse_url
from signalbox_local import RedisServer, free_port
from signalbox_local.ports import port_is_free


async def test_replicas_share_everything(redis_cache, second_redis_cache):
    one, two = redis_cache, second_redis_cache
    await one.values.put(StoredValue("v", b"1", 60_000))
    assert await two.values.get("v") == b"1"

    grants = await asyncio.gather(
        *(cache.leases.acquire("l", f"{number}", 60_000) for cache in (one, two) for number in range(100))
    )
    assert {grant.holder for grant in grants} == {"0"}
    assert await two.leases.release("l", "0")
    assert (await one.leases.acquire("l", "1", 60_000)).acquired


async def test_waiting_crosses_processes(redis_cache, second_redis_cache):
    await redis_cache.leases.acquire("l", "a", 60_000)
    waiter = asyncio.create_task(second_redis_cache.leases.wait("l", 30_000))
    reader = asyncio.create_task(second_redis_cache.logs.read("t", 0, 30_000))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    await redis_cache.leases.release("l", "a")
    await redis_cache.logs.append("t", 1, [b"1"], 60_000)
    assert await waiter
    assert await reader == [(1, b"1")]
    assert time.monotonic() - started < 1


async def test_every_operation_is_one_round_trip(redis_cache):
    cache, trips = redis_cache, []
    exchange = cache._client._exchange

    async def counted(commands):
        trips.append(commands)
        return await exchange(commands)

    async def operations():
        yield await cache.values.put(StoredValue("a", b"1", 60_000), StoredValue("b", b"2", 60_000))
        yield await cache.values.get_many(["a", "b"])
        yield await cache.leases.acquire("l", "me", 60_000, read="a")
        yield await cache.leases.acquire("l", "you", 60_000, "a", Place("you", 3, 128, stands=True))
        yield await cache.leases.stand("l", "you", 5, 128)
        yield await cache.leases.renew("l", "me", 60_000)
        yield await cache.leases.request_cancel("l")
        yield await cache.leases.release("l", "me", StoredValue("a", b"2", 60_000), "me")
        yield await cache.logs.append("t", 1, [b"1", b"2"], 60_000)
        yield await cache.logs.read("t", 0)
        yield await cache.logs.bounds("t")

    for cache._client._exchange in (exchange, counted):
        done = [answer async for answer in operations()]
    assert len(trips) == len(done)


async def test_everything_it_writes_expires(redis_cache, namespace):
    await redis_cache.values.put(StoredValue("v", b"1", 60_000))
    await redis_cache.leases.acquire("l", "a", 60_000)
    await redis_cache.leases.acquire("l", "b", 60_000, None, Place("b", stands=True))
    await redis_cache.leases.request_cancel("l")
    await redis_cache.logs.append("t", 1, [b"1"], 60_000)

    call = redis_cache._client.call
    keys = await call("KEYS", f"{namespace}:*")
    assert len(keys) == 5, "value, lease, its line, the mailbox of its holder, log"
    for key in keys:
        assert 0 < await call("PTTL", key) <= 61_000


async def test_a_flushed_script_cache_is_not_noticed(redis_cache):
    assert (await redis_cache.leases.acquire("l", "a", 60_000)).acquired
    await redis_cache._client.call("SCRIPT", "FLUSH")
    assert (await redis_cache.leases.renew("l", "a", 60_000)).held
    assert not (await redis_cache.leases.acquire("l", "b", 60_000)).acquired


async def test_what_is_sent_twice_is_done_once(redis_cache):
    client = redis_cache._client
    exchange, lost = client._exchange, []

    async def twice(commands):
        lost.append(await exchange(commands))
        return await exchange(commands)

    client._exchange = twice
    await redis_cache.logs.append("t", 1, [b"1"], 60_000)
    client._exchange = exchange
    assert len(lost) >= 1
    assert await redis_cache.logs.read("t", 0) == [(1, b"1")]


async def test_cancelled_callers_do_not_mix_up_the_replies_of_others(redis_cache):
    rng = random.Random(7)
    await redis_cache.values.put(*(StoredValue(f"k{n}", b"%d" % n, 60_000) for n in range(200)))

    async def get(number):
        return number, await redis_cache.values.get(f"k{number}")

    for _ in range(20):
        tasks = [asyncio.create_task(get(number)) for number in range(200)]
        await asyncio.sleep(rng.random() * 0.002)
        for task in rng.sample(tasks, 60):
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(answer, asyncio.CancelledError):
                assert answer[1] == b"%d" % answer[0]


async def test_a_command_that_cannot_be_sent_does_not_mix_up_the_replies_of_others(redis_cache):
    await redis_cache.values.put(StoredValue("a", b"1", 60_000))
    with pytest.raises(TypeError):
        await redis_cache.values.put(StoredValue("b", None, 60_000))  # type: ignore[arg-type]
    assert await redis_cache.values.get("a") == b"1"


async def test_many_blocked_readers_share_one_connection(redis_cache, eventually):
    call = redis_cache._client.call
    await call("CLIENT", "SETNAME", "one-of-all")
    channels = [f"t{number % 50}" for number in range(200)]
    readers = [asyncio.create_task(redis_cache.logs.read(name, 0, 30_000)) for name in channels]

    async def subscribed():
        return len(redis_cache._client.wakeups._waiting) == 50

    await eventually(subscribed)
    before = await call("INFO", "clients")
    assert await redis_cache.values.get("free") is None
    for name in set(channels):
        await redis_cache.logs.append(name, 1, [b"1"], 60_000)
    assert await asyncio.gather(*readers) == [[(1, b"1")]] * 200
    clients = (await call("CLIENT", "LIST")).splitlines()
    assert sum(b"name=one-of-all" in client for client in clients) == 1
    assert b"connected_clients" in before
    assert not redis_cache._client.wakeups._waiting


@pytest.fixture
def own_server():
    with RedisServer(own=True) as server:
        yield server


@pytest.fixture
async def own_cache(own_server):
    cache = RedisCache(own_server.url, timeout_s=0.4)
    yield cache
    await cache.close()


def operations(cache):
    return [
        cache.ping(),
        cache.values.get("v"),
        cache.values.get_many(["v", "w"]),
        cache.values.put(StoredValue("v", b"1", 60_000)),
        cache.values.delete("v"),
        cache.leases.acquire("l", "a", 60_000, read="v"),
        cache.leases.renew("l", "a", 60_000),
        cache.leases.release("l", "a"),
        cache.leases.request_cancel("l"),
        cache.leases.wait("l", 200),
        cache.logs.append("t", 1, [b"1"], 60_000),
        cache.logs.read("t", 0),
        cache.logs.read("t", 0, wait_ms=200),
        cache.logs.bounds("t"),
    ]


async def assert_all_unavailable(cache, within_s):
    async def timed(operation):
        started = time.monotonic()
        with pytest.raises(CacheUnavailable, match=r"redis at 127\.0\.0\.1"):
            await operation
        return time.monotonic() - started

    assert max(await asyncio.gather(*map(timed, operations(cache)))) < within_s


def answers(cache):
    async def ask():
        try:
            await cache.ping()
        except CacheUnavailable:
            return False
        return True

    return ask


async def test_a_restarted_empty_redis_is_used_again(own_server, own_cache):
    await own_cache.values.put(StoredValue("v", b"1", 60_000))
    assert (await own_cache.leases.acquire("l", "a", 60_000)).acquired
    own_server.kill()
    own_server.restart()

    assert await own_cache.values.get("v") is None
    assert (await own_cache.leases.acquire("l", "b", 60_000)).acquired


async def test_a_dead_redis_is_said_at_once_and_its_return_is_noticed(
    own_server, own_cache, eventually, caplog
):
    caplog.set_level("INFO", "signalbox.common.cache")
    await own_cache.ping()
    own_server.kill()
    await assert_all_unavailable(own_cache, within_s=0.6)
    await assert_all_unavailable(own_cache, within_s=0.2)
    own_server.restart()
    await eventually(answers(own_cache))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_frozen_redis_never_hangs_anything(own_server, own_cache, eventually):
    await own_cache.ping()
    own_server.freeze()
    await assert_all_unavailable(own_cache, within_s=1.2)
    await assert_all_unavailable(own_cache, within_s=0.7)
    own_server.thaw()
    assert await eventually(answers(own_cache)) < 3
    assert (await own_cache.leases.acquire("l", "a", 60_000)).acquired


async def test_a_redis_frozen_before_the_first_call_never_hangs_anything(own_server, own_cache, eventually):
    own_server.freeze()
    await assert_all_unavailable(own_cache, within_s=1.2)
    own_server.thaw()
    await eventually(answers(own_cache))


async def test_a_slow_redis_never_hangs_anything(own_server, own_cache, eventually):
    await own_cache._client.call("CLIENT", "PAUSE", 1_500)
    await assert_all_unavailable(own_cache, within_s=1.2)
    await eventually(answers(own_cache))


async def test_a_primary_that_becomes_a_replica_is_left_until_it_is_one_again(
    own_server, own_cache, eventually
):
    await own_cache.values.put(StoredValue("v", b"1", 60_000))
    async with redis_py.from_url(own_server.url) as admin:
        await admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(CacheUnavailable, match="READONLY"):
            await own_cache.leases.acquire("l", "a", 60_000)
        with pytest.raises(CacheUnavailable, match="is a replica"):
            await own_cache.values.get("v")
        await admin.execute_command("REPLICAOF", "NO", "ONE")
    await eventually(answers(own_cache))
    assert await own_cache.values.get("v") == b"1"


def _port_with_its_bus():
    """A free port for a member of a cluster, which listens 10,000 ports above it too, where no client's socket is."""
    ports = (free_port() for _ in range(1000))
    return next(port for port in ports if port + 10_000 < 32_768 and port_is_free(port + 10_000))


async def test_a_cluster_is_refused_in_words():
    with RedisServer(own=True, port=_port_with_its_bus(), options=("--cluster-enabled", "yes")) as server:
        cache = RedisCache(server.url)
        with pytest.raises(CacheUnavailable, match="Redis Cluster"):
            await cache.ping()
        await cache.close()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_busy_event_loop_is_not_taken_for_a_slow_redis(own_server, loop_factory):
    async def ask_and_block():
        cache = RedisCache(own_server.url, timeout_s=0.4)
        await cache.ping()
        answer = asyncio.create_task(cache.values.get("v"))
        await asyncio.sleep(0)
        # The command has been queued in this turn of the loop, and leaves only at its end.
        time.sleep(1)  # noqa: ASYNC251 - the loop is blocked on purpose
        assert await answer is None
        await cache.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(ask_and_block())


async def test_who_waits_is_told_when_redis_dies(own_server, own_cache):
    await own_cache.leases.acquire("l", "a", 60_000)
    waiting = [own_cache.leases.wait("l", 30_000), own_cache.logs.read("t", 0, 30_000)]
    tasks = [asyncio.create_task(operation) for operation in waiting]
    await asyncio.sleep(0.05)
    own_server.kill()
    started = time.monotonic()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, CacheUnavailable) for outcome in outcomes)
    assert time.monotonic() - started < 1


async def test_who_waits_goes_on_waiting_over_a_lost_connection(own_server, own_cache):
    other = RedisCache(own_server.url)
    reader = asyncio.create_task(own_cache.logs.read("t", 0, 30_000))
    await asyncio.sleep(0.05)
    await other._client.call("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.sleep(0.1)
    assert not reader.done()
    await other.logs.append("t", 1, [b"1"], 60_000)
    assert await reader == [(1, b"1")]
    await other.close()


async def test_connections_that_the_server_ends_cost_nobody_an_operation(own_server, own_cache):
    other = RedisCache(own_server.url)
    await own_cache.ping()
    for number in range(1, 40):
        pending = [own_cache.leases.acquire(f"l{number}-{each}", "a", 60_000) for each in range(20)]
        tasks = [asyncio.create_task(operation) for operation in pending]
        await other._client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert all(grant.acquired for grant in await asyncio.gather(*tasks))
    await other.close()


async def test_a_closed_cache_refuses(own_server, own_cache):
    await own_cache.ping()
    await own_cache.close()
    await assert_all_unavailable(own_cache, within_s=0.2)
    await own_cache.close()


async def test_nobody_listens(eventually):
    cache = RedisCache(f"redis://127.0.0.1:{free_port()}")
    await assert_all_unavailable(cache, within_s=0.5)
    await cache.close()


async def test_the_url_logs_in_and_selects_the_database(own_server):
    admin = RedisCache(own_server.url)
    await admin._client.call("ACL", "SETUSER", "app", "on", ">p@ss:word", "~sb:*", "&*", "+@all")
    place = own_server.url.removeprefix("redis://").removesuffix("/0")
    user = RedisCache(f"redis://app:p%40ss%3Aword@{place}/3")
    await user.values.put(StoredValue("v", b"1", 60_000))
    assert await admin.values.get("v") is None
    await admin._client.call("SELECT", 3)
    assert await admin.values.get("v") == b"1"

    wrong = RedisCache(f"redis://app:secret-guess@{place}/3")
    with pytest.raises(CacheUnavailable, match="WRONGPASS") as refused:
        await wrong.ping()
    assert "secret-guess" not in str(refused.value)
    for cache in (admin, user, wrong):
        await cache.close()


def test_a_password_shows_nowhere():
    address = parse_url("redis://app:hush@cache.internal:7000/5")
    assert "hush" not in f"{address} {address!r}"
    assert str(address) == "cache.internal:7000/5"
    assert address.login() == ("AUTH", "app", "hush")
    assert parse_url("redis://:hush@h").login() == ("AUTH", "default", "hush")
    assert parse_url("redis://h").login() == ()


async def test_tls_is_verified(own_server, tmp_path):
    host, port = own_server.url.removeprefix("redis://").removesuffix("/0").split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def forward(reader, writer):
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context) as proxy:
        tls_port = proxy.sockets[0].getsockname()[1]
        trusting = RedisCache(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={trusted}")
        await trusting.values.put(StoredValue("v", b"1", 60_000))
        assert await trusting.values.get("v") == b"1"
        lax = RedisCache(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none")
        assert await lax.values.get("v") == b"1"
        strict = RedisCache(f"rediss://127.0.0.1:{tls_port}")
        with pytest.raises(CacheUnavailable, match="certificate"):
            await strict.ping()
        for cache in (trusting, lax, strict):
            await cache.close()
