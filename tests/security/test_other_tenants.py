"""Scenario 21: the ids of one tenant in the hands of another, on every endpoint, in path, query, body and header.

The contract suite (`test_identity_contract.py`) asks each endpoint once, with a body written for it. Here bodies come
from the descriptions, so that a new endpoint is attacked without a word here; every id goes wherever the description
has a place for its name; other tenants ask at once, and with keys of every strength.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem
from support.waiting import eventually

from security.treasure import MARK, RULE, Operation, Treasure, operations, plant, state

ROUNDS, FULL_ROUNDS = 2, 60
AT_ONCE = 6
NEIGHBOURS = ("strong key of another tenant", "weak key of another tenant", "weak key of the same tenant")

NAMED_BY_CALLER = {"session_id", "user_id", "workflow_id", "limit_name", "budget_name", "model", "tenant"}
"""Names that a tenant chooses: the same name is another thing of another tenant."""


@pytest.fixture(scope="module")
def treasure(system: RunningSystem, admin_client: PublicApi) -> Treasure:
    assert system.local
    return plant(system, admin_client)


@pytest.fixture(scope="module")
def neighbours(admin_client: PublicApi, other: PublicApi) -> Iterator[dict[str, PublicApi]]:
    def weak(operator: PublicApi) -> PublicApi:
        body = {"name": "weak", "scopes": ["query", "llm", "tools"]}
        api = PublicApi(operator.url, operator.call("POST", "/admin/api/v1/keys", json=body)["key"])
        eventually(lambda: api.http.get("/llm/v1/models").status_code == 200, "the key is known")
        return api

    found = dict(zip(NEIGHBOURS, (other, weak(other), weak(admin_client)), strict=True))
    yield found
    for api in list(found.values())[1:]:
        api.close()


def attack(operation: Operation, treasure: Treasure, api: PublicApi) -> httpx.Response:
    headers = {"Last-Event-ID": "0", "Idempotency-Key": "k-1"}
    return api.http.request(
        operation.method,
        operation.base + treasure.fill(operation.path),
        params=operation.query(treasure),
        json=operation.body(treasure),
        headers=headers,
        timeout=60,
    )


def check(operation: Operation, treasure: Treasure, answer: httpx.Response) -> None:
    where = f"{operation.method} {operation.path}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, where
    assert MARK not in answer.text, where
    for name in set(treasure.ids) - NAMED_BY_CALLER:
        # An id may come back only in the sentence that says that there is nothing of that name.
        assert answer.status_code >= 400 or treasure.ids[name] not in answer.text, where
    if operation.internal:
        assert answer.status_code in {401, 403}, where


def attack_all(
    system: RunningSystem, treasure: Treasure, neighbours: dict[str, PublicApi], rounds: int
) -> Counter[int]:
    """Every operation by every neighbour, many at once; how they were answered."""
    found = [operation for operation in operations(system) if not operation.public]
    assert len(found) > 40, "it does not walk the whole interface"
    # What the same tenant's weak keys may not is theirs to be told: the ids are of their own tenant.
    work = [(operation, api) for _ in range(rounds) for operation in found for api in neighbours.values()]

    def one(item: tuple[Operation, PublicApi]) -> int:
        answer = attack(item[0], treasure, item[1])
        if item[1] is neighbours[NEIGHBOURS[2]] and "{workflow_id}" in item[0].path:
            return answer.status_code  # a key for all workflows of its own tenant
        check(item[0], treasure, answer)
        return answer.status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(one, work))


def test_ids_of_another_tenant_open_nothing(
    system: RunningSystem, admin_client: PublicApi, treasure: Treasure, neighbours: dict[str, PublicApi]
) -> None:
    walk(system, admin_client, treasure, neighbours, ROUNDS)


@pytest.mark.soak
def test_ids_of_another_tenant_open_nothing_in_many_rounds(
    system: RunningSystem, admin_client: PublicApi, treasure: Treasure, neighbours: dict[str, PublicApi]
) -> None:
    walk(system, admin_client, treasure, neighbours, FULL_ROUNDS)


def walk(
    system: RunningSystem, operator: PublicApi, treasure: Treasure, neighbours: Any, rounds: int
) -> None:
    before = state(operator, treasure)
    try:
        answers = attack_all(system, treasure, neighbours, rounds)
    finally:
        for kind in ("limits", "budgets"):
            # What a neighbour has put under that name holds for its own tenant.
            neighbours[NEIGHBOURS[0]].http.delete(f"/llm/v1/{kind}/{RULE}")
    assert state(operator, treasure) == before
    assert answers[404] > 20, "the ids were not even tried"
    print(
        f"21 {system.shape}: {sum(answers.values())} requests, answered {dict(sorted(answers.items()))}, 0 leaks"
    )


def test_an_idempotency_key_of_another_tells_nothing(
    admin_client: PublicApi, neighbours: dict[str, PublicApi]
) -> None:
    key, body = new_session("idem"), {"message": "hello", "session_id": new_session()}
    mine = admin_client.call("POST", "/api/v1/query", json=body, headers={"Idempotency-Key": key})
    chat = {"model": "fake-model", "messages": [{"role": "user", "content": f"whose is {MARK}?"}]}
    paid = admin_client.http.post("/llm/v1/chat/completions", json=chat, headers={"Idempotency-Key": key})
    assert paid.status_code == 200
    for who, api in neighbours.items():
        answer = api.http.post("/api/v1/query", json=body, headers={"Idempotency-Key": key})
        assert mine["turn_id"] not in answer.text, who
        # The other tenant makes a session of its own under that id; who does not own it is told that there is none.
        assert answer.status_code == (200 if who == NEIGHBOURS[0] else 404), f"{who}: {answer.text}"
        again = api.http.post("/llm/v1/chat/completions", json=chat, headers={"Idempotency-Key": key})
        assert again.status_code == 200, again.text
        assert again.headers["signalbox-llm-call-id"] != paid.headers["signalbox-llm-call-id"], who
        assert "signalbox-llm-replayed" not in again.headers, who
