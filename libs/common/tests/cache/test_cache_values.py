import pytest

from signalbox.common.cache import StoredValue, key


async def test_a_value_is_what_was_put(cache):
    await cache.values.put(StoredValue("a", b"\x00\r\n\xff", 60_000), StoredValue("b", b"", 60_000))

    assert await cache.values.get("a") == b"\x00\r\n\xff"
    assert await cache.values.get("b") == b""
    assert await cache.values.get("c") is None
    assert await cache.values.get_many(["b", "c", "a"]) == [b"", None, b"\x00\r\n\xff"]
    assert await cache.values.get_many([]) == []


async def test_a_later_put_replaces_value_and_time_to_live(cache, eventually):
    await cache.values.put(StoredValue("a", b"1", 60_000), StoredValue("b", b"1", 50))
    await cache.values.put(StoredValue("a", b"2", 50), StoredValue("b", b"2", 60_000))

    async def expired():
        return await cache.values.get("a") is None

    await eventually(expired)
    assert await cache.values.get("b") == b"2"


async def test_deleted_values_are_gone(cache):
    await cache.values.put(StoredValue("a", b"1", 60_000), StoredValue("b", b"1", 60_000))
    await cache.values.delete("a", "never-there")
    await cache.values.delete()

    assert await cache.values.get_many(["a", "b"]) == [None, b"1"]


@pytest.mark.parametrize("ttl_ms", [0, -5])
def test_a_value_without_a_life_is_refused(ttl_ms):
    with pytest.raises(ValueError, match="time to live"):
        StoredValue("a", b"1", ttl_ms)


def test_no_two_tenants_share_a_key():
    assert key("session", "a", "b:c") != key("session", "a:b", "c")
    assert key("session", "a", "b") == "session:a:b"
    assert key("session", "a%3A", "b") != key("session", "a:", "b")


async def test_a_tenant_does_not_see_the_keys_of_another(cache):
    mine, theirs = key("session", "acme", "s-1"), key("session", "acme:s-1")
    await cache.values.put(StoredValue(mine, b"mine", 60_000))

    assert await cache.values.get(theirs) is None
    assert (await cache.leases.acquire(mine, "me", 60_000)).acquired
    assert (await cache.leases.acquire(theirs, "them", 60_000, read=theirs)).value is None


async def test_parts_of_the_cache_do_not_share_keys(cache):
    await cache.values.put(StoredValue("k", b"value", 60_000))
    await cache.leases.acquire("k", "holder", 60_000)
    await cache.logs.append("k", 1, [b"event"], 60_000)

    assert await cache.values.get("k") == b"value"
    assert await cache.logs.read("k", 0) == [(1, b"event")]
    assert not (await cache.leases.acquire("k", "another", 60_000)).acquired
