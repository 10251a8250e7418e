"""What both databases promise."""

import asyncio

import pytest
from support.scratch_tables import (
    ADD_ACCOUNT,
    ADD_BODY,
    ADD_ENTRY,
    ADVANCE,
    ADVANCE_ALL,
    ADVANCE_RETURNING,
    ALL_ENTRIES,
    COUNT_ENTRIES,
    ENTRIES,
    GET_ACCOUNT,
    SOME_ACCOUNTS,
    SOME_ENTRIES,
)

from signalbox.common.storage import (
    DuplicateKey,
    NotStorable,
    PreconditionFailed,
    SchemaMissing,
    Statement,
    StatementFailed,
    StorageUnavailable,
    Write,
)
from signalbox.common.storage.migrations import MigrationSource

A = {"of_tenant": "t", "of_id": "a"}


@pytest.fixture(scope="session")
def database_source():
    return MigrationSource("scratch", "support.scratch_migrations")


def account(name, **values):
    return Write(ADD_ACCOUNT, {"tenant": "t", "id": name, "email": None, **values})


def body(seq, text=""):
    return Write(ADD_BODY, {"seq": seq, "body": text})


def advance(seen, expect=1, statement=ADVANCE):
    return Write(statement, {**A, "seen": seen}, expect)


async def seqs(database):
    return [row["seq"] for row in await database.fetch_all(ALL_ENTRIES)]


async def version(database):
    return (await database.fetch_one(GET_ACCOUNT, A))["version"]


async def test_values_come_back_as_they_were(database):
    rows = [
        {
            "seq": 1,
            "body": "a 'b' \"c\" \\ % :x $1 {} 😀",
            "amount": 2**63 - 1,
            "ratio": 0.1,
            "raw": b"\0\xff'\\",
        },
        {"seq": 2, "body": "", "amount": -(2**63), "ratio": -1e300, "raw": b""},
        {"seq": 3, "body": None, "amount": None, "ratio": None, "raw": None},
    ]
    await database.write(*(Write(ADD_ENTRY, row) for row in rows))
    assert await database.fetch_all(ALL_ENTRIES) == rows
    # Often enough to be prepared: the same values through the prepared statement.
    for _ in range(5):
        assert await database.fetch_all(ALL_ENTRIES) == rows


async def test_aggregates_are_numbers_in_both(database):
    assert await database.fetch_one(COUNT_ENTRIES) == {"number": 0, "total": None}
    await database.write(*(Write(ADD_ENTRY, _entry(seq, amount=2**40)) for seq in range(3)))
    row = await database.fetch_one(COUNT_ENTRIES)
    assert row == {"number": 3, "total": 3 * 2**40}
    assert type(row["total"]) is int


def _entry(seq, **values):
    return {"seq": seq, "body": None, "amount": None, "ratio": None, "raw": None, **values}


async def test_fetch_one_without_a_row(database):
    assert await database.fetch_one(GET_ACCOUNT, A) is None
    assert await database.fetch_all(GET_ACCOUNT, A) == []


async def test_lists_match_any_of_their_values(database):
    await database.write(account("a"), account('b"\\,{}'), account("c"), *(body(seq) for seq in range(4)))
    found = await database.fetch_all(SOME_ACCOUNTS, {"ids": ["a", 'b"\\,{}', "nobody"]})
    assert [row["id"] for row in found] == ["a", 'b"\\,{}']
    assert await database.fetch_all(SOME_ACCOUNTS, {"ids": []}) == []
    assert await database.fetch_all(SOME_ENTRIES, {"seqs": [1, 3, 99]}) == [{"seq": 1}, {"seq": 3}]


async def test_writes_run_in_order_and_see_each_other(database):
    results = await database.write(
        account("a"),
        advance(0),
        advance(1),
        Write(GET_ACCOUNT, A, 1),
        advance(2, statement=ADVANCE_RETURNING),
    )
    assert results == [[], [], [], [{"id": "a", "version": 2, "email": None}], [{"id": "a", "version": 3}]]


async def test_returning_without_an_expectation(database):
    await database.write(account("a"), account("b"))
    results = await database.write(
        Write(ADVANCE_ALL, {"of_tenant": "t"}), Write(ADVANCE_ALL, {"of_tenant": "u"})
    )
    assert sorted(row["id"] for row in results[0]) == ["a", "b"]
    assert results[1] == []


async def test_returning_with_an_expectation(database):
    await database.write(account("a"), account("b"))
    two, none = await database.write(
        Write(ADVANCE_ALL, {"of_tenant": "t"}, 2), Write(ADVANCE_ALL, {"of_tenant": "nobody"}, 0)
    )
    assert sorted(row["id"] for row in two) == ["a", "b"]
    assert none == []


@pytest.mark.parametrize("repetitions", [1, 8])  # the eighth time every statement is prepared
@pytest.mark.parametrize("statement", [ADVANCE, ADVANCE_RETURNING])
async def test_a_failed_precondition_writes_nothing(database, statement, repetitions):
    await database.write(account("a"))
    for _ in range(repetitions):
        with pytest.raises(PreconditionFailed) as failure:
            await database.write(body(1), advance(0), advance(7, statement=statement), body(2))
        assert failure.value.index == 2
        assert failure.value.status == 409
    assert await seqs(database) == []
    assert await version(database) == 0


async def test_too_many_rows_fail_a_precondition_too(database):
    await database.write(account("a"), account("b"))
    with pytest.raises(PreconditionFailed) as failure:
        await database.write(body(1), Write(ADVANCE_ALL, {"of_tenant": "t"}, 1))
    assert failure.value.index == 1
    with pytest.raises(PreconditionFailed):
        await database.write(Write(ADVANCE_ALL, {"of_tenant": "t"}, 0))
    assert await version(database) == 0


async def test_a_read_can_be_a_precondition(database):
    with pytest.raises(PreconditionFailed) as failure:
        await database.write(body(1), Write(GET_ACCOUNT, A, 1))
    assert failure.value.index == 1
    await database.write(Write(GET_ACCOUNT, A, 0), account("a"))
    assert await version(database) == 0


async def test_a_precondition_on_a_statement_that_begins_with_with(database):
    await database.write(account("a"), account("b"))
    statement = Statement(
        "WITH one AS (SELECT id FROM accounts WHERE tenant = :of_tenant LIMIT 1)"
        " UPDATE accounts SET version = 9 WHERE id = (SELECT id FROM one)"
    )
    await database.write(Write(statement, {"of_tenant": "t"}, 1))
    with pytest.raises(PreconditionFailed):
        await database.write(Write(statement, {"of_tenant": "nobody"}, 1))


async def test_a_duplicate_key_names_the_statement_and_writes_nothing(database):
    await database.write(account("a", email="a@example.org"))
    with pytest.raises(DuplicateKey) as primary:
        await database.write(body(1), account("b"), account("a"))
    assert primary.value.index == 2
    with pytest.raises(DuplicateKey) as unique:
        await database.write(account("b", email="a@example.org"), expect_nothing())
    assert unique.value.index == 0
    assert "email" in unique.value.constraint
    assert await seqs(database) == []


def expect_nothing():
    return Write(GET_ACCOUNT, {"of_tenant": "t", "of_id": "nobody"}, 0)


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d"])
async def test_text_that_no_column_can_hold(database, text):
    with pytest.raises(NotStorable) as failure:
        await database.write(body(1, text))
    assert failure.value.status == 400
    assert await seqs(database) == []


async def test_a_number_over_64_bits(database):
    with pytest.raises(NotStorable):
        await database.write(body(1), body(2**63))
    assert await seqs(database) == []


async def test_a_value_of_a_foreign_type(database):
    with pytest.raises(TypeError, match="values of type dict are not stored"):
        await database.write(body(1, {"not": "text"}))


async def test_a_missing_table_says_what_to_do(database):
    absent = Statement("SELECT id FROM absent")
    with pytest.raises(SchemaMissing, match="signalbox migrate"):
        await database.fetch_all(absent)
    with pytest.raises(SchemaMissing):
        await database.write(body(1), Write(absent))
    assert await seqs(database) == []


async def test_a_defect_is_not_shown_to_the_client(database):
    broken = Statement("INSERT INTO accounts (tenant, id) VALUES (:tenant, 'secret-value')")
    with pytest.raises(StatementFailed) as failure:
        await database.write(body(1), Write(broken, {"tenant": "t"}))
    assert failure.value.status == 500
    assert "version" in failure.value.reason
    assert "secret-value" not in failure.value.problem().model_dump_json()
    assert await seqs(database) == []


async def test_nothing_to_write(database):
    assert await database.write() == []


async def test_a_read_sees_every_write_that_has_returned(database):
    async def write_and_read(seq):
        await database.write(body(seq))
        assert await database.fetch_one(SOME_ENTRIES, {"seqs": [seq]}) == {"seq": seq}

    await asyncio.gather(*(write_and_read(seq) for seq in range(100)))


async def test_one_of_a_hundred_compare_and_sets_wins_each_round(database):
    await database.write(account("a"))
    for seen in range(5):
        outcomes = await asyncio.gather(
            *(database.write(body(seen * 1000 + worker), advance(seen)) for worker in range(100)),
            return_exceptions=True,
        )
        losers = [outcome for outcome in outcomes if isinstance(outcome, PreconditionFailed)]
        assert len(losers) == 99, [outcome for outcome in outcomes if outcome not in losers][:3]
        assert {loser.index for loser in losers} == {1}
    assert await version(database) == 5
    assert [seq // 1000 for seq in await seqs(database)] == [0, 1, 2, 3, 4]


async def test_a_failing_list_does_not_touch_its_neighbours(database):
    await database.write(body(50))
    outcomes = await asyncio.gather(
        *(database.write(body(1000 + seq), body(seq)) for seq in range(100)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(DuplicateKey) == 1
    expected = [*range(100), *(1000 + seq for seq in range(100) if seq != 50)]
    assert await seqs(database) == expected


async def test_a_cancelled_caller_leaves_all_or_nothing_and_a_working_database(database):
    tasks = [asyncio.create_task(database.write(body(seq), body(1000 + seq))) for seq in range(60)]
    for turns, task in enumerate(tasks):
        # Some are cancelled before they begin, some while the database works.
        for _ in range(turns % 4):
            await asyncio.sleep(0)
        if turns % 3:
            task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await database.write(body(5000))
    written = await seqs(database)
    assert [seq for seq in written if seq < 1000] == [seq - 1000 for seq in written if 1000 <= seq < 2000]
    acknowledged = {seq for seq, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)}
    assert acknowledged <= set(written)
    assert len(acknowledged) >= 20
    await asyncio.gather(*(database.write(body(6000 + seq)) for seq in range(20)))


async def test_large_lists(database):
    await database.write(*(body(seq, "x" * 5000) for seq in range(1000)))
    rows = await database.fetch_all(ALL_ENTRIES)
    assert len(rows) == 1000
    assert all(row["body"] == "x" * 5000 for row in rows)


async def test_ping(database):
    await database.ping()


async def test_close_finishes_what_was_begun(database):
    writes = [asyncio.create_task(database.write(body(seq))) for seq in range(30)]
    await asyncio.sleep(0)
    await asyncio.gather(database.close(), *writes)
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.fetch_all(ALL_ENTRIES)
    await database.close()


async def test_tables_as_the_repository_sees_them(database):
    columns = [column.name for column in ENTRIES.columns]
    await database.write(Write(ADD_ENTRY, _entry(1)))
    assert list((await database.fetch_all(ALL_ENTRIES))[0]) == columns
