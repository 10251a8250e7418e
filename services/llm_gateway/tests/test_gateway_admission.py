from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from support.admission_setup import USD, Clock, FakeSpending, Setup, budget, limit, row

from signalbox.common.cache import CacheUnavailable
from signalbox.llm_gateway.admission.open_calls import (
    GATEWAY_DIED,
    abandoned,
    abandoned_by,
    decode,
    encode,
    opened,
)
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.errors import BudgetExceeded, LimitExceeded, LimitsUnavailable, UnpricedModel
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.policies import PolicySet
from signalbox.llm_gateway.protocol import Tokens


async def test_a_limit_counts_apart_for_each_key_model_user_and_tenant():
    for of, one, other in (
        ("key", {"key": "a"}, {"key": "b"}),
        ("model", {"model": "a"}, {"model": "b"}),
        ("user", {"user_id": "a"}, {"user_id": "b"}),
        ("tenant", {"tenant": "a"}, {"tenant": "b"}),
    ):
        setup = Setup(limit(of, requests=2, tenant="*"))
        assert await setup.admitted(5, **one) == 2
        assert await setup.admitted(5, **other) == 2


async def test_only_names_whom_a_rule_is_for():
    setup = Setup(limit("model", requests=1, only="dear"))
    assert await setup.admitted(3, model="dear") == 1
    assert await setup.admitted(3, model="cheap") == 3


async def test_a_call_without_a_user_has_no_limit_of_users():
    assert await Setup(limit("user", requests=1)).admitted(3) == 3


async def test_another_tenants_rule_does_not_apply():
    assert await Setup(limit("key", requests=1, tenant="other")).admitted(3) == 3


async def test_a_refusal_names_the_limit_and_says_when_to_come_again():
    setup = Setup(limit(requests=1, name="per-key"))
    await setup.admit()
    with pytest.raises(LimitExceeded) as refused:
        await setup.admit()
    headers = refused.value.headers
    assert headers["signalbox-limit"] == "per-key"
    assert headers["Retry-After"] == "61"
    assert 60_000 < int(headers["retry-after-ms"]) <= 61_000
    assert "'per-key' of 1 requests in 60 s" in refused.value.detail


async def test_a_call_larger_than_its_limit_is_told_so():
    setup = Setup(limit(tokens=99))
    with pytest.raises(LimitExceeded, match="less than the 100 that this call may use"):
        await setup.admit()


async def test_a_ticket_frees_its_slot_once_and_a_cached_answer_uses_no_tokens():
    setup = Setup(limit(parallel=1, tokens=100))
    for _ in range(5):
        opening, ticket = await setup.admit()
        assert await setup.admitted(1) == 0
        ticket.settle(row(opening))
        ticket.settle(row(opening))


async def test_a_row_that_cannot_be_kept_does_not_keep_another_from_settling_its_call():
    setup = Setup(limit(parallel=1))
    opening, ticket = await setup.admit()
    with pytest.raises(TypeError):
        ticket.settle(replace(row(opening), cost_pico=2**70))
    ticket.settle(row(opening))
    assert await setup.admitted(1) == 1


async def test_tokens_are_trued_up():
    setup = Setup(limit(tokens=1000))
    opening, ticket = await setup.admit(tokens=900)
    assert await setup.admitted(1, tokens=200) == 0
    ticket.settle(row(opening, ("d", 100, 0)))
    assert await setup.admitted(1, tokens=900) == 1


async def test_a_budget_admits_what_fits_and_is_settled_to_the_cost():
    setup = Setup(budget(amount="1"))
    results = [await setup.admit(cost=USD // 4) for _ in range(4)]
    with pytest.raises(BudgetExceeded) as refused:
        await setup.admit(cost=1)
    assert refused.value.headers["signalbox-limit"] == "b"
    assert "it begins anew at 2026-06-02T00:00:00Z" in refused.value.detail
    assert refused.value.headers["x-should-retry"] == "false"
    for opening, ticket in results:
        ticket.settle(row(opening, ("d", 1, USD // 10)))
    assert await setup.admitted(10, cost=USD // 10) == 6


async def test_money_is_rounded_up_so_that_no_fraction_is_free():
    setup = Setup(budget(amount="0.000001"))
    assert await setup.admitted(1010, cost=1) == 1000


async def test_a_model_without_a_price_is_refused_where_a_hard_budget_applies():
    with pytest.raises(UnpricedModel, match=r"it has no price\. Declare a price"):
        await Setup(budget()).admit(cost=None)
    assert await Setup(budget(hard=False)).admitted(1, cost=None) == 1
    assert await Setup(budget(of="workflow")).admitted(1, cost=None) == 1


async def test_a_price_in_another_currency_is_refused_where_a_hard_budget_applies():
    with pytest.raises(UnpricedModel, match="EUR"):
        await Setup(budget(currency="EUR")).admit()
    assert await Setup(budget(currency="EUR", hard=False)).admitted(1) == 1


async def test_a_budget_that_never_begins_anew_says_so_and_names_no_time():
    setup = Setup(budget(amount="0.01", window="total"), spending=FakeSpending(USD // 200))
    with pytest.raises(BudgetExceeded, match=r"no room .*; it does not begin anew") as refused:
        await setup.admit()
    assert refused.value.headers == {"signalbox-limit": "b", "x-should-retry": "false"}
    with pytest.raises(BudgetExceeded, match="ask for fewer output tokens"):
        await setup.admit(cost=USD)


async def test_a_correction_reaches_a_budget_that_is_being_counted():
    setup = Setup(budget(amount="1"))
    opening, ticket = await setup.admit(cost=USD // 2)
    ticket.settle(row(opening, ("d", 1, USD // 2)))
    with setup.corrected(USD):
        pass
    with pytest.raises(BudgetExceeded):
        await setup.admit()
    with setup.corrected(-USD, 2):
        pass
    assert await setup.admitted(60) == 50
    # Of another currency or of a window that is over.
    with setup.corrected(-USD, 3, currency="EUR"), setup.corrected(-USD, 4, created_at=1):
        assert await setup.admitted(1) == 0
    with pytest.raises(ValueError, match="not written"), setup.corrected(-USD, 5):
        raise ValueError("not written")
    assert await setup.admitted(1) == 0


async def test_a_budget_that_is_told_what_was_spent_counts_a_correction_once():
    for cost, fit in ((USD // 2, 25), (-USD // 4, 100)):
        setup = Setup(budget(amount="1", window="total"), spending=FakeSpending(USD // 4))
        with setup.corrected(cost):
            pass
        # The ledger is asked for all but this correction, as that is counted.
        assert await setup.admitted(120) == fit
        assert setup.spending.asked[0][3] == ["corr_1"]


async def test_a_soft_budget_is_said_once_when_more_is_spent_and_refuses_nothing(caplog):
    setup = Setup(budget(hard=False, amount="0.01"))
    cheap = [await setup.admit() for _ in range(5)]
    for opening, ticket in cheap:
        ticket.settle(row(opening, ("d", 1, USD // 500)))
    # All is spent, and not more.
    opening, ticket = await setup.admit(cost=USD)
    assert caplog.records == []
    ticket.settle(row(opening, ("d", 1, 1)))
    assert await setup.admitted(5) == 5
    name = "signalbox_llm_soft_budget_exceeded_total"
    assert setup.registry.get_sample_value(name, {"budget": "b"}) == 5
    assert [record.message for record in caplog.records] == ["the soft budget 'b' is exceeded"]


async def test_what_was_spent_before_is_read_once_from_the_ledger():
    setup = Setup(budget(amount="1", of="workflow"), spending=FakeSpending(USD - USD // 50))
    assert await setup.admitted(10, workflow_id="w") == 2
    (asked,) = setup.spending.asked
    assert (asked[0].of, asked[0].value, asked[0].currency, asked[3]) == ("workflow", "w", "USD", [])
    assert asked[1] == datetime(2026, 6, 1, tzinfo=ZoneInfo("UTC")).timestamp() * 1000


async def test_a_ledger_that_is_away_closes_hard_budgets_and_not_open_ones():
    away = CacheUnavailable("away")
    with pytest.raises(LimitsUnavailable):
        await Setup(budget(), spending=FakeSpending(away)).admit()
    assert await Setup(budget(when_unavailable="open"), spending=FakeSpending(away)).admitted(1) == 1
    assert await Setup(budget(hard=False), spending=FakeSpending(away)).admitted(1) == 1


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/Sao_Paulo", "2026-10-25", 24),
    ],
)
async def test_a_budget_begins_anew_at_local_midnight(zone, day, hours):
    clock = Clock(f"{day}T00:00", zone)
    setup = Setup(budget(amount="0.02"), clock=clock, zone=zone)
    assert await setup.admitted(3) == 2
    clock.s += hours * 3600 - 0.001
    assert await setup.admitted(3) == 0
    clock.s += 0.001
    assert await setup.admitted(3) == 2


async def test_an_attempt_after_others_is_paid_for_too():
    setup = Setup(budget(amount="1"))
    opening, ticket = await setup.admit(cost=USD // 2)
    at = Deployment(model="alias")
    worst = WorstCase(Tokens(input=400), USD // 2, "USD", Tokens(input=100))
    await ticket.attempt(at, worst, spent_pico=0)
    await ticket.attempt(at, worst, spent_pico=USD // 2)
    with pytest.raises(BudgetExceeded):
        await ticket.attempt(at, worst, spent_pico=USD)
    assert await setup.admitted(1, cost=1) == 0
    ticket.settle(row(opening, ("d", 1, USD // 2), ("d", 1, USD // 4)))
    assert await setup.admitted(30, cost=USD // 100) == 25


async def test_a_deployments_limit_is_asked_at_the_attempt():
    setup = Setup(limit("deployment", parallel=1, tokens=150))
    at, other = Deployment(model="alias"), Deployment(model="alias", upstream_model="other")
    worst = WorstCase(Tokens(input=400), 0, "USD", Tokens(input=100))
    opening, first = await setup.admit()
    _, second = await setup.admit()
    await first.attempt(at, worst, spent_pico=0)
    with pytest.raises(LimitExceeded):
        await second.attempt(at, worst, spent_pico=0)
    await second.attempt(other, worst, spent_pico=0)
    first.settle(row(opening, (at.name, 50, 0), (other.name, 1000, 0)))
    await second.attempt(at, worst, spent_pico=0)


async def test_changed_rules_count_from_the_next_call():
    setup = Setup(limit(requests=1))
    assert await setup.admitted(2) == 1
    setup.policies = PolicySet(2, (limit(requests=3),))
    assert await setup.admitted(5) == 2


def test_a_record_survives_the_way_to_another_process():
    opening = Setup().opening(workflow_id="w")
    made = row(opening, ("d", 3, 4), ("e", 5, None))
    assert decode(encode(made)) == made
    died = abandoned_by(opening.call_id, opened(opening))
    assert (died.error_code, died.outcome, died.estimated) == (GATEWAY_DIED, "aborted", True)
    assert (died.cost_pico, died.held_pico) == (opening.worst.cost_pico // 4, opening.worst.cost_pico)


async def test_of_a_call_whose_use_is_not_known_budgets_hold_all_that_it_may_have_cost():
    setup = Setup(budget(amount="0.02"))
    opening, ticket = await setup.admit(cost=USD // 100)
    ticket.settle(replace(abandoned(opening), reaped=False))
    assert await setup.admitted(3, cost=USD // 100) == 1


def test_a_record_of_another_version_is_read_as_far_as_it_is_known():
    opening = Setup().opening(workflow_id="w")
    record = encode(row(opening, ("d", 3, 4))).replace(b'"tenant"', b'"later":1,"tenant"')
    assert decode(record) == row(opening, ("d", 3, 4))
    began = abandoned_by("llm_1", opened(opening)[:-1] + b',"later"]')
    assert (began.tenant, began.call_id, began.labels.workflow_id) == ("default", "llm_1", "w")
    with pytest.raises(ValueError, match="no record"):
        decode(b"{}")
    with pytest.raises(ValueError, match="no beginning"):
        abandoned_by("llm_1", b'["default"]')


async def test_an_attempt_that_is_over_frees_its_slot_for_the_next_one_of_its_own_call():
    setup = Setup(limit("deployment", parallel=1))
    at = Deployment(model="alias")
    worst = WorstCase(Tokens(input=400), 0, "USD", Tokens(input=100))
    opening, ticket = await setup.admit()
    slot = await ticket.attempt(at, worst, spent_pico=0)
    with pytest.raises(LimitExceeded):
        await ticket.attempt(at, worst, spent_pico=0)
    slot.free()
    slot.free()
    await ticket.attempt(at, worst, spent_pico=0)
    _, other = await setup.admit()
    with pytest.raises(LimitExceeded):
        await other.attempt(at, worst, spent_pico=0)
    ticket.settle(row(opening))
    await other.attempt(at, worst, spent_pico=0)


async def test_a_deployments_own_limits_are_shared_by_all_tenants():
    setup = Setup()
    at = Deployment(model="alias", limits={"requests": 2})
    worst = WorstCase(Tokens(input=400), 0, "USD", Tokens(input=100))
    for tenant in ("a", "b"):
        _, ticket = await setup.admit(tenant=tenant)
        await ticket.attempt(at, worst, spent_pico=0)
    _, ticket = await setup.admit(tenant="c")
    with pytest.raises(LimitExceeded) as refused:
        await ticket.attempt(at, worst, spent_pico=0)
    assert refused.value.headers["signalbox-limit"] == at.name
