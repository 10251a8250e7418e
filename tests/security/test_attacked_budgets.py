"""Scenario 30: hard budgets attacked by calls at the same time, by retries, and by streams that are cut short.

A budget holds when nobody has been given more than it has, whatever callers do: the ledger is summed, and what the
provider was asked is counted against it. (`tests/gateway` holds each part; here it is the whole system, replicas and
edge included.)
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.systems import PRICED_MODEL, RunningSystem
from support.waiting import eventually

from signalbox_fake_provider import FakeProvider
from signalbox_fake_provider.records import RequestRecord
from signalbox_fake_provider.tokens import tokens_of

MILLION = Decimal(1_000_000)
INPUT, OUTPUT = Decimal(1), Decimal(4)
"""Prices of the priced model, for a million tokens."""

ANSWER_TOKENS = 50
CALL_COST = (Decimal(30) * INPUT + ANSWER_TOKENS * OUTPUT) / MILLION
"""About what a call costs; a call holds no more than this."""

SHORT, FULL = 90, 2_000
AT_ONCE = 16
AGAIN = 90_000
"""Numbers from which on calls are made again and again."""

ON_ITS_WAY = 15
"""Tokens that a provider may have sent when it notices that nobody reads any more."""

PAID_CALLS = 20
"""The budget has money for about so many."""


class Thief(NamedTuple):
    """A key with a budget of its own."""

    api: PublicApi
    budget: str
    amount: Decimal
    key_id: str


@pytest.fixture
def thief(system: RunningSystem, admin_client: PublicApi) -> Iterator[Thief]:
    assert system.local
    made = admin_client.call("POST", "/admin/api/v1/keys", json={"name": "thief", "scopes": ["llm"]})
    name, amount = new_session("small"), (CALL_COST * PAID_CALLS).quantize(Decimal("0.000001"))
    rule = {"of": "key", "only": made["key_id"], "amount": str(amount), "window": "total"}
    admin_client.call("PUT", f"/llm/v1/budgets/{name}", json=rule)
    api = PublicApi(system.url, made["key"])
    eventually(lambda: api.http.get("/llm/v1/models").status_code == 200, "the key is known")
    # A model without a price is refused where a budget applies: so it is seen that the budget is known everywhere.
    unpriced = {"model": "fake-small", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}

    def holds() -> bool:
        return all(
            api.http.post("/llm/v1/chat/completions", json=unpriced).status_code == 403 for _ in range(3)
        )

    eventually(holds, "the budget holds", 15.0)
    yield Thief(api, name, amount, made["key_id"])
    admin_client.http.delete(f"/llm/v1/budgets/{name}")
    api.close()


def body(mark: str, number: int, *, stream: bool) -> dict[str, Any]:
    return {
        "model": PRICED_MODEL,
        "max_tokens": ANSWER_TOKENS,
        "stream": stream,
        "messages": [{"role": "user", "content": f"{mark} {number:05}"}],
    }


def steal(thief: Thief, mark: str, number: int) -> str:
    """One attempt, of the kind that its number says."""
    kind = ("plain", "cut", "repeated", "left", "changed")[number % 5]
    http, path = thief.api.http, "/llm/v1/chat/completions"
    if kind in {"cut", "left"}:
        asked = body(mark, number, stream=True)
        with suppress(httpx.HTTPError), http.stream("POST", path, json=asked, timeout=20) as answer:
            if answer.status_code == 200:
                for _ in answer.iter_raw():
                    break  # the connection is closed with the stream half read
            return f"{kind} {answer.status_code}"
    if kind == "repeated":
        # The same key from many at once, each with the same body.
        headers = {"Idempotency-Key": f"{mark}-{number // 20}"}
        answer = http.post(path, json=body(mark, AGAIN + number // 20, stream=False), headers=headers)
        return f"{kind} {answer.status_code}"
    more = {} if kind == "plain" else {"max_tokens": None, "max_completion_tokens": ANSWER_TOKENS, "n": 1}
    sent = {
        name: value
        for name, value in {**body(mark, number, stream=False), **more}.items()
        if value is not None
    }
    return f"{kind} {http.post(path, json=sent).status_code}"


def spent_of(operator: PublicApi, thief: Thief) -> Decimal:
    items = operator.call("GET", "/llm/v1/budgets")["items"]
    (mine,) = [item for item in items if item["name"] == thief.budget]
    return sum((Decimal(one["amount"]) for one in mine["spent"]), Decimal(0))


def attack(
    system: RunningSystem, operator: PublicApi, provider: FakeProvider, thief: Thief, count: int
) -> None:
    mark = new_session("steal")
    answer = "word" * ANSWER_TOKENS
    provider.script(
        [{"match": {"last_user_contains": mark}, "reply": answer, "latency_ms": 20, "chunk_delay_ms": 2}]
    )
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def one(number: int) -> None:
        outcome = steal(thief, mark, number)
        with lock:
            outcomes[outcome] += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(count)))

    def settled() -> Decimal | None:
        first = spent_of(operator, thief)
        open_now = provider.open_requests()
        return first if not open_now and first == spent_of(operator, thief) else None

    spent = eventually(settled, "all calls are in the ledger", 30.0) or Decimal(0)
    asked = [request for request in provider.requests() if mark in str(request.body)]
    used = sum((_cost(request) for request in asked), Decimal(0))
    refused = sum(number for outcome, number in outcomes.items() if outcome.endswith(" 429"))
    print(
        f"30 {system.shape}: {count} attempts ({dict(sorted(outcomes.items()))}), {refused} refused; provider asked "
        f"{len(asked)} times, {used} USD by its own count; ledger {spent} of {thief.amount} USD"
    )
    assert not [outcome for outcome in outcomes if outcome[-3] == "5"], outcomes
    assert spent <= thief.amount
    # What was on its way when a client left is the provider's to say, and it does not: it is not in the ledger.
    left = sum(number for outcome, number in outcomes.items() if outcome in {"cut 200", "left 200"})
    assert used - spent <= left * ON_ITS_WAY * OUTPUT / MILLION, (
        "the provider was asked for more than was booked"
    )
    assert refused > count // 3, "the budget was not even reached"
    assert spent > thief.amount / 4, "next to nothing was booked"
    repeated = Counter(str(request.body["messages"]) for request in asked)
    assert max(repeated.values()) == 1, "a repeated call was made twice"
    later = thief.api.http.post("/llm/v1/chat/completions", json=body(mark, count, stream=False))
    assert later.status_code in {200, 429}, later.text


def _cost(asked: RequestRecord) -> Decimal:
    """What the provider asks for a call: its prompt, and the tokens that it has sent, also those nobody took."""
    prompt = sum(tokens_of(message["content"]) for message in asked.body["messages"])
    assert asked.body.get("max_tokens") or asked.body.get("max_completion_tokens"), "a call without a cap"
    sent = asked.chunks_sent if asked.body.get("stream") else ANSWER_TOKENS
    return (prompt * INPUT + sent * OUTPUT) / MILLION


def test_a_budget_is_not_overdrawn(
    system: RunningSystem, admin_client: PublicApi, provider: FakeProvider, thief: Thief
) -> None:
    attack(system, admin_client, provider, thief, SHORT)


@pytest.mark.soak
def test_a_budget_is_not_overdrawn_by_thousands(
    system: RunningSystem, admin_client: PublicApi, provider: FakeProvider, thief: Thief
) -> None:
    attack(system, admin_client, provider, thief, FULL)
