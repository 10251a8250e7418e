"""The gateway's ledger on both databases."""

import asyncio
import dataclasses

import pytest
from support.admission_setup import uncounted_usage

from signalbox.common.storage import Statement, Write
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.admission.demands import Scope
from signalbox.llm_gateway.admission.spending import LedgerSpending
from signalbox.llm_gateway.errors import WrongCorrection
from signalbox.llm_gateway.money import DatedPrice, money
from signalbox.llm_gateway.policies import BudgetRule, LimitRule, PolicySet, TenantRule
from signalbox.llm_gateway.policies.managing import ManagedPolicies
from signalbox.llm_gateway.policies.spending import BudgetReports
from signalbox.llm_gateway.policies.store import Change, SqlPolicyStore, StoredPolicies
from signalbox.llm_gateway.protocol import MAX_TOKENS, Tokens
from signalbox.llm_gateway.records import MAX_PICO, Labels, LedgerAttempt, LedgerCall
from signalbox.llm_gateway.repository import LedgerRepository
from signalbox.llm_gateway.usage import DIMENSIONS, Correction, UsageQuery

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


@pytest.fixture
def usage(database):
    return uncounted_usage(database)


async def test_the_largest_amount_and_count_are_kept_as_they_are(ledger, database):
    attempt = dataclasses.replace(ATTEMPT, tokens=Tokens(MAX_TOKENS, 2 * MAX_TOKENS), cost_pico=MAX_PICO)
    call = dataclasses.replace(CALL, tokens=attempt.tokens, cost_pico=MAX_PICO, attempts=(attempt,))
    await ledger.insert([call])
    for table in ("ledger_calls", "ledger_attempts"):
        row = await database.fetch_one(Statement(f"SELECT cost_pico, output_tokens FROM {table}"), {})
        assert (row["cost_pico"], row["output_tokens"]) == (MAX_PICO, 2 * MAX_TOKENS)


async def test_a_batch_written_twice_is_there_once_and_sums_are_whole_numbers(ledger, usage):
    batch = [dataclasses.replace(CALL, call_id=f"c{number}") for number in range(100)]
    await ledger.insert(batch)
    await ledger.insert(batch)
    (line,) = await usage.lines(UsageQuery("acme", NOON))
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


async def test_usage_is_the_tenants_own(ledger, usage):
    unpriced = dataclasses.replace(
        CALL, tenant="other", cost_pico=None, currency=None, priced=False, outcome="error"
    )
    await ledger.insert([CALL, unpriced])
    (line,) = await usage.lines(UsageQuery("other", 0))
    assert (line.calls, line.failed_calls, line.unpriced_calls, line.cost) == (1, 1, 1, None)
    assert await usage.lines(UsageQuery("nobody", 0)) == []
    assert await usage.lines(UsageQuery("acme", NOON + 1)) == []


async def test_usage_is_grouped_and_corrected_alike_on_both_databases(ledger, usage):
    unpriced = dataclasses.replace(CALL, call_id="c2", cost_pico=None, currency=None, priced=False)
    await ledger.insert([CALL, unpriced])
    correction = Correction("acme", "c2", 10**15, "USD", "priced late", "key:1", NOON)
    assert await usage.correct(correction) is not None
    assert await usage.correct(dataclasses.replace(correction, tenant="other")) is None
    lines = await usage.lines(UsageQuery("acme", 0, by=DIMENSIONS, model="m", key="1", workflow="w"))
    assert {(line.currency, line.cost, line.corrections, line.calls) for line in lines} == {
        (None, None, None, 1),
        ("USD", "10000.0", "1000.0", 1),
    }
    assert {(line.day, line.key_id, line.workflow_id, line.purpose) for line in lines} == {
        ("2024-10-04", "1", "w", "production")
    }


LIMIT = LimitRule(name="rpm", tenant="acme", of="key", requests=5)
BUDGET = BudgetRule(name="month", tenant="acme", of="workflow", amount="1.5", window="month")
PRICE = DatedPrice.model_validate({"deployment": "openai/m", "input": "0.1", "from": "2026-01-31"})


async def test_policies_are_kept_by_tenant_and_name_and_every_change_is_counted(database):
    store, change = SqlPolicyStore(database), Change("key:1", NOON)
    assert await store.load() == StoredPolicies()
    theirs = LIMIT.model_copy(update={"tenant": "other"})
    for rule in (LIMIT.model_copy(update={"requests": 4}), LIMIT, theirs, BUDGET):
        await store.put(rule, change)
    await store.add_price(PRICE, change)
    found = await store.load()
    assert found == StoredPolicies(version=5, limits=(LIMIT, theirs), budgets=(BUDGET,), prices=(PRICE,))
    assert await store.delete(LimitRule, "acme", "rpm") is True
    assert await store.delete(LimitRule, "acme", "rpm") is False
    assert await store.delete(BudgetRule, "other", "month") is False
    found = await store.load()
    assert (found.limits, found.budgets, found.version) == ((theirs,), (BUDGET,), await store.version())


async def test_what_a_later_version_wrote_into_a_rule_is_left_out(database):
    store = SqlPolicyStore(database)
    await store.put(LIMIT, Change("key:1", NOON))
    later = Statement("UPDATE llm_limits SET rule = replace(rule, '{', '{\"burst\": 5, ')")
    await database.write(Write(later))
    assert (await store.load()).limits == (LIMIT,)


async def test_budgets_say_what_is_spent_and_left_corrections_included(database, ledger, usage):
    rules = PolicySet(
        1,
        budgets=(
            BUDGET,
            BudgetRule(name="all", tenant="*", of="tenant", amount="9000", window="total"),
            BudgetRule(name="mine", tenant="acme", of="key", only="9", amount="1", window="day"),
            BudgetRule(name="theirs", tenant="other", of="tenant", amount="1", window="day"),
        ),
        tenants=(TenantRule(tenant="acme", timezone="Asia/Tokyo"),),
    )
    a_month_ago = dataclasses.replace(CALL, call_id="c0", created_at=NOON - 31 * 86_400_000)
    await ledger.insert([CALL, a_month_ago, dataclasses.replace(CALL, tenant="other")])
    await usage.correct(Correction("acme", "c1", -8_999 * 10**12, "USD", "free", "key:1", NOON))

    class Rules:
        def current(self):
            return rules

        def declares(self, rule):
            return rule.tenant == "*"

    managed = ManagedPolicies(Rules(), SqlPolicyStore(database))
    reports = BudgetReports(database, managed, lambda: rules, lambda: NOON)
    principal = Principal(tenant="acme", subject="key:1")
    month, total, mine = (await reports.of(principal)).items
    assert [(spent.of, spent.amount, spent.left) for spent in month.spent] == [("w", "1.0", "0.5")]
    assert [(spent.of, spent.amount, spent.left) for spent in total.spent] == [("acme", "9001.0", "-1.0")]
    assert [(spent.of, spent.amount, spent.left) for spent in mine.spent] == [("9", "0.0", "1.0")]
    assert (month.declared_in, total.declared_in, total.window_end) == ("table", "file", None)
    # From the first of October in Tokyo, which is 15:00 UTC on the day before.
    assert month.window_start == 1_727_708_400_000


@pytest.mark.parametrize(("of", "value"), [("tenant", "acme"), ("key", "1"), ("workflow", "w")])
async def test_what_budgets_count_anew_has_corrections_in_it(database, ledger, usage, of, value):
    calls = [dataclasses.replace(CALL, call_id=f"c{number}", cost_pico=100) for number in range(3)]
    await ledger.insert([*calls, dataclasses.replace(CALL, call_id="late", created_at=NOON + 1000)])
    await usage.correct(Correction("acme", "c0", -30, "USD", "dear", "key:1", NOON))
    added = await usage.correct(Correction("acme", "c1", 5, "USD", "other", "key:1", NOON))
    scope = Scope("acme", of, value, "USD")
    spending = LedgerSpending(database)
    assert await spending.spent_pico(scope, NOON, NOON + 1, []) == 275
    assert await spending.spent_pico(scope, NOON, NOON + 1, ["c0"]) == 175
    assert await spending.spent_pico(scope, NOON, NOON + 1, ["c0", added]) == 170
    other = dataclasses.replace(scope, value="nobody")
    assert await spending.spent_pico(other, NOON, NOON + 1, []) == 0


async def test_budgets_count_all_that_a_call_may_have_cost_until_its_own_row_comes(database, ledger, usage):
    lost = dataclasses.replace(spent(30, attempts=1, reaped=True), held_pico=100)
    await ledger.insert([lost])
    spending, scope = LedgerSpending(database), Scope("acme", "tenant", "acme", "USD")
    assert await spending.spent_pico(scope, NOON, NOON + 1, []) == 100
    (line,) = await usage.lines(UsageQuery("acme", NOON))
    assert line.cost == "0.00000000003"
    await ledger.insert([spent(40, attempts=1)])
    assert await spending.spent_pico(scope, NOON, NOON + 1, []) == 40


async def test_sums_of_the_largest_amounts_are_exact(database, ledger, usage):
    """Each is the most that a column holds, so no sum of them is a number of the database's."""
    calls = [dataclasses.replace(CALL, call_id=f"c{number}", cost_pico=MAX_PICO) for number in range(4)]
    await ledger.insert(calls)
    for _ in range(10):
        await usage.correct(Correction("acme", "c0", 10**18, "USD", "dear", "key:1", NOON))
    await usage.correct(Correction("acme", "c0", -1, "USD", "dear", "key:1", NOON))
    total = 4 * MAX_PICO + 10 * 10**18 - 1
    scope = Scope("acme", "tenant", "acme", "USD")
    assert await LedgerSpending(database).spent_pico(scope, NOON, NOON + 1, []) == total
    (line,) = await usage.lines(UsageQuery("acme", NOON))
    assert (line.cost, line.corrections) == (money(total), money(10**19 - 1))

    class Rules:
        def declares(self, rule):
            return False

        def current(self):
            return PolicySet(
                1, budgets=(BudgetRule(name="all", tenant="acme", of="key", amount="1", window="total"),)
            )

    rules = Rules()
    reports = BudgetReports(
        database, ManagedPolicies(rules, SqlPolicyStore(database)), rules.current, lambda: NOON
    )
    (budget,) = (await reports.of(Principal(tenant="acme", subject="key:1"))).items
    assert [(each.of, each.amount) for each in budget.spent] == [("1", money(total))]


async def test_usage_can_be_that_of_one_principal(ledger, usage):
    await ledger.insert([CALL, dataclasses.replace(CALL, call_id="c2", subject="alice")])
    for subject in ("key:1", "alice"):
        (line,) = await usage.lines(UsageQuery("acme", NOON, subject=subject))
        assert line.calls == 1
    assert await usage.lines(UsageQuery("acme", NOON, subject="bob")) == []


async def test_a_correction_is_in_the_calls_currency_and_takes_away_no_more_than_the_call_cost(ledger, usage):
    await ledger.insert([dataclasses.replace(CALL, cost_pico=100)])

    async def correct(cost, currency="USD"):
        return await usage.correct(Correction("acme", "c1", cost, currency, "dear", "key:1", NOON))

    with pytest.raises(WrongCorrection, match="is in USD") as other:
        await correct(1, "EUR")
    assert [error.pointer for error in other.value.errors] == ["/currency"]
    with pytest.raises(WrongCorrection, match="More would be taken away") as more:
        await correct(-101)
    assert [error.pointer for error in more.value.errors] == ["/cost"]
    results = await asyncio.gather(*(correct(-40) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 2
    assert await correct(30) is not None
    assert await correct(-50) is not None


async def test_an_unpriced_call_can_be_corrected_down_to_zero_only(ledger, usage):
    await ledger.insert([dataclasses.replace(CALL, cost_pico=None, currency=None, priced=False)])
    correction = Correction("acme", "c1", 10, "EUR", "dear", "key:1", NOON)
    assert await usage.correct(correction) is not None
    assert await usage.correct(dataclasses.replace(correction, cost_pico=-10)) is not None
    with pytest.raises(WrongCorrection):
        await usage.correct(dataclasses.replace(correction, cost_pico=-1))
