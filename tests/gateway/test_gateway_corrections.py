"""Budgets that are spent for good, and corrections that reach budgets, through two gateways over one Redis."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from support.gateway_app import wait_for
from support.gateway_replicas import ledger_rows

CHAT = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
PRICE = {"input": "1", "output": "2"}
BODIES = {
    "/chat/completions": CHAT,
    "/messages": CHAT,
    "/responses": {"model": "alias", "input": "hi", "max_output_tokens": 10},
}


def chat(gateway) -> httpx.Response:
    return httpx.post(f"{gateway.url}/llm/v1/chat/completions", json=CHAT, timeout=20)


def the_call(gateway, ledger_url) -> str:
    """The id of a call that is in the ledger."""
    answered = chat(gateway)
    assert answered.status_code == 200, answered.text
    call_id = answered.headers["signalbox-llm-call-id"]
    wait_for(lambda: any(row["call_id"] == call_id for row in ledger_rows(ledger_url)))
    return call_id


def correct(gateway, call_id: str, cost: str, **fields: Any) -> httpx.Response:
    body = {"call_id": call_id, "cost": cost, "reason": "the invoice says so", **fields}
    return httpx.post(f"{gateway.url}/llm/v1/usage/corrections", json=body)


@pytest.mark.parametrize("window", ["day", "total"])
def test_a_correction_reaches_a_budget_that_all_replicas_count(gateways, provider, ledger_url, window):
    one, other = gateways(
        2,
        model={"price": PRICE},
        budgets=[{"name": "b", "of": "tenant", "amount": "5", "window": window}],
    )
    call_id = the_call(one, ledger_url)
    assert chat(other).status_code == 200
    assert correct(one, call_id, "6").status_code == 201
    for gateway in (one, other):
        refused = chat(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    (budget,) = httpx.get(f"{one.url}/llm/v1/budgets").json()["items"]
    assert Decimal("-1.1") < Decimal(budget["spent"][0]["left"]) < -1
    assert correct(other, call_id, "-3").status_code == 201
    assert [chat(gateway).status_code for gateway in (one, other)] == [200, 200]


def test_a_budget_that_is_spent_for_good_refuses_every_protocol_and_names_no_time(
    gateways, provider, ledger_url
):
    (gateway,) = gateways(
        model={"price": PRICE},
        budgets=[{"name": "b", "of": "tenant", "amount": "5", "window": "total"}],
    )
    assert correct(gateway, the_call(gateway, ledger_url), "6").status_code == 201
    for path, body in BODIES.items():
        for stream in (False, True):
            refused = httpx.post(f"{gateway.url}/llm/v1{path}", json={**body, "stream": stream})
            assert refused.status_code == 429, refused.text
            assert "it does not begin anew" in refused.json()["error"]["message"]
            assert "retry-after" not in refused.headers
            assert refused.headers["x-should-retry"] == "false"


def test_a_correction_that_cannot_be_true_is_refused(gateways, provider, ledger_url):
    (gateway,) = gateways(model={"price": PRICE})
    call_id = the_call(gateway, ledger_url)
    for fields, pointed in (
        ({"cost": "0.5", "currency": "EUR"}, "currency"),
        ({"cost": "-5"}, "cost"),
    ):
        refused = correct(gateway, call_id, **fields)
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["code"], error["param"].lstrip("/")) == ("correction_wrong", pointed)
    assert ledger_rows(ledger_url, "ledger_corrections") == []
