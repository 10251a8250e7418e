"""Whose calls they were, and replies that repeated calls would get: shown and forgotten, on both databases."""

import dataclasses

import pytest
from support.workflow_records import NOW

from signalbox.common.cache import MemoryCache, StoredValue
from signalbox.common.storage import Statement
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import KeptDataRequest, OfSessions
from signalbox.llm_gateway.caching.idempotency.records import CallName
from signalbox.llm_gateway.caching.idempotency.repository import IdempotencyRepository
from signalbox.llm_gateway.caching.whose import AnswersOf
from signalbox.llm_gateway.call import Caller
from signalbox.llm_gateway.keeping.repository import LedgerNames
from signalbox.llm_gateway.keeping.service import GatewayKeeping
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerCall
from signalbox.llm_gateway.repository import LedgerRepository

DAY = 86_400_000
TOKENS = Tokens(input=10, output=4, cached=0, cache_write=0, reasoning=0)


def call(call_id, at=NOW, tenant="acme", session="s1", user=None):
    return LedgerCall(
        tenant=tenant,
        call_id=call_id,
        subject="key:1",
        labels=Labels(session_id=session, user_id=user),
        operation="chat/completions",
        model_asked="m",
        model_answered="m",
        deployment="openai/m",
        streamed=False,
        tokens=TOKENS,
        cost_pico=7,
        currency="USD",
        priced=True,
        estimated=False,
        emulated=None,
        outcome="ok",
        status=200,
        error_code=None,
        latency_ms=7,
        first_token_ms=None,
        trace_id="t",
        created_at=at,
        attempts=(),
    )


@pytest.fixture(scope="session")
def database_service():
    return "llm_gateway"


@pytest.fixture
def keeping(database):
    return GatewayKeeping(LedgerNames(database), AnswersOf(MemoryCache()), lambda: NOW + 100 * DAY)


async def written(database, *calls):
    await LedgerRepository(database).insert(list(calls))


async def pages(keeping, asked):
    found, count = [], 0
    while True:
        page = await keeping.page("acme", asked)
        found += [item["call_id"] for item in page.items]
        count += 1
        if page.next_after is None:
            return found, count
        asked = asked.model_copy(update={"after": page.next_after})


async def test_calls_of_a_session_or_a_user_are_shown_over_months(keeping, database):
    await written(
        database,
        call("c1"),
        call("c2", NOW + 40 * DAY),
        call("c3", NOW + 99 * DAY, session="s2", user="u1"),
        call("c4", session="s3"),
        call("c5", tenant="rival"),
    )
    assert await pages(keeping, KeptDataRequest(session_ids=["s1"])) == (["c1", "c2"], 4)
    assert await pages(keeping, KeptDataRequest(session_ids=["s1"], since=NOW + 1)) == (["c2"], 4)
    assert await pages(keeping, KeptDataRequest(session_ids=["s1"], until=NOW + 1)) == (["c1"], 1)
    assert await pages(keeping, KeptDataRequest(user_id="u1")) == (["c3"], 4)
    assert await pages(keeping, KeptDataRequest()) == ([], 4)


async def test_a_forgotten_call_keeps_its_money_and_loses_its_name(keeping, database):
    await written(
        database,
        call("c1"),
        call("c2", NOW + 50 * DAY, session="s2", user="u1"),
        call("c3", session="s3", user="u2"),
        call("c4", tenant="rival"),
    )
    what = OfSessions(session_ids=["s1"], user_id="u1")
    assert (await keeping.forget("acme", what)).rows == 2
    assert (await keeping.forget("acme", what)).rows == 0
    rows = await database.fetch_all(Statement("SELECT * FROM ledger_calls ORDER BY call_id"))
    assert [(row["session_id"], row["user_id"], row["cost_pico"]) for row in rows] == [
        (None, None, 7),
        (None, None, 7),
        ("s3", "u2", 7),
        ("s1", None, 7),
    ]


async def test_replies_of_turns_are_forgotten_and_no_others(keeping, database):
    names = [
        CallName(tenant, "key:1", "chat/completions", key)
        for tenant, key in (
            ("acme", "turn_a/match"),
            ("acme", "turn_a/skill/1/model"),
            ("acme", "turn_ab/match"),
            ("acme", "turn_a"),
            ("rival", "turn_a/match"),
        )
    ]
    names.append(dataclasses.replace(names[0], subject="key:2"))
    repository = IdempotencyRepository(database, "o")
    for number, name in enumerate(names):
        await repository.claim(name, "h", f"c{number}", NOW, silent_since=0, expires_at=NOW + DAY)
    await keeping.forget("acme", OfSessions(turn_ids=["turn_a"], subjects=["key:1"]))
    rows = await database.fetch_all(Statement("SELECT tenant, subject, key FROM llm_idempotency"))
    assert sorted(tuple(row.values()) for row in rows) == [
        ("acme", "key:1", "turn_ab/match"),
        ("acme", "key:2", "turn_a/match"),
        ("rival", "key:1", "turn_a/match"),
    ]


async def test_kept_answers_are_forgotten_with_whom_they_were_made_for(database):
    cache = MemoryCache()
    answers = AnswersOf(cache)
    keeping = GatewayKeeping(LedgerNames(database), answers, lambda: NOW)
    principal = Principal(tenant="acme", subject="key:1")
    for name, labels in (
        ("a", Labels(session_id="s1")),
        ("b", Labels(session_id="s1", user_id="u1")),
        ("c", Labels(session_id="s2", user_id="u1")),
        ("d", Labels()),
    ):
        await answers.note(Caller(principal, labels), name, 60)
        await cache.values.put(StoredValue(name, b"said", 60_000))
    assert (await keeping.forget("acme", OfSessions(session_ids=["s1"]))).rows == 2
    assert await cache.values.get_many(["a", "b", "c", "d"]) == [None, None, b"said", b"said"]
    await keeping.forget("rival", OfSessions(user_id="u1"))
    await keeping.forget("acme", OfSessions(user_id="u1"))
    assert await cache.values.get_many(["c", "d"]) == [None, b"said"]
