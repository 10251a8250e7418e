"""What calls cost, to the last digit: through a gateway on PostgreSQL and Redis, whole, streamed and translated."""

import json
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from support.gateway_app import wait_for

MESSAGES = [{"role": "user", "content": "hi"}]
PRICE = {
    "input": "3",
    "output": "15",
    "cached_input": "0.3",
    "cache_write": "3.75",
    "cache_write_1h": "6",
    "reasoning": "20",
    "request": "0.000001",
    "tiers": [
        {
            "above": 1000,
            "input": "6",
            "output": "22.5",
            "cached_input": "0.6",
            "cache_write": "7.5",
            "cache_write_1h": "12",
            "reasoning": "30",
        }
    ],
}
"""Dollars for a million tokens; with more than 1000 of input all are dearer. Each request costs a millionth more."""

USED = {
    "prompt_tokens": 2000,
    "completion_tokens": 500,
    "total_tokens": 2500,
    "prompt_tokens_details": {
        "cached_tokens": 600,
        "cache_creation_tokens": 300,
        "cache_creation_token_details": {
            "ephemeral_5m_input_tokens": 200,
            "ephemeral_1h_input_tokens": 100,
        },
    },
    "completion_tokens_details": {"reasoning_tokens": 120},
}
USED_BELOW = {
    "prompt_tokens": 1000,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 250, "cache_write_tokens": 50},
}

BY_HAND = (
    Decimal("0.0066")  # 2000 - 600 - 300 = 1100 read anew, at 6 for a million
    + Decimal("0.00036")  # 600 read from the cache, at 0.60
    + Decimal("0.0015")  # 200 written for five minutes, at 7.50
    + Decimal("0.0012")  # 100 written for an hour, at 12
    + Decimal("0.00855")  # 500 - 120 = 380 said, at 22.50
    + Decimal("0.0036")  # 120 thought, at 30
    + Decimal("0.000001")  # the request
)
BY_HAND_BELOW = (
    Decimal("0.0021")  # 1000 - 250 - 50 = 700 read anew, at 3
    + Decimal("0.000075")  # 250 from the cache, at 0.30
    + Decimal("0.0001875")  # 50 written, at 3.75
    + Decimal("0.000105")  # 7 said, at 15
    + Decimal("0.000001")
)


def rows(url: str, table: str = "ledger_calls") -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def the_row(url: str) -> dict[str, Any]:
    wait_for(lambda: len(rows(url)) == 1)
    (row,) = rows(url)
    return row


def post(gateway, path: str, **body: Any) -> httpx.Response:
    body = {"model": "alias", **body}
    response = httpx.post(f"{gateway.url}/llm/v1{path}", json=body, timeout=20)
    assert response.status_code == 200, response.text
    return response


def data_of(response: httpx.Response) -> list[str]:
    return [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("used", "by_hand"), [(USED, BY_HAND), (USED_BELOW, BY_HAND_BELOW)])
def test_cached_written_thought_and_tiered_tokens_cost_what_a_hand_calculation_says(
    gateways, provider, ledger_url, stream, used, by_hand
):
    (gateway,) = gateways(model={"price": PRICE})
    provider.script([{"reply": "hello there", "usage": used}])
    response = post(gateway, "/chat/completions", messages=MESSAGES, stream=stream)
    row = the_row(ledger_url)
    assert abs(Decimal(row["cost_pico"]) / 10**12 - by_hand) < Decimal("1e-9")
    assert row["cost_pico"] == by_hand * 10**12
    assert (row["currency"], row["priced"], row["estimated"]) == ("USD", 1, 0)
    (attempt,) = rows(ledger_url, "ledger_attempts")
    kinds = ("input", "output", "cached", "cache_write", "cache_write_1h", "reasoning")
    counted = [
        used["prompt_tokens"],
        used["completion_tokens"],
        *((600, 300, 100, 120) if used is USED else (250, 50, 0, 0)),
    ]
    for kept in (row, attempt):
        assert [kept[f"{kind}_tokens"] for kind in kinds] == counted
    assert attempt["cost_pico"] == row["cost_pico"]
    if not stream:
        amount, currency = response.headers["signalbox-llm-cost"].split()
        assert (Decimal(amount), currency) == (by_hand, "USD")


def test_a_stream_that_asks_for_no_usage_is_accounted_and_has_no_chunk_more(gateways, provider, ledger_url):
    (gateway,) = gateways()
    provider.script(
        [{"reply": "one two three", "chunks": 3, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}]
    )
    asked = {"messages": MESSAGES, "stream": True}
    without = data_of(post(gateway, "/chat/completions", **asked))
    row = the_row(ledger_url)
    assert (row["input_tokens"], row["output_tokens"], row["cost_pico"]) == (9, 4, (9 + 2 * 4) * 10**6)
    assert row["estimated"] == 0
    told = data_of(post(gateway, "/chat/completions", **asked, stream_options={"include_usage": True}))
    direct = [json.loads(data) for data in without[:-1]]
    assert without[-1] == told[-1] == "[DONE]"
    assert len(told) == len(without) + 1
    assert all(chunk["choices"] for chunk in direct)
    assert not any(chunk.get("usage") for chunk in direct)
    # The provider was asked for it both times.
    assert [seen.body["stream_options"] for seen in provider.requests()] == [{"include_usage": True}] * 2


def test_streams_in_other_protocols_are_accounted_too(gateways, provider, ledger_url):
    (gateway,) = gateways()
    provider.script(
        [{"reply": "one two three", "chunks": 3, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}]
    )
    message = post(gateway, "/messages", max_tokens=50, messages=MESSAGES, stream=True)
    events = [json.loads(data) for data in data_of(message)]
    assert events[-1] == {"type": "message_stop"}
    assert [event["usage"]["output_tokens"] for event in events if event["type"] == "message_delta"] == [4]
    response = post(gateway, "/responses", input="hi", stream=True)
    last = json.loads(data_of(response)[-1])
    assert (last["type"], last["response"]["usage"]["output_tokens"]) == ("response.completed", 4)
    wait_for(lambda: len(rows(ledger_url)) == 2)
    for row in rows(ledger_url):
        assert (row["input_tokens"], row["output_tokens"], row["cost_pico"]) == (9, 4, 17 * 10**6)
        assert (row["streamed"], row["estimated"], row["outcome"]) == (1, 0, "ok")


def test_a_price_from_the_file_holds_from_its_day_on_and_a_change_of_it_within_seconds(
    gateways, provider, ledger_url, tmp_path
):
    dated = {"provider": "openai-compatible", "model": "fake-model"}
    prices = [
        {**dated, "input": "1", "from": "2020-01-01"},
        {**dated, "input": "100", "from": "2200-01-01"},
    ]
    (gateway,) = gateways(model={"price": None}, prices=prices)
    provider.script([{"usage": {"prompt_tokens": 10, "completion_tokens": 0}}])
    assert (
        post(gateway, "/chat/completions", messages=MESSAGES).headers["signalbox-llm-cost"] == "0.00001 USD"
    )
    path = tmp_path / "gateway.yaml"
    path.write_text(path.read_text().replace("input: '1'", "input: '7'"))

    def costs_more() -> bool:
        cost = post(gateway, "/chat/completions", messages=MESSAGES).headers["signalbox-llm-cost"]
        return cost == "0.00007 USD"

    wait_for(costs_more, timeout=5)


def test_a_cost_that_is_unknown_is_shown_as_unpriced_and_corrected_by_a_row(gateways, provider, ledger_url):
    (gateway,) = gateways(
        model={"price": None, "cost": "unknown"},
        budgets=[{"name": "day", "of": "tenant", "amount": "1", "window": "day"}],
    )
    answered = post(gateway, "/chat/completions", messages=MESSAGES)
    assert "signalbox-llm-cost" not in answered.headers
    row = the_row(ledger_url)
    assert (row["cost_pico"], row["priced"]) == (None, 0)
    usage = f"{gateway.url}/llm/v1/usage"
    correction = {"call_id": row["call_id"], "cost": "0.25", "reason": "the invoice says so"}
    added = httpx.post(f"{usage}/corrections", json=correction)
    assert added.status_code == 201
    unpriced, corrected = sorted(
        httpx.get(usage, params={"by": "model"}).json()["lines"], key=lambda line: line["currency"] or ""
    )
    assert (unpriced["calls"], unpriced["unpriced_calls"], unpriced["cost"]) == (1, 1, None)
    assert (corrected["calls"], corrected["cost"], corrected["corrections"]) == (0, "0.25", "0.25")
    assert the_row(ledger_url) == row
    (budget,) = httpx.get(f"{gateway.url}/llm/v1/budgets").json()["items"]
    assert (budget["name"], budget["declared_in"]) == ("day", "file")
    assert budget["spent"] == [{"of": "default", "amount": "0.25", "left": "0.75"}]
    unheard = httpx.post(f"{usage}/corrections", json={**correction, "call_id": "llm_0"})
    assert (unheard.status_code, unheard.json()["error"]["code"]) == (404, "call_not_found")


def test_a_model_that_nobody_has_priced_is_refused_where_a_hard_budget_applies(
    gateways, provider, ledger_url
):
    (gateway,) = gateways(
        model={"price": None}, budgets=[{"name": "day", "of": "tenant", "amount": "1", "window": "day"}]
    )
    body = {"model": "alias", "messages": MESSAGES}
    refused = httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_unpriced")
    assert provider.requests() == []
