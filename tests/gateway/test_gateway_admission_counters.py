"""What counts limits and budgets: the same bodies in memory and in Redis."""

import asyncio
import dataclasses
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from support.admission_counting import (
    NONE,
    Counting,
    asked,
    budget,
    in_memory,
    in_redis,
    parallel,
    requests,
    tokens,
    used,
)
from support.admission_setup import Setup
from support.admission_setup import budget as budget_rule

from signalbox.llm_gateway.admission.counters import NEVER_MS, UNKNOWN_MS, Amounts, Answer, Used
from signalbox_local import RedisServer

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def counting(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Counting]:
    if request.param == "memory":
        yield in_memory()
        return
    made = await in_redis(redis_server.url)
    yield made
    await made.client.close()


ids = (f"call{number}" for number in itertools.count())


async def reserve(counting, demands, amounts=NONE, call_id=None):
    return await counting.counters.reserve(call_id or next(ids), demands, amounts, b"{}")


async def granted(counting, demands, amounts=NONE):
    """The id of a call that must be admitted."""
    call_id = next(ids)
    verdict = await reserve(counting, demands, amounts, call_id)
    assert verdict.answer is Answer.GRANTED, verdict
    return call_id


async def test_exactly_the_limit_is_admitted_of_many_at_once(counting):
    demands = asked(requests(40))
    verdicts = await asyncio.gather(*(reserve(counting, demands) for _ in range(400)))
    assert sum(verdict.answer is Answer.GRANTED for verdict in verdicts) == 40


async def test_two_processes_share_a_limit(counting):
    other = await counting.another()
    demands = asked(requests(40))
    verdicts = await asyncio.gather(
        *(
            counters.reserve(next(ids), demands, NONE, b"{}")
            for _ in range(100)
            for counters in (counting.counters, other)
        )
    )
    assert sum(verdict.answer is Answer.GRANTED for verdict in verdicts) == 40


async def test_no_window_ever_holds_more_than_its_limit(counting):
    rng = random.Random(7)
    demands = asked(requests(20, window_s=60))
    taken = []
    for _ in range(600):
        await counting.advance(rng.randrange(2_000_000))
        if (await reserve(counting, demands)).answer is Answer.GRANTED:
            taken.append(counting.clock.us)
    assert len(taken) > 100
    for index, moment in enumerate(taken[:-20]):
        assert taken[index + 20] - moment > MINUTE_US


async def test_a_refusal_says_exactly_when_there_is_room(counting):
    demands = asked(requests(2))
    await granted(counting, demands)
    await counting.advance(10_300_000)
    await granted(counting, demands)
    await counting.advance(20_000_000)
    refused = await reserve(counting, demands)
    assert (refused.answer, refused.index) == (Answer.REFUSED, 0)
    await counting.advance(refused.ms * 1000 - 1000)
    assert (await reserve(counting, demands)).answer is Answer.REFUSED
    await counting.advance(1000)
    await granted(counting, demands)


async def test_a_refused_call_takes_nothing_and_the_first_obstacle_is_named(counting):
    both = asked(requests(5), parallel(1), tokens(1000))
    first = await granted(counting, both, Amounts(100, 0))
    for _ in range(10):
        refused = await reserve(counting, both, Amounts(100, 0))
        assert (refused.index, refused.ms) == (1, UNKNOWN_MS)
    counting.counters.settle(first, used(100), b"{}")
    for _ in range(4):
        call_id = await granted(counting, both, Amounts(100, 0))
        counting.counters.settle(call_id, used(100), b"{}")
    assert (await reserve(counting, both, Amounts(100, 0))).index == 0


async def test_what_windows_have_left_is_said_in_their_order(counting):
    await counting.counters.seed(day := budget(100, counting.clock), 0, 0)
    demands = asked(requests(5), parallel(9), tokens(1000), day)
    first = await reserve(counting, demands, Amounts(300, 10), call_id := next(ids))
    assert (first.answer, list(first.rooms)) == (Answer.GRANTED, [4, 700])
    counting.counters.settle(call_id, used(50), b"{}")
    second = await reserve(counting, demands, Amounts(900, 10))
    assert list(second.rooms) == [3, 50]
    refused = await reserve(counting, demands, Amounts(51, 10))
    assert (refused.answer, refused.index, list(refused.rooms)) == (Answer.REFUSED, 2, [3, 50])
    # Refused by something else.
    refused = await reserve(counting, asked(requests(5), tokens(1000), parallel(1)), Amounts(0, 0))
    assert (refused.index, list(refused.rooms)) == (2, [3, 50])
    await counting.advance(2 * MINUTE_US)
    assert list((await reserve(counting, demands, Amounts(1, 0))).rooms) == [4, 999]
    assert list((await reserve(counting, asked(parallel(9)))).rooms) == []


async def test_soft_budgets_that_are_exceeded_are_told_beside_what_windows_have_left(counting):
    soft = dataclasses.replace(budget(100, counting.clock), kind="soft")
    await counting.counters.seed(soft, 0, 500)
    verdict = await reserve(counting, asked(requests(5), soft, tokens(10)), Amounts(3, 1))
    assert (verdict.answer, verdict.over, list(verdict.rooms)) == (Answer.GRANTED, (1,), [4, 7])


async def test_tokens_are_settled_to_what_was_used(counting):
    demands = asked(tokens(1000))
    first = await granted(counting, demands, Amounts(900, 0))
    assert (await reserve(counting, demands, Amounts(200, 0))).answer is Answer.REFUSED
    counting.counters.settle(first, used(100), b"{}")
    second = await granted(counting, demands, Amounts(900, 0))
    counting.counters.settle(second, used(950), b"{}")
    assert (await reserve(counting, demands, Amounts(1, 0))).answer is Answer.REFUSED
    refused = await reserve(counting, demands, Amounts(1001, 0))
    assert refused.ms == NEVER_MS


async def test_what_has_left_the_window_is_corrected_no_more(counting):
    demands = asked(tokens(1000))
    old = await granted(counting, demands, Amounts(900, 0))
    await counting.advance(61_000_001)
    await granted(counting, demands, Amounts(900, 0))
    counting.counters.settle(old, used(0), b"{}")
    assert (await reserve(counting, demands, Amounts(200, 0))).answer is Answer.REFUSED


async def test_a_call_given_back_was_never_there(counting):
    await counting.counters.seed(day := budget(100, counting.clock), 0, 0)
    demands = asked(requests(1), parallel(1), tokens(10), day)
    for _ in range(5):
        call_id = await granted(counting, demands, Amounts(10, 100))
        counting.counters.give_back(call_id)
        counting.counters.give_back(call_id)


async def test_parallel_calls_end_once(counting):
    demands = asked(parallel(2))
    first, _ = await granted(counting, demands), await granted(counting, demands)
    assert (await reserve(counting, demands)).answer is Answer.REFUSED
    for _ in range(3):
        counting.counters.settle(first, used(), b"{}")
    await granted(counting, demands)
    assert (await reserve(counting, demands)).answer is Answer.REFUSED


async def test_a_budget_admits_exactly_what_fits(counting):
    await counting.counters.seed(day := budget(1000, counting.clock), 0, 0)
    demands = asked(day)
    verdicts = await asyncio.gather(*(reserve(counting, demands, Amounts(0, 300)) for _ in range(50)))
    assert [verdict.answer for verdict in verdicts].count(Answer.GRANTED) == 3
    refused = next(verdict for verdict in verdicts if verdict.answer is Answer.REFUSED)
    assert refused.ms == day.end_ms - counting.clock.us // 1000


async def test_a_budget_is_settled_to_the_cost_also_of_another_batch(counting):
    await counting.counters.seed(day := budget(1000, counting.clock), 0, 0)
    demands = asked(day)
    for _ in range(9):
        call_id = await granted(counting, demands, Amounts(0, 200))
        counting.counters.settle(call_id, used(0, 100), b"{}")
    assert (await reserve(counting, demands, Amounts(0, 101))).answer is Answer.REFUSED
    await granted(counting, demands, Amounts(0, 100))


async def test_large_sums_are_exact(counting):
    nine_million = 9_000_000 * 10**9
    await counting.counters.seed(day := budget(nine_million, counting.clock), 0, nine_million - 3)
    await granted(counting, asked(day), Amounts(0, 3))
    assert (await reserve(counting, asked(day), Amounts(0, 1))).answer is Answer.REFUSED


async def test_a_soft_budget_says_that_more_is_spent_not_that_more_is_reserved(counting):
    await counting.counters.seed(day := budget(100, counting.clock, hard=False), 0, 0)
    demands = asked(requests(10), day)

    async def call(name, amount):
        return (await reserve(counting, demands, Amounts(0, amount), name)).over

    assert await call("a", 1000) == ()
    assert await call("b", 500) == ()
    await counting.counters.extend("b", 1, asked(day), Amounts(0, 500))
    counting.counters.settle("a", used(0, 100), b"{}")
    counting.counters.settle("a", used(0, 100), b"{}")
    assert await call("c", 1000) == ()
    counting.counters.give_back("c")
    assert await call("d", 1000) == ()
    counting.counters.settle("b", used(0, 1), b"{}")
    assert await call("e", 1000) == (1,)


@pytest.mark.parametrize("earlier", [0, 40])
@pytest.mark.parametrize("change", [-30, 30])
async def test_a_correction_is_in_a_budget_once_whether_it_comes_before_what_was_spent_or_after(
    counting, earlier, change
):
    day, counters = budget(100, counting.clock), counting.counters

    def correct(name):
        counters.assume(name, asked(day), Amounts(0, change), b"")
        counters.settle(name, Used(Amounts(0, change)), b"")

    if earlier:
        assert await counters.seed(day, 0, earlier)
    correct("corr_1")
    if earlier:
        left = 100 - earlier - change
    else:
        assert (await reserve(counting, asked(day), Amounts(0, 1))).answer is Answer.COLD
        assert await counters.counted(day) == ["corr_1"]
        # What was read without the correction.
        assert await counters.seed(day, 1, 50)
        left = 50 - change
    counters.forget(["corr_1"])
    await granted(counting, asked(day), Amounts(0, left))
    assert (await reserve(counting, asked(day), Amounts(0, 1))).answer is Answer.REFUSED


async def test_a_correction_that_is_not_written_is_taken_back(counting):
    day, counters = budget(100, counting.clock), counting.counters
    await counters.seed(day, 0, 0)
    counters.assume("corr_1", asked(day), Amounts(0, 100), b"")
    counters.give_back("corr_1")
    await granted(counting, asked(day), Amounts(0, 100))


async def test_a_budget_asks_for_what_was_spent_before(counting):
    day = budget(1000, counting.clock)
    cold = await reserve(counting, asked(day), Amounts(0, 10))
    assert (cold.answer, cold.index) == (Answer.COLD, 0)
    assert await counting.counters.counted(day) == []
    assert await counting.counters.seed(day, 0, 950)
    assert await counting.counters.seed(day, 0, 950)
    await granted(counting, asked(day), Amounts(0, 50))
    assert (await reserve(counting, asked(day), Amounts(0, 1))).answer is Answer.REFUSED


async def test_a_window_that_began_under_our_eyes_starts_at_zero(counting):
    await counting.counters.seed(first := budget(100, counting.clock, "hour"), 0, 0)
    await granted(counting, asked(first), Amounts(0, 100))
    await counting.go_to(first.end_ms * 1000)
    stale = await reserve(counting, asked(first), Amounts(0, 1))
    assert (stale.answer, stale.ms) == (Answer.STALE, first.end_ms)
    await granted(counting, asked(budget(100, counting.clock, "hour")), Amounts(0, 100))


async def test_a_call_is_paid_in_the_window_in_which_it_began(counting):
    await counting.counters.seed(first := budget(100, counting.clock, "hour"), 0, 0)
    call_id = await granted(counting, asked(first), Amounts(0, 60))
    await counting.go_to(first.end_ms * 1000)
    second = budget(100, counting.clock, "hour")
    await granted(counting, asked(second), Amounts(0, 50))
    extended = await counting.counters.extend(call_id, 1, asked(first), Amounts(0, 40))
    assert extended.answer is Answer.GRANTED
    counting.counters.settle(call_id, used(0, 100, 0), b"{}")
    await granted(counting, asked(second), Amounts(0, 50))
    assert (await reserve(counting, asked(second), Amounts(0, 1))).answer is Answer.REFUSED


async def test_an_extension_is_settled_with_its_call(counting):
    await counting.counters.seed(day := budget(1000, counting.clock), 0, 0)
    deployment = tokens(100)
    call_id = await granted(counting, asked(parallel(1), day), Amounts(0, 400))
    more = asked(deployment, day)
    assert (await counting.counters.extend(call_id, 1, more, Amounts(60, 300))).answer is Answer.GRANTED
    assert (await counting.counters.extend(call_id, 2, more, Amounts(60, 10))).answer is Answer.REFUSED
    assert (await counting.counters.extend(call_id, 3, more, Amounts(40, 301))).answer is Answer.REFUSED
    counting.counters.settle(call_id, used(0, 500, 30), b"{}")
    await granted(counting, asked(parallel(1), deployment, day), Amounts(70, 500))
    assert (await reserve(counting, asked(day), Amounts(0, 1))).answer is Answer.REFUSED
    assert (await reserve(counting, asked(deployment), Amounts(1, 0))).answer is Answer.REFUSED


async def test_a_caller_that_leaves_at_any_moment_takes_nothing(counting):
    """Cancelled before it is sent, on its way, and when the answer is there but not seen."""
    demands = asked(parallel(1))
    for turns in range(12):
        call_id = next(ids)
        task = asyncio.ensure_future(reserve(counting, demands, NONE, call_id))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0002)
        if task.done():
            counting.counters.give_back(call_id)
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        call_id = await granted(counting, demands)
        counting.counters.give_back(call_id)


async def test_nothing_is_left_when_all_have_ended(counting):
    await counting.counters.seed(day := budget(10**9, counting.clock), 0, 0)
    demands = asked(requests(1000), tokens(10**6), parallel(50), day)
    calls = [await granted(counting, demands, Amounts(100, 1000)) for _ in range(50)]
    for call_id in calls:
        counting.counters.settle(call_id, used(7, 13), b"{}")
    counting.counters.forget(calls)
    # The next one sees all that was said before it.
    last = await granted(counting, demands, Amounts(100, 1000))
    counting.counters.give_back(last)
    await granted(counting, asked(parallel(1)))


async def test_an_extension_that_ends_frees_its_slot_once(counting):
    slot = asked(parallel(1))
    call_id = await granted(counting, asked(requests(10)))
    for number in (1, 2, 3):
        extended = await counting.counters.extend(call_id, number, slot, NONE)
        assert extended.answer is Answer.GRANTED
        refused = await counting.counters.extend(call_id, 9, slot, NONE)
        assert refused.answer is Answer.REFUSED
        counting.counters.end_extension(call_id, number)
        counting.counters.end_extension(call_id, number)
    await granted(counting, slot)
    counting.counters.settle(call_id, used(0, 0, 0, 0, 0), b"{}")
    assert (await reserve(counting, slot)).answer is Answer.REFUSED


class _Now:
    """The counters' clock, as a gateway process reads it: ``wrong_ms`` off."""

    def __init__(self, counting, wrong_ms=0):
        self._counting = counting
        self._wrong_ms = wrong_ms

    def __call__(self):
        return self.ms() / 1000

    def ms(self):
        return self._counting.clock.us // 1000 + self._wrong_ms


@pytest.mark.parametrize("wrong_ms", [0, -40_000, 40_000])
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/Sao_Paulo", "2026-10-25", 24),
    ],
)
async def test_a_budget_begins_anew_at_local_midnight_on_the_clock_that_counts(
    counting, zone, day, hours, wrong_ms
):
    """Also where the process's own clock is wrong: it is told, and asks again."""
    midnight = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000
    await counting.go_to(midnight)
    setup = Setup(
        budget_rule(amount="0.02"), clock=_Now(counting, wrong_ms), zone=zone, counters=counting.counters
    )
    assert await setup.admitted(3) == 2
    await counting.advance(hours * HOUR_US - 1000)
    assert await setup.admitted(3) == 0
    await counting.advance(1000)
    assert await setup.admitted(3) == 2
