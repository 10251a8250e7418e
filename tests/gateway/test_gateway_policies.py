"""Limits and budgets that operators set by HTTP: what they say holds on every replica within seconds."""

import time
from typing import Any

import httpx
import pytest
from support.gateway_app import RunningGateway, wait_for

WITHIN_S = 5.0
CALL = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


def call(gateway: RunningGateway, method: str, path: str, body: Any = None) -> httpx.Response:
    return httpx.request(method, f"{gateway.url}/llm/v1{path}", json=body, timeout=20)


def status(gateway: RunningGateway) -> int:
    return call(gateway, "POST", "/chat/completions", CALL).status_code


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("/limits/none", {"of": "tenant", "tokens": 1}),
        ("/budgets/none", {"of": "tenant", "amount": "0.000001", "window": "day"}),
    ],
)
def test_a_rule_that_is_put_at_one_replica_holds_at_all_within_five_seconds(gateways, place, rule):
    first, second = gateways(2)
    assert (status(first), status(second)) == (200, 200)
    started = time.monotonic()
    put = call(first, "PUT", place, rule)
    assert (put.status_code, put.json()["declared_in"]) == (200, "table")
    assert status(first) == 429
    wait_for(lambda: status(second) == 429)
    assert time.monotonic() - started < WITHIN_S
    listed = call(second, "GET", place.rpartition("/")[0]).json()["items"]
    assert [found["name"] for found in listed] == ["none"]
    assert call(second, "DELETE", place).status_code == 204
    assert status(second) == 200
    wait_for(lambda: status(first) == 200, timeout=WITHIN_S)
    gone = call(first, "DELETE", place)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "rule_not_found")


def test_what_is_no_rule_is_refused_in_the_protocols_shape(gateways):
    (gateway,) = gateways(limits=[{"name": "files", "of": "tenant", "requests": 1000}])
    empty = call(gateway, "PUT", "/limits/empty", {"of": "tenant"})
    assert (empty.status_code, empty.json()["error"]["code"]) == (422, "validation_failed")
    unknown = call(gateway, "PUT", "/budgets/b", {"of": "tenant", "amount": "1", "window": "year"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (422, "window")
    taken = call(gateway, "PUT", "/limits/files", {"of": "tenant", "requests": 1})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "declared_in_file")
