"""Activations of one workflow that race, by several replicas of Admin, under load: one order, one end for all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.public_api import Problem, PublicApi, new_session
from support.replicas import Replicas
from support.traffic import Traffic
from support.waiting import eventually

pytestmark = pytest.mark.faults

WORKFLOW = "raced"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two replicas of everything over one PostgreSQL and one Redis."""
    with Replicas(tmp_path_factory.mktemp("pair"), count=2) as running:
        yield running


def stored(api: PublicApi, version: int) -> str:
    """The hash of a version, stored and built, not active."""
    document = {
        "workflow_id": WORKFLOW,
        "name": "Raced",
        "intents": [{"id": "x", "when": {"keywords": ["x"]}, "then": {"reply": f"Version {version}."}}],
    }
    kept = api.call("POST", "/admin/api/v1/publish", json={"document": document, "activate": False})
    name: str = kept["snapshot"]["config_hash"]
    return name


def activate(api: PublicApi, name: str) -> int | None:
    """The number of the release; None where the answer says that others were quicker."""
    try:
        path = f"/admin/api/v1/workflows/{WORKFLOW}/activate"
        reply: dict[str, Any] = api.call("POST", path, json={"config_hash": name})
    except Problem as problem:
        if problem.code != "release_contended":
            raise
        return None
    number: int = reply["release"]["number"]
    return number


@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_two_activations_that_race_have_one_order_and_one_winner(pair: Replicas, rounds: int) -> None:
    apis = pair.apis()
    names = [stored(apis[0], version) for version in range(4)]
    refused = 0
    with ThreadPoolExecutor(4) as pool, Traffic(pair.urls[0]) as traffic:
        for turn in range(rounds):
            racing = [
                pool.submit(activate, apis[number % 2], names[(number + turn) % 4]) for number in range(4)
            ]
            refused += [one.result(30) for one in racing].count(None)
            releases = apis[0].call("GET", "/admin/api/v1/releases", params={"workflow_id": WORKFLOW})
            newest = releases["items"][0]
            assert [one["active"] for one in releases["items"]].count(True) == 1
            assert newest["active"], "the newest release is the active one"
            version = names.index(newest["config_hash"])
            for api in apis:
                eventually(
                    lambda api=api, version=version: (
                        api.query("x", new_session(), workflow_id=WORKFLOW)["message"]
                        == f"Version {version}."
                    ),
                    "every replica serves the winner",
                    5,
                )
        traffic.wait_for(more_acknowledged=5)
    numbers: list[int] = []
    after = None
    while True:
        page = apis[1].call(
            "GET",
            "/admin/api/v1/releases",
            params={"workflow_id": WORKFLOW, "limit": 200, **({"after": after} if after else {})},
        )
        numbers += [one["number"] for one in page["items"]]
        after = page["next_after"]
        if after is None:
            break
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "one release a number, and no number left out"
    traffic.check().print("20 racing activations", rounds=rounds, releases=len(numbers), refused=refused)
    for api in apis:
        api.close()
