from decimal import Decimal

import orjson
import pytest

from signalbox.llm_gateway.deployments import Deployment
from signalbox.llm_gateway.money import Terms, WorstCase, asked, worst_case
from signalbox.llm_gateway.money.worst_case import UNCAPPED_OUTPUT
from signalbox.llm_gateway.protocol import RequestBody, Tokens
from signalbox.llm_gateway.rates import PriceSpec
from signalbox.llm_gateway.records import MAX_PICO

MILLION = 10**6
PRICE = PriceSpec(input=Decimal(1), output=Decimal(2))


def body(content="hi", **fields):
    raw = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return RequestBody.parse(orjson.dumps(raw))


def candidate(price=PRICE, max_output=None, **fields):
    deployment = Deployment(model="m", base_url="http://x/v1", price=price, **fields)
    return deployment, Terms(None if price is None else price.price, max_output)


def worst(request, *candidates, answers=True, default_output=None):
    sizes = asked(request, answers=answers, default_output=default_output)
    return worst_case(sizes, candidates or (candidate(),))


def test_input_is_bounded_by_bytes_for_budgets_and_estimated_for_limits():
    request = body("你好" * 50, max_tokens=10)
    size = len(request.raw)
    assert worst(request) == WorstCase(
        tokens=Tokens(input=size, output=10),
        cost_pico=(size + 2 * 10) * MILLION,
        currency="USD",
        estimate=Tokens(input=-(-size // 4), output=10),
        estimated_pico=(-(-size // 4) + 2 * 10) * MILLION,
    )


def test_the_estimates_cost_is_that_of_the_dearest_and_never_above_the_bound():
    request = body("x" * 4000, max_tokens=10)
    dear = candidate(PriceSpec(input=Decimal(5), output=Decimal(6)))
    found = worst(request, candidate(), dear)
    assert found.estimated_pico == dear[1].price.cost_pico(found.estimate)
    assert found.estimated_pico < found.cost_pico
    # With more tokens a cheaper tier would hold.
    odd = PriceSpec(input=Decimal(9), tiers=[{"above": 2000, "input": Decimal(1)}])
    found = worst(request, candidate(odd))
    assert found.estimated_pico <= found.cost_pico
    assert worst(request, candidate(None)).estimated_pico is None


def test_images_and_audio_count_as_declared_and_their_data_as_nothing():
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "B" * 50_000, "format": "wav"}},
    ]
    request = body(parts, max_tokens=1)
    found = worst(request, candidate(image_tokens=1000, audio_tokens=300))
    data = len("data:image/png;base64,") + 100_000 + 50_000
    assert found.tokens.input == len(request.raw) - data + 2 * 1000 + 300


def test_parts_of_other_kinds_count_as_the_dearer_of_images_and_audio_beside_their_bytes():
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 1000}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ]
    request = body(parts, max_tokens=1)
    found = worst(request, candidate(image_tokens=1000, audio_tokens=300))
    assert found.tokens.input == len(request.raw) + 2 * 1000


def test_a_worst_case_is_never_more_than_a_column_holds():
    for price in ("1e12", "1e40"):
        spec = PriceSpec(input=Decimal(price), output=Decimal(price))
        found = worst(body(max_tokens=10**9, n=128), candidate(spec))
        assert found.cost_pico == MAX_PICO
    endless = worst(body(), candidate(max_output_tokens=2**63))
    assert endless.tokens.output == endless.estimate.output == 10**12


@pytest.mark.parametrize(
    ("fields", "of_the_key", "of_the_model", "expected"),
    [
        ({"max_tokens": 7}, 5, 6, 7),
        ({"max_completion_tokens": 7, "max_tokens": 9, "n": 3}, None, None, 27),
        ({"max_completion_tokens": 9, "max_tokens": 7}, None, None, 9),
        ({}, 5, 6, 5),
        ({"n": 2}, 5, 6, 10),
        ({}, None, 6, 6),
        ({"max_tokens": 0, "n": True}, None, None, UNCAPPED_OUTPUT),
        ({"n": 1000}, 1, None, 1000),
    ],
)
def test_output_is_the_calls_cap_else_the_keys_else_the_models(fields, of_the_key, of_the_model, expected):
    found = worst(body(**fields), candidate(max_output=of_the_model), default_output=of_the_key)
    assert found.tokens.output == found.estimate.output == expected


def test_a_deployments_own_limit_of_output_goes_before_the_maps():
    assert worst(body(), candidate(max_output=6, max_output_tokens=4)).tokens.output == 4


def test_embeddings_have_no_output():
    request = RequestBody.parse(b'{"model":"m","input":["a","b"]}')
    assert worst(request, answers=False, default_output=5).tokens == Tokens(input=len(request.raw))


def test_the_dearest_candidate_counts():
    dear = PriceSpec(input=Decimal(3), output=Decimal(1), cache_write=Decimal(4))
    request = body(max_tokens=1)
    assert worst(request, candidate(), candidate(dear)).cost_pico == (len(request.raw) * 4 + 1) * MILLION


def test_the_dearest_tier_in_reach_counts_also_where_more_is_cheaper():
    size = len(body(max_tokens=1).raw)
    tiers = [
        {"above": size - 1, "input": 2, "output": 2},
        {"above": size, "input": 9, "output": 9},
        {"above": 10, "input": "0.5", "output": 1},
    ]
    spec = PriceSpec.model_validate({"input": 1, "output": 2, "tiers": tiers})
    assert worst(body(max_tokens=1), candidate(spec)).cost_pico == (size * 2 + 2) * MILLION


def test_what_is_not_known_is_not_nothing():
    found = worst(body(), candidate(), candidate(None))
    assert (found.cost_pico, found.currency) == (None, None)
    assert "openai/m" in found.unknown


def test_a_cost_that_is_declared_unknown_adds_nothing():
    unknown = candidate(None, cost="unknown")
    alone = worst(body(), unknown)
    assert (alone.cost_pico, alone.currency, alone.unknown) == (0, None, None)
    assert worst(body(), candidate(), unknown).cost_pico == worst(body()).cost_pico


def test_prices_in_two_currencies_have_no_common_bound():
    euros = PriceSpec(input=Decimal(1), currency="EUR")
    found = worst(body(), candidate(), candidate(euros))
    assert found.cost_pico is None
    assert "EUR" in found.unknown


def test_audio_that_is_asked_for_costs_as_audio():
    spec = PriceSpec(input=Decimal(0), output=Decimal(2), audio_output=Decimal(50))
    assert worst(body(max_tokens=1), candidate(spec)).cost_pico == 2 * MILLION
    assert worst(body(max_tokens=1, modalities=["text", "audio"]), candidate(spec)).cost_pico == 50 * MILLION
