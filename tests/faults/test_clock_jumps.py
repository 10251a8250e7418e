"""Wall clocks that jump by an hour, both ways, of one replica and of all, under load: what is monotonic stays."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.jumping_clock import Clock, clock_environment
from support.public_api import PublicApi, new_session
from support.replicas import Replicas
from support.traffic import Traffic
from support.waiting import eventually

pytestmark = pytest.mark.faults

HOUR_S = 3600
TASKS_AT_EACH = 10
KINDS = ("say {unique}", "write {unique}", "say hello {order}")


class Clocked:
    """Two replicas, each with a clock of its own."""

    def __init__(self, replicas: Replicas, clocks: list[Clock]) -> None:
        self.replicas = replicas
        self.clocks = clocks

    def written(self) -> Counter[str]:
        """How often what was written: once for each Idempotency-Key."""
        calls = {
            (json.loads(call.body)["what"], call.headers["idempotency-key"])
            for call in self.replicas.backend.received("/written")
        }
        return Counter(what for what, _ in calls)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    directory = tmp_path_factory.mktemp("clocks")
    clocks = [Clock(directory / f"replica-{number}" / "data") for number in range(2)]
    env = {
        **clock_environment(directory),
        "SIGNALBOX_TASK_STALE_MS": "2000",
        "SIGNALBOX_LEASE_TTL_MS": "2000",
        "SIGNALBOX_LEASE_RENEW_MS": "500",
    }
    with Replicas(directory, count=2, env=env) as replicas:
        replicas.publish(policies={"session_ttl_seconds": 24 * HOUR_S})
        yield Clocked(replicas, clocks)


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.soak)])
def test_clocks_that_jump_by_an_hour_lose_nothing_and_do_nothing_twice(clocked: Clocked, rounds: int) -> None:
    apis = clocked.replicas.apis()
    together = [(HOUR_S, HOUR_S), (0, 0), (-HOUR_S, -HOUR_S), (0, 0)]
    apart = [(HOUR_S, 0), (0, 0), (0, -HOUR_S), (0, 0)]
    jumps = [(offsets, TASKS_AT_EACH) for offsets in together] + [(offsets, 0) for offsets in apart]
    tasks: list[str] = []
    with (
        Traffic(apis[0].url, customers=4, kinds=KINDS, urls=clocked.replicas.urls) as traffic,
        ThreadPoolExecutor(8) as pool,
    ):
        for _ in range(rounds):
            for offsets, count in jumps:
                traffic.wait_for(more_acknowledged=10)
                gate = new_session("gate")
                held = pool.submit(apis[0].query, f"wait at {gate}", new_session())
                eventually(
                    lambda gate=gate: clocked.replicas.backend.received(f"/gate/{gate}"),
                    "a turn is under way",
                )
                messages = [f"write at task-{len(tasks) + number}" for number in range(count)]
                accepted = list(pool.map(_submit, apis * (count // 2), messages))
                for clock, seconds in zip(clocked.clocks, offsets, strict=True):
                    clock.set(seconds)
                for api, seconds in zip(apis, offsets, strict=True):
                    eventually(lambda api=api, seconds=seconds: _ahead(api) == seconds, "the clock jumps")
                traffic.wait_for(more_acknowledged=20)
                for name in (gate, *(f"task-{len(tasks) + number}" for number in range(count))):
                    clocked.replicas.backend.open_gate(name)
                assert held.result(20)["message"].endswith("The gate is open.")
                tasks += accepted
    for task in tasks:
        found = eventually(lambda task=task: _finished(apis[1], task), f"{task} is finished", 30)
        assert found["status"] == "success", found
        assert "Written at" in found["result"]["message"], json.dumps(found)
    written = clocked.written()
    assert max(written.values()) == 1
    acknowledged = {
        text.removeprefix("write ")
        for said in traffic.said.values()
        for (role, text) in said
        if role == "user" and text.startswith("write ")
    }
    acknowledged |= {f"task-{number}" for number in range(len(tasks))}
    assert acknowledged <= set(written)
    traffic.check().print(
        "10 clock jumps", jumps=len(jumps) * rounds, writes=len(written), tasks=len(tasks), tasks_lost=0
    )
    assert traffic.failures == []
    for api in apis:
        api.close()


def _ahead(api: PublicApi) -> int:
    """Seconds, to the nearest minute, that the wall clock of a replica is ahead of ours."""
    turn = api.turn(api.query("say when", new_session())["turn_id"])
    return round((turn["created_at"] / 1000 - time.time()) / 60) * 60


def _submit(api: PublicApi, message: str) -> str:
    body = {"message": message, "session_id": new_session()}
    accepted: dict[str, Any] = api.call("POST", "/api/v1/query/async", json=body)
    task: str = accepted["task_id"]
    return task


def _finished(api: PublicApi, task: str) -> dict[str, Any] | None:
    found: dict[str, Any] = api.call("GET", f"/api/v1/task/{task}")
    return found if found["status"] in {"success", "failed", "cancelled"} else None
