"""The gateway's ledger on both databases."""

import dataclasses

import pytest

from signalbox.common.storage import Statement
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerAttempt, LedgerCall
from signalbox.llm_gateway.repository import LedgerRepository

NOON = 1_728_043_200_000
TOKENS = Tokens(input=10, output=4, cached=3, cache_write=2, reasoning=1)
ATTEMPT = LedgerAttempt(1, "openai/m", "m", TOKENS, 9_000_000_000_000_000, "USD", False, "ok", 200, None, 7)
CALL = LedgerCall(
    tenant="acme",
    call_id="c1",
    subject="key:1",
    labels=Labels(workflow_id="w", session_id="s", skill_id=None),
    operation="chat/completions",
    model_asked="m",
    model_answered="m",
    deployment="openai/m",
    streamed=True,
    tokens=TOKENS,
    cost_pico=9_000_000_000_000_000,
    currency="USD",
    priced=True,
    estimated=False,
    emulated=None,
    outcome="ok",
    status=200,
    error_code=None,
    latency_ms=7,
    first_token_ms=3,
    trace_id="t",
    created_at=NOON,
    attempts=(ATTEMPT, dataclasses.replace(ATTEMPT, number=2, cost_pico=None, currency=None)),
)


@pytest.fixture(scope="session")
def database_service():
    return "llm_gateway"


@pytest.fixture
def ledger(database):
    return LedgerRepository(database)


async def test_a_batch_written_twice_is_there_once_and_sums_are_whole_numbers(ledger):
    batch = [dataclasses.replace(CALL, call_id=f"c{number}") for number in range(100)]
    await ledger.insert(batch)
    await ledger.insert(batch)
    (line,) = await ledger.usage("acme", NOON)
    assert (line.calls, line.input_tokens, line.output_tokens) == (100, 1000, 400)
    assert (line.day, line.cost, line.currency, line.unpriced_calls) == ("2024-10-04", "900000.0", "USD", 0)


def spent(amount, *, attempts, reaped=False):
    made = tuple(
        dataclasses.replace(ATTEMPT, number=number + 1, cost_pico=amount // attempts)
        for number in range(attempts)
    )
    return dataclasses.replace(CALL, cost_pico=amount, attempts=made, reaped=reaped)


async def rows_of(database):
    attempts = Statement("SELECT number, cost_pico, reaped FROM ledger_attempts ORDER BY number")
    calls = Statement("SELECT cost_pico, reaped FROM ledger_calls")
    found = await database.fetch_all(calls), await database.fetch_all(attempts)
    return [[tuple(row.values()) for row in rows] for rows in found]


async def test_what_a_reaper_wrote_is_replaced_by_the_calls_own_row_once(ledger, database):
    await ledger.insert([spent(30, attempts=3, reaped=True)])
    await ledger.insert([spent(33, attempts=3, reaped=True)])
    assert await rows_of(database) == [[(30, 1)], [(1, 10, 1), (2, 10, 1), (3, 10, 1)]]
    await ledger.insert([spent(8, attempts=2)])
    assert await rows_of(database) == [[(8, 2)], [(1, 4, 0), (2, 4, 0)]]
    await ledger.insert([spent(9, attempts=1), spent(70, attempts=7, reaped=True)])
    assert await rows_of(database) == [[(8, 2)], [(1, 4, 0), (2, 4, 0)]]


async def test_a_reaper_that_comes_late_changes_nothing(ledger, database):
    await ledger.insert([spent(8, attempts=1), spent(30, attempts=3, reaped=True)])
    await ledger.insert([spent(30, attempts=3, reaped=True)])
    assert await rows_of(database) == [[(8, 0)], [(1, 8, 0)]]


async def test_usage_is_the_tenants_own(ledger):
    unpriced = dataclasses.replace(
        CALL, tenant="other", cost_pico=None, currency=None, priced=False, outcome="error"
    )
    await ledger.insert([CALL, unpriced])
    (line,) = await ledger.usage("other", 0)
    assert (line.calls, line.failed_calls, line.unpriced_calls, line.cost) == (1, 1, 1, None)
    assert await ledger.usage("nobody", 0) == []
    assert await ledger.usage("acme", NOON + 1) == []
