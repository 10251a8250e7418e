"""Processes that die, freeze and come back, and a Redis that was emptied: counters and keepers on a real Redis."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from support.admission_counting import asked, parallel
from support.admission_setup import USD, FakeSpending, Setup, budget, limit, row

from signalbox.common.cache.redis.address import parse_url
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.ids import now_ms
from signalbox.llm_gateway.admission.counters import Amounts, Answer
from signalbox.llm_gateway.admission.demands import Demands
from signalbox.llm_gateway.admission.limited import LimitedAdmission
from signalbox.llm_gateway.admission.metrics import AdmissionMetrics
from signalbox.llm_gateway.admission.open_calls import GATEWAY_DIED
from signalbox.llm_gateway.admission.redis import Keeper, RedisCounters
from signalbox.llm_gateway.admission.seeding import Seeding
from signalbox.llm_gateway.errors import BudgetExceeded, LimitExceeded, LimitsUnavailable
from signalbox.llm_gateway.policies import PolicySet
from signalbox_local import RedisServer

SILENT_S = 1.0


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer(own=True) as server:
        yield server


class Books:
    """The ledger and the database's list of processes, which all share."""

    def __init__(self):
        self.rows = {}
        self.living_now = set()
        self.spending = FakeSpending()

    async def insert(self, calls):
        for call in calls:
            known = self.rows.get(call.call_id)
            if known is None or (known.reaped and not call.reaped):
                self.rows[call.call_id] = call

    async def spent_pico(self, scope, start_ms, end_ms, without):
        return sum(
            call.cost_pico or 0
            for call in self.rows.values()
            if call.call_id not in without and start_ms <= call.created_at < end_ms
        )

    async def live(self, owner):
        self.living_now.add(owner)

    async def leave(self, owner):
        self.living_now.discard(owner)

    async def living(self):
        return set(self.living_now)


class Process(Setup):
    """A gateway process as far as admission goes, on the real clock."""

    def __init__(self, url, books, *rules):
        super().__init__(*rules)
        self.books = books
        self.policies = PolicySet(1, self.policies.limits, self.policies.budgets)
        self.client = RedisClient(parse_url(url), timeout_s=1)
        self.shared = RedisCounters(self.client, uuid.uuid4().hex)
        self.keeper = Keeper(self.shared, books, books, silent_s=SILENT_S)
        self.clock.ms = now_ms
        self.admission = LimitedAdmission(
            Demands(lambda: self.policies),
            self.shared,
            Seeding(self.shared, books, self.keeper.opened),
            AdmissionMetrics(CollectorRegistry()),
        )

    def opening(self, **fields):
        return replace(super().opening(**fields), call_id=f"llm_{uuid.uuid4().hex}")

    async def end(self, opening, ticket, cost):
        """The call has cost so much, and its row is written."""
        made = self.row(opening, cost)
        ticket.settle(made)
        await self.books.insert([made])
        self.admission.kept([opening.call_id])

    @staticmethod
    def row(opening, cost):
        return replace(row(opening, ("d", 10, cost)), cost_pico=cost)

    async def die(self):
        """No word any more, to nobody."""
        for task in self.keeper._tasks:
            task.cancel()
        await self.client.close()
        self.books.living_now.discard(self.shared.owner)


@pytest.fixture
async def processes(redis_server) -> AsyncIterator:
    """Starts processes over one Redis, emptied, and one ledger."""
    books = Books()
    async with AsyncExitStack() as stack:
        cleaner = RedisClient(parse_url(redis_server.url), timeout_s=5)
        await cleaner.call("FLUSHALL")
        stack.push_async_callback(cleaner.close)

        async def start(*rules):
            process = Process(redis_server.url, books, *rules)
            await process.keeper.start()
            stack.push_async_callback(process.client.close)
            stack.push_async_callback(process.keeper.stop)
            await until(process.keeper._open.is_set)
            return process

        start.books = books
        start.redis = cleaner
        yield start


async def until(condition, seconds=8):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        await asyncio.sleep(0.01)


async def heard(process):
    """Redis has heard all that a process had to say."""
    await until(lambda: not process.shared._queue and not process.shared._speaking)


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_a_redis_that_may_drop_open_calls_is_warned_of_once(processes, caplog, policy):
    await processes.redis.call("CONFIG", "SET", "maxmemory-policy", policy)
    try:
        process = await processes(limit("tenant", parallel=2))
        await until(lambda: process.keeper._looked)
        await process.keeper._beat()
        await process.keeper._look_at_memory()
    finally:
        await processes.redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    warned = [record.getMessage() for record in caplog.records if "maxmemory-policy" in record.getMessage()]
    assert len(warned) == (policy != "noeviction")
    assert all("'allkeys-lru'" in said and "'noeviction'" in said for said in warned)


async def test_a_dead_process_leaves_a_row_for_each_call_and_frees_its_slots(processes):
    rules = limit("tenant", parallel=2, name="p"), budget("tenant", amount="1")
    dying, other = await processes(*rules), await processes(*rules)
    open_call, _ = await dying.admit(cost=USD // 4)
    settled, ticket = await dying.admit(cost=USD // 4)
    actual = dying.row(settled, USD // 10)
    ticket.settle(actual)
    await heard(dying)
    await dying.die()
    held = await other.admit()
    with pytest.raises(LimitExceeded):
        await other.admit()
    books = processes.books
    await until(lambda: len(books.rows) == 2)
    assert books.rows[settled.call_id] == actual
    estimated = books.rows[open_call.call_id]
    assert (estimated.error_code, estimated.estimated, estimated.reaped) == (GATEWAY_DIED, True, True)
    # The row has an estimate, the budget all that it may have cost.
    assert (estimated.cost_pico, estimated.held_pico) == (USD // 16, USD // 4)
    await until(lambda: dying.shared.owner not in other.keeper._reaping)
    await other.end(*held, USD // 100)
    # Slots are free; of the budget's 1.00 there are 0.25, 0.10 and 0.01 gone.
    first = await other.admit(cost=USD * 64 // 100)
    with pytest.raises(BudgetExceeded):
        await other.admit(cost=USD // 1000)
    await other.end(*first, 0)


async def test_what_a_dead_process_may_have_used_is_spent_of_a_soft_budget(processes, caplog):
    rules = (budget("tenant", amount="1", hard=False),)
    dying, other = await processes(*rules), await processes(*rules)
    await dying.admit(cost=USD * 2)
    await heard(dying)
    await other.admit(cost=1)
    said = "the soft budget 'b' is exceeded"
    assert said not in caplog.messages
    await dying.die()
    await until(lambda: len(processes.books.rows) == 1)
    await until(lambda: dying.shared.owner not in other.keeper._reaping)
    await other.admit(cost=1)
    assert said in caplog.messages


async def test_a_frozen_process_that_comes_back_replaces_its_rows_once(processes):
    rules = limit("tenant", parallel=1), budget("tenant", amount="1")
    frozen, other = await processes(*rules), await processes(*rules)
    opening, ticket = await frozen.admit(cost=USD // 2)
    for task in frozen.keeper._tasks:
        task.cancel()
    books = processes.books
    await until(lambda: opening.call_id in books.rows)
    await until(lambda: frozen.shared.owner not in other.keeper._reaping)
    taken = await other.admit(cost=USD // 2)
    await frozen.keeper.start()
    await frozen.end(opening, ticket, USD // 10)
    assert books.rows[opening.call_id].cost_pico == USD // 10
    assert not books.rows[opening.call_id].reaped
    await heard(frozen)
    with pytest.raises(LimitExceeded):
        await other.admit(cost=1)
    await other.end(*taken, USD // 2)
    last = await other.admit(cost=USD * 4 // 10)
    await other.end(*last, USD * 4 // 10)
    with pytest.raises(BudgetExceeded):
        await other.admit(cost=USD // 1000)


async def test_an_emptied_redis_gets_its_totals_back(processes):
    rules = (budget("tenant", amount="1"),)
    one, two = await processes(*rules), await processes(*rules)
    await one.end(*await one.admit(cost=USD // 10), USD // 10)
    opened = await two.admit(cost=USD * 3 // 10)
    unwritten, ticket = await one.admit(cost=USD * 3 // 10)
    ticket.settle(one.row(unwritten, USD * 2 // 10))
    await heard(one)
    await processes.redis.call("FLUSHALL")
    # 0.1 in the ledger, 0.3 open elsewhere, 0.2 settled and not written: 0.4 are left.
    results = await asyncio.gather(
        *(process.admit(cost=USD // 10) for process in (one, two) * 10), return_exceptions=True
    )
    admitted = [each for each in results if isinstance(each, tuple)]
    assert len(admitted) == 4
    assert all(isinstance(each, tuple | BudgetExceeded) for each in results)
    await two.end(*opened, USD // 10)
    await heard(two)
    more = [await one.admit(cost=USD // 10) for _ in range(2)]
    with pytest.raises(BudgetExceeded):
        await two.admit(cost=USD // 1000)
    del more


async def test_budgets_stay_closed_until_every_living_process_has_told_of_its_calls(processes):
    rules = (budget("tenant", amount="1"), limit("tenant", requests=100))
    one, two = await processes(*rules), await processes(*rules)
    opening, ticket = await two.admit(cost=USD * 9 // 10)
    for task in two.keeper._tasks:
        task.cancel()
    await processes.redis.call("FLUSHALL")
    started = time.monotonic()
    with pytest.raises(LimitsUnavailable):
        await one.admit(cost=USD // 5)
    assert 2 < time.monotonic() - started < 5
    await two.keeper.start()
    await until(one.keeper._open.is_set)
    with pytest.raises(BudgetExceeded):
        await one.admit(cost=USD // 5)
    await two.end(opening, ticket, 0)
    await heard(two)
    await one.admit(cost=USD // 5)


async def test_slots_of_calls_that_were_open_when_redis_was_emptied_are_counted(processes):
    one, two = await processes(limit("tenant", parallel=2)), await processes(limit("tenant", parallel=2))
    first, second, before = await one.admit(), await two.admit(), one.shared._life
    await processes.redis.call("FLUSHALL")
    await until(lambda: one.shared._life is not None and two.shared._life == one.shared._life != before)
    with pytest.raises(LimitExceeded):
        await one.admit()
    await one.end(*first, 0)
    await two.end(*second, 0)
    await asyncio.gather(heard(one), heard(two))
    await one.admit()
    await two.admit()


async def test_what_could_not_be_counted_is_counted_when_redis_is_back(processes, redis_server):
    rules = (budget("tenant", amount="1", when_unavailable="open"), limit("tenant", parallel=1))
    one = await processes(*rules)
    counted = await one.admit(cost=USD // 10)
    redis_server.process.freeze()
    try:
        started = time.monotonic()
        uncounted = await asyncio.gather(*(one.admit(cost=USD // 10) for _ in range(20)))
        assert time.monotonic() - started < 2.5
        started = time.monotonic()
        uncounted += [await one.admit(cost=USD // 10) for _ in range(10)]
        assert time.monotonic() - started < 0.5
        for opening, ticket in [counted, *uncounted[:25]]:
            await one.end(opening, ticket, USD // 100)
    finally:
        redis_server.process.thaw()
    await until(lambda: not one.client.is_down)
    await heard(one)
    # 26 calls cost 0.26; 5 are open at 0.10 each, and hold their slots.
    with pytest.raises(LimitExceeded):
        await one.admit(cost=USD // 10)
    for opening, ticket in uncounted[25:]:
        await one.end(opening, ticket, USD // 100)
    last = await one.admit(cost=USD * 69 // 100)
    await one.end(*last, USD * 69 // 100)
    with pytest.raises(BudgetExceeded):
        await one.admit(cost=USD // 1000)


async def test_calls_that_may_not_be_made_uncounted_are_refused_at_once_and_leave_nothing(
    processes, redis_server
):
    one = await processes(limit("tenant", parallel=3, when_unavailable="closed"))
    redis_server.process.freeze()
    try:
        started = time.monotonic()
        results = await asyncio.gather(*(one.admit() for _ in range(50)), return_exceptions=True)
        assert time.monotonic() - started < 2.5
        assert all(isinstance(each, LimitsUnavailable) for each in results)
    finally:
        redis_server.process.thaw()
    await until(lambda: not one.client.is_down)
    assert await one.admitted(5) == 3


async def test_an_orderly_end_leaves_nothing_behind(processes):
    rules = (budget("tenant", amount="1"), limit("tenant", parallel=5, requests=100, tokens=10**6))
    one, two = await processes(*rules), await processes(*rules)
    for opening, ticket in [await one.admit() for _ in range(5)]:
        await one.end(opening, ticket, USD // 100)
    await one.keeper.stop()
    assert processes.books.living_now == {two.shared.owner}
    assert await two.shared.processes() == {two.shared.owner}
    keys = [name.decode() for name in await processes.redis.call("KEYS", "*")]
    assert not [name for name in keys if "calls:" in name or "parallel" in name]


async def test_a_batch_that_is_sent_again_counts_once(processes):
    one = await processes()
    demands = asked(parallel(10))
    verdict = await one.shared.reserve("again", demands, Amounts(1, 1), b"{}")
    assert verdict.answer is Answer.GRANTED
    assert (await one.shared.reserve("again", demands, Amounts(1, 1), b"{}")).answer is Answer.GRANTED
    assert await one.client.call("GET", "sb:a:parallel") == b"1"


async def test_a_key_that_cannot_be_counted_in_keeps_nobody_else_from_counting(processes):
    one = await processes(limit("key", requests=10, when_unavailable="closed"), limit("tenant", parallel=5))
    await one.admit(key="good")
    name = next(iter(await processes.redis.call("KEYS", "*requests*good*"))).decode()
    await processes.redis.call("SET", name.replace("good", "bad"), "no hash")
    results = await asyncio.gather(
        *(one.admit(key=name) for name in ("good", "bad", "good", "good")), return_exceptions=True
    )
    assert [isinstance(each, tuple) for each in results] == [True, False, True, True]
    assert isinstance(results[1], LimitsUnavailable)
    assert len(one.shared) == 4
