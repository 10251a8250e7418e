"""What a call costs when it took several attempts, or none."""

import pytest
from opentelemetry.trace import NoOpTracer

from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.accounting import CallAccount
from signalbox.llm_gateway.admission import Opening, Unlimited
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.rates import PriceSpec
from signalbox.llm_gateway.records import Labels

CHEAP = PriceSpec(input=1, request="0.5").price
EUROS = PriceSpec(input=1, currency="EUR").price
HALF = 10**12 // 2
WORST = WorstCase(Tokens(input=1000), 0, "USD", Tokens())


class FakeLedger:
    """Keeps the last row."""

    row = None

    def record(self, call):
        self.row = call


@pytest.fixture
async def account():
    opening = Opening(
        call_id="c1",
        principal=Principal(tenant="acme", subject="key:1"),
        labels=Labels(),
        operation="chat/completions",
        model="m",
        worst=WORST,
        created_at=0,
        deadline=None,
    )
    ledger = FakeLedger()
    ticket = await Unlimited().admit(opening)
    made = CallAccount(ledger, NoOpTracer(), opening, ticket, streamed=False)
    made.ledger = ledger
    return made


def attempt(account, price, used=None, sent=40):
    """An attempt; without ``used`` one that the provider refused."""
    made = account.attempt(Deployment(model="m", base_url="http://x/v1"), price, sent)
    if used is None:
        made.close("error", 503, "overloaded")
    else:
        made.reported({"prompt_tokens": used})
        made.close("ok", 200)


def money_of(account):
    account.finish("ok", 200)
    row = account.ledger.row
    return row.cost_pico, row.currency, row.priced


async def test_attempts_are_paid_for_together_and_a_refused_one_costs_nothing(account):
    attempt(account, CHEAP)
    attempt(account, CHEAP, used=2)
    attempt(account, CHEAP, used=3)
    assert money_of(account) == (2 * HALF + 5 * 10**6, "USD", True)


async def test_an_unpriced_attempt_that_used_nothing_leaves_the_call_priced(account):
    attempt(account, None)
    attempt(account, CHEAP, used=2)
    assert money_of(account) == (HALF + 2 * 10**6, "USD", True)


async def test_what_is_known_counts_also_where_it_is_not_all(account):
    attempt(account, None, used=5)
    attempt(account, CHEAP, used=2)
    assert money_of(account) == (HALF + 2 * 10**6, "USD", False)


async def test_two_currencies_have_no_sum(account):
    attempt(account, CHEAP, used=2)
    attempt(account, EUROS, used=2)
    assert money_of(account) == (None, None, False)


async def test_a_call_without_a_price_is_not_one_that_cost_nothing(account):
    attempt(account, None, used=5)
    assert money_of(account) == (None, None, False)


async def test_a_call_without_an_attempt_cost_nothing(account):
    assert money_of(account) == (0, "USD", True)


async def test_the_input_of_an_attempt_without_a_report_is_estimated_at_what_was_reserved_at_most(account):
    account.attempt(Deployment(model="m", base_url="http://x/v1"), CHEAP, 100_000)
    account.finish("aborted", 499)
    (row,) = account.ledger.row.attempts
    assert (row.tokens, row.estimated) == (Tokens(input=1000), True)
