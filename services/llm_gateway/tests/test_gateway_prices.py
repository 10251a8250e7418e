from decimal import Decimal

import orjson
import pytest

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import money
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
