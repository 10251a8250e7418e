import asyncio
import sqlite3

import pytest
from sqlalchemy import Text
from support.admission_setup import uncounted_usage

from signalbox.common.storage import (
    NotStorable,
    SchemaMissing,
    Statement,
    StorageUnavailable,
    open_database,
)
from signalbox.common.storage.migrations import migrate, script_head
from signalbox.llm_gateway import migrations
from signalbox.llm_gateway.errors import LedgerFull, MalformedCall
from signalbox.llm_gateway.ledger import BATCH, BatchedLedger
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.records import Labels, LedgerAttempt, LedgerCall, storable
from signalbox.llm_gateway.repository import LedgerRepository
from signalbox.llm_gateway.tables import METADATA
from signalbox.llm_gateway.usage import Correction, UsageQuery

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2


def call(call_id="c1", tenant="acme", model="m", cost=5, outcome="ok", created_at=NOON, **fields):
    attempt = LedgerAttempt(
        1, "openai/m", "m", Tokens(10, 4, cached=3), cost, cost and "USD", False, outcome, 200, None, 7
    )
    values = {
        "tenant": tenant,
        "call_id": call_id,
        "subject": "key:1",
        "labels": Labels(workflow_id="w", session_id="s"),
        "operation": "chat/completions",
        "model_asked": model,
        "model_answered": "m",
        "deployment": "openai/m",
        "streamed": True,
        "tokens": Tokens(10, 4, cached=3),
        "cost_pico": cost,
        "currency": cost and "USD",
        "priced": cost is not None,
        "estimated": False,
        "emulated": None,
        "outcome": outcome,
        "status": 200,
        "error_code": None,
        "latency_ms": 7,
        "first_token_ms": 3,
        "trace_id": "t",
        "created_at": created_at,
        "attempts": (attempt,),
    }
    return LedgerCall(**{**values, **fields})


class FakeStore:
    """Keeps batches; raises what it is told to first."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.batches = []
        self.refused = set()
        self.grew = asyncio.Event()

    async def insert(self, calls):
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        if self.refused & {one.call_id for one in calls}:
            raise NotStorable("a value that no column can hold")
        self.batches.append([one.call_id for one in calls])
        self.grew.set()

    async def until(self, count):
        async with asyncio.timeout(5):
            while len(self.ids()) < count:
                self.grew.clear()
                await self.grew.wait()

    def ids(self):
        return [call_id for batch in self.batches for call_id in batch]


@pytest.fixture
async def database(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    await asyncio.to_thread(migrate, "llm_gateway", "signalbox.llm_gateway.migrations", url)
    opened = open_database(url)
    yield opened
    await opened.close()


@pytest.fixture
def repository(database):
    return LedgerRepository(database)


@pytest.fixture
def usage(database):
    return uncounted_usage(database)


async def test_rows_are_written_in_batches_soon_after():
    store = FakeStore()
    ledger = BatchedLedger(store, max_waiting=10_000)
    await ledger.start()
    for number in range(BATCH + 1):
        ledger.record(call(f"c{number}"))
    await store.until(BATCH + 1)
    assert [len(batch) for batch in store.batches] == [BATCH, 1]
    await ledger.close()


async def test_whoever_remembers_open_calls_is_told_which_are_committed():
    told = []
    store = FakeStore(StorageUnavailable("away"))
    store.refused = {"c2"}
    ledger = BatchedLedger(store, max_waiting=10, on_written=told.append)
    await ledger.start()
    ledger.record(call("c1"))
    ledger.record(call("c2"))
    await store.until(1)
    await ledger.close()
    assert told == [["c1"]]


async def test_closing_writes_what_waits():
    store = FakeStore()
    ledger = BatchedLedger(store, max_waiting=10)
    await ledger.start()
    ledger.record(call("c1"))
    await ledger.close()
    assert store.ids() == ["c1"]


async def test_rows_wait_for_a_database_that_is_away_and_none_is_lost_or_doubled():
    store = FakeStore(StorageUnavailable("away"), StorageUnavailable("away"))
    ledger = BatchedLedger(store, max_waiting=10)
    await ledger.start()
    ledger.record(call("c1"))
    ledger.record(call("c2"))
    await store.until(2)
    await ledger.close()
    assert store.ids() == ["c1", "c2"]


async def test_a_row_that_is_refused_does_not_keep_others_out():
    store = FakeStore()
    store.refused = {"c2"}
    ledger = BatchedLedger(store, max_waiting=10)
    await ledger.start()
    for call_id in ("c1", "c2", "c3"):
        ledger.record(call(call_id))
    await ledger.close()
    assert store.ids() == ["c1", "c3"]


async def test_no_call_is_admitted_while_too_many_rows_wait(monkeypatch):
    monkeypatch.setattr("signalbox.llm_gateway.ledger.ADMIT_S", 0.01)
    store = FakeStore()
    ledger = BatchedLedger(store, max_waiting=2)
    await ledger.admit()
    ledger.record(call("c1"))
    ledger.record(call("c2"))
    with pytest.raises(LedgerFull):
        await ledger.admit()
    await ledger.start()
    await store.until(2)
    await ledger.admit()
    await ledger.close()


async def test_a_row_is_kept_once_however_often_it_is_written(repository, usage):
    for _ in range(2):
        await repository.insert([call("c1"), call("c2")])
    (line,) = await usage.lines(UsageQuery("acme", 0))
    assert (line.calls, line.input_tokens, line.output_tokens) == (2, 20, 8)


def test_a_purpose_that_is_none_is_refused():
    with pytest.raises(MalformedCall, match="playground"):
        Labels.from_headers({"signalbox-purpose": "fun"})


def test_only_who_may_act_for_users_says_for_which_one():
    headers = {"signalbox-user-id": "ann"}
    assert Labels.from_headers(headers).user_id is None
    assert Labels.from_headers(headers, names_users=True).user_id == "ann"


async def test_usage_is_by_tenant_day_model_and_currency(repository, usage):
    await repository.insert(
        [
            call("c1", cost=1_500_000_000_000),
            call("c2", cost=None, outcome="aborted", estimated=True),
            call("c3", model="n", created_at=NOON + DAY),
            call("c4", tenant="other"),
            call("c5", created_at=NOON - 5 * DAY),
        ]
    )
    lines = await usage.lines(UsageQuery("acme", NOON - DAY))
    assert [(line.day, line.model, line.currency, line.cost) for line in lines] == [
        ("2024-10-05", "n", "USD", "0.000000000005"),
        ("2024-10-04", "m", None, None),
        ("2024-10-04", "m", "USD", "1.5"),
    ]
    assert [(line.failed_calls, line.unpriced_calls, line.estimated_calls) for line in lines[1:]] == [
        (1, 1, 1),
        (0, 0, 0),
    ]


async def test_usage_is_filtered_and_grouped_as_asked(repository, usage):
    shop, lab = Labels(workflow_id="shop"), Labels(workflow_id="lab", purpose="test")
    await repository.insert(
        [
            call("c1", labels=shop),
            call("c2", labels=shop, subject="key:2"),
            call("c3", labels=lab, subject="local", model="n"),
        ]
    )
    lines = await usage.lines(UsageQuery("acme", 0, by=("workflow", "key")))
    assert [(line.workflow_id, line.key_id, line.calls) for line in lines] == [
        ("lab", None, 1),
        ("shop", "1", 1),
        ("shop", "2", 1),
    ]
    assert {(line.day, line.model, line.purpose) for line in lines} == {(None, None, None)}
    (everything,) = await usage.lines(UsageQuery("acme", 0, by=()))
    assert (everything.calls, everything.input_tokens) == (3, 30)
    for filters, calls in (
        ({"model": "n"}, 1),
        ({"key": "2"}, 1),
        ({"workflow": "shop"}, 2),
        ({"purpose": "test"}, 1),
        ({"workflow": "lab", "purpose": "production"}, 0),
    ):
        lines = await usage.lines(UsageQuery("acme", 0, by=("purpose",), **filters))
        assert sum(line.calls for line in lines) == calls


async def test_corrections_are_rows_of_their_own_and_in_every_sum(database, repository, usage):
    await repository.insert([call("c1", cost=10**12), call("c2", cost=None), call("c1", tenant="other")])

    async def correct(call_id, pico, tenant="acme"):
        return await usage.correct(Correction(tenant, call_id, pico, "USD", "wrong price", "key:1", NOON))

    assert await correct("c1", -(10**11)) is not None
    assert await correct("c2", 3 * 10**12) is not None
    assert await correct("unheard-of", 1) is None
    assert await correct("c2", 1, tenant="other") is None
    lines = await usage.lines(UsageQuery("acme", 0))
    assert [
        (line.currency, line.cost, line.corrections, line.calls, line.unpriced_calls) for line in lines
    ] == [
        (None, None, None, 1, 1),
        ("USD", "3.9", "2.9", 1, 0),
    ]
    rows = await database.fetch_all(Statement("SELECT cost_pico FROM ledger_calls ORDER BY call_id, tenant"))
    assert [row["cost_pico"] for row in rows] == [10**12, 5, None]


async def test_the_same_call_id_of_two_tenants_is_two_calls(repository, usage):
    await repository.insert([call("c1"), call("c1", tenant="other")])
    assert (await usage.lines(UsageQuery("other", 0)))[0].calls == 1


async def test_without_tables_the_ledger_says_what_to_run(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(SchemaMissing, match="signalbox migrate"):
        await LedgerRepository(database).insert([call()])
    await database.close()


def test_the_head_is_the_last_revision():
    assert script_head("signalbox.llm_gateway.migrations") == migrations.HEAD


def test_migrated_tables_are_those_of_the_code(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    migrate("llm_gateway", "signalbox.llm_gateway.migrations", url)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        for table in METADATA.sorted_tables:
            found = [row[1:4] for row in connection.execute(f"PRAGMA table_info({table.name})")]
            declared = [
                (column.name, "TEXT" if isinstance(column.type, Text) else "BIGINT", int(not column.nullable))
                for column in table.columns
            ]
            assert found == declared


def test_labels_come_from_headers_and_hold_nothing_that_a_database_refuses():
    labels = Labels.from_headers(
        {
            "signalbox-session-id": "a%00b%20%E4%BD%A0",
            "signalbox-skill-id": "",
            "signalbox-workflow-id": "x" * 300,
        }
    )
    assert (labels.session_id, labels.skill_id, labels.purpose) == ("ab 你", None, "production")
    assert labels.workflow_id == "x" * 200
    assert storable("\ud800x\x1f") == "x"
