"""A provider that is gone and a backend that is slower than the deadline: who needs neither does not notice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.probe_backend import ProbeBackend
from support.public_api import PublicApi, new_session
from support.systems import READY_S, SHOP_WORKFLOW, probe_document, publish
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import OneProcess

pytestmark = pytest.mark.faults

AGENT = "my tent arrived damaged"
DEADLINE_MS = 1_500
GRACE_S = 2.5


@pytest.fixture
def served(tmp_path: Path) -> Iterator[OneProcess]:
    """One process with a provider and a shop of its own, the example published."""
    env = {"SIGNALBOX_OLLAMA_URL": "", "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]'}
    with OneProcess(tmp_path, env=env, shop=True, provider=True) as system:
        system.run_cli("publish", str(SHOP_WORKFLOW), "--url", system.edge_url)
        yield system


@pytest.mark.parametrize("gone_s", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_a_provider_that_is_gone_costs_only_those_who_need_it_and_only_meanwhile(
    served: OneProcess, gone_s: int
) -> None:
    assert served.provider is not None
    api = PublicApi(served.edge_url, None)
    assert "echo" in api.query(AGENT)["message"]
    answered, slowest = 0, 0.0
    with Traffic(served.edge_url, customers=2) as traffic:
        traffic.wait_for(more_acknowledged=10)
        served.provider.process.kill()
        until = time.monotonic() + gone_s
        while time.monotonic() < until:
            begun = time.monotonic()
            reply = api.query(AGENT)
            slowest = max(slowest, time.monotonic() - begun)
            assert reply["status"] in {"degraded", "error", "handoff"}, reply
            assert reply["message"], "whoever asks is told something"
            answered += 1
        served.provider.process.start(READY_S)
        begun = time.monotonic()
        eventually(lambda: "echo" in api.query(AGENT)["message"], "the model answers again", 40)
        back_s = time.monotonic() - begun
        traffic.wait_for(more_acknowledged=10)
    figures = traffic.check()
    figures.print(
        f"11 provider gone for {gone_s} s",
        answered_without_it=answered,
        slowest_s=round(slowest, 2),
        back_after_s=round(back_s, 2),
    )
    assert traffic.failures == []
    api.close()


@pytest.mark.parametrize("calls", [16, pytest.param(200, marks=pytest.mark.soak)])
def test_a_backend_slower_than_the_deadline_is_said_in_time_and_written_to_once(
    tmp_path: Path, calls: int
) -> None:
    env = {"SIGNALBOX_OLLAMA_URL": "", "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]'}
    with ExitStack() as held:
        backend = held.enter_context(ProbeBackend())
        system = held.enter_context(OneProcess(tmp_path, env=env))
        api = PublicApi(system.edge_url, None)
        publish(api, probe_document(backend.url))

        def read(number: int) -> float:
            begun = time.monotonic()
            answer = _ask(api, f"wait at slow-{number}", new_session("key"), new_session())
            assert answer.status_code in {200, 504}, answer.text
            return time.monotonic() - begun

        def write(number: int) -> str:
            key, session = new_session("key"), new_session()
            for attempt in range(40):
                answer = _ask(api, f"write at gate-{number}", key, session)
                if attempt == 1:
                    backend.open_gate(f"gate-{number}")
                if answer.status_code == 200:
                    message: str = answer.json()["message"]
                    return message
            raise AssertionError(f"write {number} is never acknowledged: {answer.text}")

        with (
            Traffic(system.edge_url, customers=2, kinds=("say {unique}",)) as traffic,
            ThreadPoolExecutor(calls) as pool,
        ):
            traffic.wait_for(more_acknowledged=10)
            reads = [pool.submit(read, number) for number in range(calls // 2)]
            writes = [pool.submit(write, number) for number in range(calls // 2)]
            slowest = max(one.result(60) for one in reads)
            told = [one.result(120) for one in writes]
            traffic.wait_for(more_acknowledged=10)
        keys = [
            {call.headers["idempotency-key"] for call in backend.received(f"/gate/gate-{number}")}
            for number in range(calls // 2)
        ]
        twice = sum(len(found) > 1 for found in keys)
        traffic.check().print(
            "12 backend slower than the deadline",
            slow_calls=calls,
            slowest_s=round(slowest, 2),
            writes=len(told),
            told=sorted(set(told)),
            twice=twice,
        )
        api.close()
    assert twice == 0, "a write was made under two keys"
    assert all(keys)
    assert slowest < DEADLINE_MS / 1000 + GRACE_S
    assert traffic.failures == []


def _ask(api: PublicApi, message: str, key: str, session: str) -> httpx.Response:
    return api.http.post(
        "/api/v1/query",
        json={"message": message, "session_id": session},
        headers={"Idempotency-Key": key, "Signalbox-Timeout-Ms": str(DEADLINE_MS)},
    )
