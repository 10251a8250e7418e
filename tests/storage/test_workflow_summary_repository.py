"""Summaries and the turns after them, on both databases."""

from dataclasses import replace

import pytest
from support.workflow_records import NOW, after, erasure, new_session, rows, turn

from signalbox.contracts.events import UsageData
from signalbox.workflow.caps import SqlSpending
from signalbox.workflow.recall.repository import SqlSummaryStore
from signalbox.workflow.records import Summary
from signalbox.workflow.repository import SqlSessionStore

USED = UsageData(model="m", input_tokens=5, output_tokens=2, cost="0.5", currency="USD")


@pytest.fixture(scope="session")
def database_service():
    return "workflow"


@pytest.fixture
def summaries(database):
    return SqlSummaryStore(database)


async def talked(database, count, **changes):
    session = new_session()
    for number in range(1, count + 1):
        following = after(session)
        await SqlSessionStore(database).commit(session, following, turn(number, **changes), begun=False)
        session = replace(following, stored=True)
    return session


def summary(through, text="said", epoch=1):
    return Summary("acme", "s1", epoch, through, text, NOW)


async def test_the_summary_comes_with_the_turns_after_it(summaries, database):
    session = await talked(database, 6)
    known = await summaries.recall(session, 4)
    assert (known.summary, [each.seq for each in known.turns]) == (None, [3, 4, 5, 6])
    await summaries.keep(summary(4), None, None)
    known = await summaries.recall(session, 4)
    assert (known.summary, [each.seq for each in known.turns]) == (summary(4), [5, 6])
    for changes in ({"tenant": "rival"}, {"session_id": "s2"}, {"epoch": 2}):
        assert (await summaries.recall(replace(session, **changes), 4)).turns == []
    assert (await summaries.recall(session, 0)).turns == []


async def test_what_summaries_cost_after_turns_adds_up_in_an_epoch(summaries, database):
    session = await talked(database, 6)
    spending = SqlSpending(database)
    assert await spending.of_summaries(session) == 0
    await summaries.keep(summary(2), "t2", USED)
    await summaries.keep(summary(3), None, None)  # made in a turn, whose cost it is
    await summaries.keep(summary(4), "t4", USED)
    assert await spending.of_summaries(session) == 10**12
    assert await spending.of_summaries(replace(session, epoch=2)) == 0
    assert await spending.of_summaries(replace(session, tenant="rival")) == 0


async def test_an_older_summary_does_not_replace_a_later_one(summaries, database):
    session = await talked(database, 6)
    await summaries.keep(summary(4, "later"), None, None)
    await summaries.keep(summary(3, "older"), None, None)
    assert (await summaries.recall(session, 9)).summary == summary(4, "later")
    await summaries.keep(summary(5, "newest"), None, None)
    assert (await summaries.recall(session, 9)).summary == summary(5, "newest")


async def test_none_is_kept_of_an_epoch_that_is_over_or_a_session_that_is_gone(summaries, database):
    session = await talked(database, 2)
    await summaries.keep(summary(1, epoch=2), None, None)
    await summaries.keep(replace(summary(1), session_id="s9"), None, None)
    assert await rows(database, "summaries") == []
    await summaries.keep(summary(1), None, None)
    await SqlSessionStore(database).delete(session, erasure(), NOW)
    assert await rows(database, "summaries") == []
    await summaries.keep(summary(1), None, None)
    assert await rows(database, "summaries") == []


@pytest.mark.parametrize(
    ("before", "sum_of"),
    [
        ({}, (5, 2, 5 * 10**11, "USD")),
        (
            {"input_tokens": 1, "output_tokens": 1, "cost_pico": 7, "currency": "USD"},
            (6, 3, 5 * 10**11 + 7, "USD"),
        ),
        ({"input_tokens": 1, "output_tokens": 1}, (6, 3, None, "USD")),
        ({"input_tokens": 1, "output_tokens": 1, "cost_pico": 7, "currency": "EUR"}, (6, 3, None, "EUR")),
    ],
)
async def test_what_it_cost_is_added_to_its_turn(summaries, database, before, sum_of):
    await talked(database, 1, **before)
    await summaries.keep(summary(1), "acme-s1-1", USED)
    [row] = await rows(database, "turns")
    assert tuple(row[name] for name in ("input_tokens", "output_tokens", "cost_pico", "currency")) == sum_of
