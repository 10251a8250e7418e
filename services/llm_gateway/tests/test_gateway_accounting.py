"""What a call costs when it took several attempts, or none."""

import pytest
from opentelemetry.trace import NoOpTracer

from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.accounting import CallAccount
from signalbox.llm_gateway.admission import Opening, Unlimited
from signalbox.llm_gateway.admission.open_calls import abandoned
from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import WorstCase
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.rates import PriceSpec
from signalbox.llm_gateway.records import MAX_PICO, Labels

CHEAP = PriceSpec(input=1, request="0.5").price
EUROS = PriceSpec(input=1, currency="EUR").price
HALF = 10**12 // 2
WORST = WorstCase(Tokens(input=1000), 0, "USD", Tokens())


class Refusing:
    """A slot, span or ticket of which the first so many uses fail."""

    def __init__(self, failures):
        self.failures = failures
        self.settled = []

    def settle(self, row):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("planted")
        self.settled.append(row)

    def free(self):
        raise RuntimeError("planted")


class FakeLedger:
    """Keeps the last row."""

    row = None

    def record(self, call):
        self.row = call


def opening_of(worst=WORST):
    return Opening(
        call_id="c1",
        principal=Principal(tenant="acme", subject="key:1"),
        labels=Labels(),
        operation="chat/completions",
        model="m",
        worst=worst,
        created_at=0,
        deadline=None,
    )


def account_with(ticket):
    ledger = FakeLedger()
    made = CallAccount(ledger, NoOpTracer(), opening_of(), ticket, streamed=False)
    made.ledger = ledger
    return made


@pytest.fixture
async def account():
    return account_with(await Unlimited().admit(opening_of()))


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


@pytest.mark.parametrize("reported", [-5, 2**63, 2**64, "5"])
async def test_a_report_that_makes_no_sense_is_estimated_and_flagged(account, reported):
    made = account.attempt(Deployment(model="m", base_url="http://x/v1"), CHEAP, 40)
    made.received(8)
    made.reported({"prompt_tokens": 3, "completion_tokens": reported})
    made.close("ok", 200)
    account.finish("ok", 200)
    row = account.ledger.row
    assert (row.tokens, row.estimated, row.cost_pico) == (Tokens(10, 2), True, HALF + 10 * 10**6)


@pytest.mark.parametrize("price", ["1e9", "1e40"])
async def test_a_cost_beyond_the_columns_is_cut_to_what_they_hold_and_said(account, caplog, price):
    for _ in range(2):
        attempt(account, PriceSpec(input=price).price, used=10**9)
    assert money_of(account) == (MAX_PICO, "USD", True)
    assert [each.cost_pico for each in account.ledger.row.attempts] == [MAX_PICO] * 2
    assert account.ledger.row.estimated
    assert "check its price" in caplog.text


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_row_is_written_where_its_ticket_cannot_be_settled_by_it(failures, caplog):
    ticket = Refusing(failures)
    account = account_with(ticket)
    attempt(account, CHEAP, used=2)
    assert money_of(account) == (HALF + 2 * 10**6, "USD", True)
    assert [row.error_code for row in ticket.settled] == ["internal_error"] * (2 - failures)
    assert len(caplog.records) == 1


async def test_a_ticket_is_given_back_where_the_row_cannot_be_written(caplog):
    ticket = Refusing(0)
    account = account_with(ticket)
    account.ledger.record = lambda row: 1 / 0
    account.finish("ok", 200)
    account.finish("ok", 200)
    assert len(ticket.settled) == 1
    assert len(caplog.records) == 1


async def test_a_call_whose_attempt_cannot_be_freed_has_its_row_and_gives_the_rest_back(caplog):
    ticket, slot = Refusing(0), Refusing(0)
    slot.free = lambda: slot.settled.append("freed")
    account = account_with(ticket)
    for each in (ticket, slot):
        account.attempt(Deployment(model="m", base_url="http://x/v1"), CHEAP, 40, each)
    account.finish("ok", 200)
    assert (ticket.settled, slot.settled) == ([account.ledger.row], ["freed"])
    assert account.ledger.row.cost_pico == 2 * (HALF + 10 * 10**6)
    assert len(caplog.records) == 1


async def test_a_call_whose_attempt_has_no_row_is_one_that_may_have_used_all_it_could():
    ticket = Refusing(0)
    account = account_with(ticket)
    made = account.attempt(Deployment(model="m", base_url="http://x/v1"), CHEAP, 40)
    made.close = lambda *_: 1 / 0
    account.finish("ok", 200)
    assert ticket.settled == [account.ledger.row]
    assert (account.ledger.row.error_code, account.ledger.row.reaped) == ("internal_error", False)
    assert account.ledger.row.held_pico == WORST.cost_pico


def test_the_row_that_a_dead_process_leaves_holds_no_more_than_a_column():
    worst = WorstCase(Tokens(input=1000), 10**30, "USD", Tokens(), estimated_pico=5)
    row = abandoned(opening_of(worst))
    assert (row.cost_pico, row.held_pico) == (5, MAX_PICO)
