"""Idempotency keys of the gateway on both databases."""

import asyncio
import dataclasses

import pytest

from signalbox.llm_gateway.caching.idempotency.records import CallName, KeptReply, KeyRow
from signalbox.llm_gateway.caching.idempotency.repository import IdempotencyRepository

NOW = 1_728_043_200_000
NAME = CallName("acme", "key:1", "chat/completions", "k")


@pytest.fixture(scope="session")
def database_service():
    return "llm_gateway"


@pytest.fixture
def first(database):
    return IdempotencyRepository(database, "first")


@pytest.fixture
def second(database):
    return IdempotencyRepository(database, "second")


async def claim(repository, claim="c1", now=NOW, name=NAME, request_hash="h"):
    return await repository.claim(
        name, request_hash, claim, now, silent_since=now - 1000, expires_at=now + 50_000
    )


async def test_one_of_many_takes_a_key_and_the_others_see_whose_it_is(first, second):
    found = await asyncio.gather(
        *(claim(repository, f"c{number}") for number in range(8) for repository in (first, second))
    )
    rows = [row for row in found if row is not None]
    assert len(rows) == 15
    assert {(row.request_hash, row.over, row.reply) for row in rows} == {("h", False, None)}
    assert len({row.claim for row in rows}) == 1


async def test_a_key_is_its_tenants_principals_and_routes(first):
    others = [dataclasses.replace(NAME, **{field.name: "other"}) for field in dataclasses.fields(NAME)]
    for name in (NAME, *others):
        assert await claim(first, name=name) is None


async def test_who_comes_after_the_end_finds_the_reply(first, second):
    await claim(first)
    assert await second.finish(NAME, "another", "no") is False
    assert await first.finish(NAME, "c1", "reply") is True
    assert await claim(second, "c2") == KeyRow("h", "c1", over=True, reply="reply")
    assert await first.finish(NAME, "c1", "again") is False
    await first.free(NAME, "c1")
    assert (await claim(second, "c2")).reply == "reply"


async def test_a_key_that_was_freed_is_taken_by_the_next(first, second):
    await claim(first)
    await second.free(NAME, "c2")
    assert await claim(second, "c2") is not None
    await first.free(NAME, "c1")
    assert await claim(second, "c2", request_hash="other") is None


async def test_a_silent_owner_loses_its_key_and_cannot_end_it(first, second):
    await claim(first)
    assert await first.is_running(NAME, "c1", silent_since=NOW - 1) is True
    assert await claim(second, "c2", NOW + 999) is not None
    await first.heartbeat(["c1"], NOW + 900)
    await second.heartbeat(["c1"], NOW + 9000)
    assert await claim(second, "c2", NOW + 1899) is not None
    assert await first.is_running(NAME, "c1", silent_since=NOW + 900) is False
    assert await claim(second, "c2", NOW + 1900) is None
    assert await first.finish(NAME, "c1", "late") is False
    await first.free(NAME, "c1")
    assert await second.finish(NAME, "c2", "mine") is True


async def test_a_reply_is_not_taken_for_a_silent_owner_and_is_gone_after_its_time(first):
    await claim(first)
    await first.finish(NAME, "c1", "reply")
    assert (await claim(first, "c2", NOW + 49_999)).reply == "reply"
    assert await claim(first, "c2", NOW + 50_000) is None


async def test_what_has_expired_is_deleted_in_batches(first):
    for number in range(5):
        await claim(first, name=CallName("acme", "key:1", "embeddings", f"k{number}"), now=NOW + number)
    assert await first.expire(NOW + 50_003, 3) == 3
    assert await first.expire(NOW + 50_003, 3) == 1
    assert await first.expire(NOW + 50_003, 3) == 0


async def test_the_keys_of_dead_processes_are_freed_and_replies_stay(first, second):
    await claim(first)
    other = CallName("acme", "key:1", "chat/completions", "done")
    await claim(first, name=other)
    await first.finish(other, "c1", "reply")
    await second.free_others()
    assert await claim(second, "c2") is None
    assert (await claim(second, "c2", name=other)).reply == "reply"


async def test_a_reply_comes_back_as_it_was(first):
    await claim(first)
    kept = KeptReply({"a": "b"}, "data: é\n\n".encode(), streamed=True)
    await first.finish(NAME, "c1", kept.written())
    assert KeptReply.read((await claim(first, "c2")).reply) == kept
    for body in (None, b"\xff", b"\0"):
        assert KeptReply({}, body).written() is None
