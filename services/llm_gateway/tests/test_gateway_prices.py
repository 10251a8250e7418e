from datetime import datetime
from decimal import Decimal

import orjson
import pytest

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import DatedPrice, PriceBook, money
from signalbox.llm_gateway.money.prices import Prices, bundled_map, price_of_entry
from signalbox.llm_gateway.protocol import Tokens
from signalbox.llm_gateway.rates import PriceSpec


@pytest.fixture
def prices(tmp_path):
    file = tmp_path / "prices.json"
    entries = {
        "m": {
            "litellm_provider": "openai",
            "input_cost_per_token": 1.5e-07,
            "output_cost_per_token": 6e-07,
            "cache_read_input_token_cost": 7.5e-08,
            "output_cost_per_reasoning_token": 9e-07,
            "input_cost_per_token_above_200k_tokens": 3e-07,
        },
        "free": {"litellm_provider": "openai", "output_cost_per_token": 1e-7},
        "other": {"litellm_provider": "azure", "input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7},
        "deepseek/chat": {
            "litellm_provider": "deepseek",
            "input_cost_per_token": 1e-7,
            "output_cost_per_token": 2e-7,
        },
    }
    file.write_bytes(orjson.dumps(entries))
    return Prices(file)


async def test_each_kind_of_token_is_counted_once_at_its_own_price(prices):
    price = await prices.of(Deployment(model="m"))
    tokens = Tokens(input=1000, output=100, cached=400, reasoning=30)
    by_hand = (
        600 * Decimal("0.00000015")
        + 400 * Decimal("0.000000075")
        + 70 * Decimal("0.0000006")
        + 30 * Decimal("0.0000009")
    )
    assert price.cost_pico(tokens) == by_hand * 10**12
    assert money(price.cost_pico(tokens)) == "0.000189"


async def test_a_long_prompt_costs_its_tiers_price_for_all_tokens(prices):
    price = await prices.of(Deployment(model="m"))
    assert price.cost_pico(Tokens(input=200_000)) == 200_000 * 150_000
    assert price.cost_pico(Tokens(input=200_001)) == 200_001 * 300_000


async def test_a_model_that_the_map_does_not_price_has_no_price(prices):
    for name in ("unheard-of", "free", "other"):
        assert await prices.of(Deployment(model=name)) is None


async def test_providers_are_found_under_their_prefix_and_own_servers_not_at_all(prices):
    assert (await prices.of(Deployment(model="chat", provider="deepseek"))).currency == "USD"
    assert await prices.of(Deployment(model="m", base_url="http://127.0.0.1:1/v1")) is None
    assert await prices.of(Deployment(model="m", base_url="http://127.0.0.1:1/v1", price="m")) is not None


async def test_a_declared_price_wins_and_keeps_its_currency(prices):
    spec = PriceSpec(input=Decimal("2.5"), output=Decimal(10), cached_input=Decimal("0.5"), currency="EUR")
    price = await prices.of(Deployment(model="m", price=spec))
    assert price.currency == "EUR"
    assert price.cost_pico(Tokens(input=3, output=2, cached=1)) == (2 * 2_500_000 + 500_000 + 2 * 10_000_000)


def test_money_is_written_without_exponents_or_superfluous_zeros():
    below = (-1, -(10**12), -5_000_001_000_000)
    assert [money(pico) for pico in below] == ["-0.000000000001", "-1.0", "-5.000001"]
    assert [money(pico) for pico in (0, 1, 150_000, 10**12, 1_500_000_000_000)] == [
        "0.0",
        "0.000000000001",
        "0.00000015",
        "1.0",
        "1.5",
    ]


def test_the_bundled_map_is_found_and_has_openais_models():
    entries = orjson.loads(bundled_map().read_bytes())
    price = price_of_entry(entries["gpt-4.1-mini"])
    assert price.rates.input > 0
    assert price.rates.output > price.rates.input


def dated(deployment="openai-compatible/m", **fields):
    return DatedPrice.model_validate({"deployment": deployment, **fields})


async def test_the_latest_price_that_holds_already_counts_and_a_later_row_corrects_one_of_the_same_time(
    prices,
):
    server = Deployment(model="m", provider="openai-compatible", base_url="http://x/v1")
    rows = [
        dated(input=1),
        dated(input=3, **{"from": "2026-03-01T00:00:00+02:00"}),
        dated(input=2, **{"from": "2026-02-01"}),
        dated(input=4, **{"from": "2026-02-01"}),
    ]
    now = 0
    found = Prices(None, clock=lambda: now)
    found.replace(PriceBook(rows))

    async def at(text):
        nonlocal now
        now = int(datetime.fromisoformat(text).timestamp() * 1000)
        return int((await found.of(server)).rates.input * 10**6)

    assert await at("2026-01-31T23:59:59Z") == 1
    assert await at("2026-02-01T00:00:00Z") == 4
    assert await at("2026-02-28T22:00:00Z") == 3
    assert await at("2027-01-01T00:00:00Z") == 3


async def test_a_price_of_a_deployment_goes_before_one_of_its_providers_model_and_both_before_the_map(prices):
    model = DatedPrice.model_validate({"provider": "openai", "model": "m", "input": 7})
    prices.replace(PriceBook([model]))
    assert (await prices.of(Deployment(model="public", upstream_model="m"))).rates.input * 10**6 == 7
    prices.replace(PriceBook([model, dated("openai/m", input=8)]))
    assert (await prices.of(Deployment(model="m"))).rates.input * 10**6 == 8
    declared = Deployment(model="m", price=PriceSpec(input=9))
    assert (await prices.of(declared)).rates.input * 10**6 == 9
    prices.replace()
    assert (await prices.of(Deployment(model="m"))).rates.input == Decimal("0.00000015")


async def test_parts_that_are_reported_as_more_than_their_total_are_not_counted_twice():
    price = PriceSpec(input=2, output=4, cached_input=1, audio_input=10).price
    assert price.cost_pico(Tokens(input=10, cached=8, audio_input=8)) == (8 * 1 + 2 * 10) * 10**6


async def test_writes_for_an_hour_and_each_request_have_prices_of_their_own():
    spec = PriceSpec(
        input=1, output=4, cache_write=Decimal("1.25"), cache_write_1h=2, request=Decimal("0.01")
    )
    tokens = Tokens(input=100, output=1, cache_write=60, cache_write_1h=40)
    by_hand = 40 * 1 + 20 * Decimal("1.25") + 40 * 2 + 4
    assert spec.price.cost_pico(tokens) == by_hand * 10**6 + 10**10


OWN = Deployment(model="a", provider="vllm", base_url="http://x/v1", price={"input": 1})
FREE = Deployment(model="b", provider="vllm", base_url="http://x/v1", cost="unknown")
LISTED = Deployment(model="c", provider="vllm", base_url="http://x/v1")


async def test_prices_that_are_behind_a_deployments_own_are_named_once_each(caplog):
    prices = Prices(declared=[OWN, FREE, LISTED])
    book = PriceBook(
        [
            dated("vllm/a", input=9),
            dated(None, provider="vllm", model="b", input=9),
            dated(None, provider="vllm", model="c", input=9),
        ]
    )
    prices.replace(PriceBook(), book)
    prices.replace(PriceBook(), book)
    first, second = [record.getMessage() for record in caplog.records]
    assert "deployment 'vllm/a' has a price of its own" in first
    assert "price of 'vllm/a'" in first
    assert "deployment 'vllm/b'" in second
    assert "price of 'vllm/b'" in second
    assert (await prices.of(OWN)).rates.input == Decimal(1) / 10**6
    assert await prices.of(FREE) is None
    assert (await prices.of(LISTED)).rates.input == Decimal(9) / 10**6
