"""A disk that is full under SQLite: nothing is acknowledged that is not kept, and it is said why."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.readiness import not_ready_because
from support.shop_orders import ShopOrders
from support.small_disks import Ballast, small_disk
from support.systems import READY_S, SHOP_WORKFLOW, one_process, run_signalbox
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import OneProcess

pytestmark = pytest.mark.faults


@pytest.fixture
def small(tmp_path: Path) -> Iterator[OneProcess]:
    """One process whose data is on a disk of 12 MB, with the example published."""
    with ExitStack() as held:
        held.enter_context(small_disk(tmp_path / "system" / "data", "12m"))
        env = {"SIGNALBOX_OLLAMA_URL": "", "SIGNALBOX_TRACE_FILE": ""}
        system = one_process(held, tmp_path / "system", env)
        system.start(READY_S)
        system.run_cli("publish", str(SHOP_WORKFLOW), "--url", system.edge_url)
        yield system


@pytest.mark.parametrize("fills", [3, pytest.param(40, marks=pytest.mark.soak)])
def test_a_full_disk_loses_nothing_and_is_served_again_when_there_is_room(
    small: OneProcess, fills: int
) -> None:
    orders = ShopOrders(small.directory / "shop.db")
    numbers = [orders.fresh("returnable") for _ in range(20 * fills)]
    ballast = Ballast(small.data)
    refused = 0
    api = PublicApi(small.edge_url, None)
    with Traffic(small.edge_url, orders=numbers) as traffic:
        for number in range(fills):
            traffic.wait_for(more_acknowledged=15)
            ballast.fill()
            # The log that SQLite has already may take some turns more: they are kept, and acknowledged.
            refusal = eventually(lambda: _refusal(api), "a full disk is said", 20)
            assert refusal.json()["code"] == "storage_unavailable", refusal.text
            assert "full" in refusal.json()["detail"], refusal.text
            traffic.wait_for(more_attempts=10)
            if number % 2:
                small.kill()
                small.process.launch()
                reason = eventually(
                    lambda: _why_not(small), "it ends and says why, or is not ready and says why", READY_S
                )
                assert "disk" in reason or "space" in reason, reason
            ballast.drop()
            if not small.process.running:
                small.restart(READY_S)
            traffic.wait_for(more_acknowledged=10)
            refused += 1
    api.close()
    figures = traffic.check()
    figures.print("9 disk full under SQLite", times_full=refused, returned=len(traffic.returned))
    assert all(orders.returns_of(number) == 1 for number in traffic.returned)
    assert all(orders.returns_of(number) <= 1 for number in numbers)
    small.process.stop()
    for file in small.data.glob("*.db"):
        assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _refusal(api: PublicApi) -> httpx.Response | None:
    answer = api.http.post("/api/v1/query", json={"message": "hello", "session_id": new_session()})
    assert answer.status_code in {200, 503}, answer.text
    return answer if answer.status_code == 503 else None


def _why_not(system: OneProcess) -> str:
    """What a process says that does not serve; empty as long as it says nothing."""
    if not system.process.running:
        return system.process.log_tail()
    try:
        return not_ready_because(system.edge_url)
    except httpx.ConnectError:
        return ""


def test_a_start_on_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64k") as disk:
        Ballast(disk).fill()
        env = {"PATH": "/usr/bin", "SIGNALBOX_OLLAMA_URL": ""}
        done = run_signalbox("up", "--port", "0", "--data", str(disk), env=env)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert str(disk) in done.stderr
    assert "make room" in done.stderr, done.stderr
