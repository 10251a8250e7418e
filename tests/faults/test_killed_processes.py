"""kill -9 under light load: what was acknowledged stays, in order, once."""

import pytest
from support.public_api import PublicApi
from support.shop_orders import ShopOrders
from support.systems import READY_S
from support.traffic import Traffic
from support.waiting import eventually

from signalbox_local import OneProcess, ServicesStack

pytestmark = pytest.mark.faults


def test_one_process_that_is_killed_and_started_loses_no_turn(process: OneProcess) -> None:
    orders = ShopOrders(process.directory / "shop.db")
    numbers = [orders.fresh("returnable") for _ in range(60)]
    with Traffic(process.edge_url, orders=numbers) as traffic:
        for _ in range(2):
            traffic.wait_for(more_acknowledged=15)
            process.kill()
            traffic.wait_for(more_attempts=8)
            process.restart(READY_S)
            traffic.wait_for(more_acknowledged=15)
    traffic.check()
    assert all(orders.returns_of(number) <= 1 for number in numbers)


def test_services_serve_and_start_while_admin_is_dead(stack: ServicesStack, user: PublicApi) -> None:
    stack.service("admin").kill()
    with Traffic(stack.edge_url) as traffic:
        traffic.wait_for(more_acknowledged=20)
    assert traffic.failures == []
    traffic.check()
    with Traffic(stack.edge_url) as traffic:
        for name in ("workflow", "flows", "tools", "skills", "llm_gateway"):
            stack.service(name).restart(READY_S, grace=4)
            traffic.wait_for(more_acknowledged=8)
    traffic.check().print("17 Admin dead while all others restart", restarted=5)
    assert "Order 1042 is on its way" in user.query("where is my order 1042?")["message"]
    assert user.query("my tent arrived damaged")["message"].endswith("echo: my tent arrived damaged")


def test_admin_that_comes_back_publishes_to_those_who_lived_on(stack: ServicesStack, user: PublicApi) -> None:
    stack.service("admin").kill()
    user.query("hello")
    stack.service("admin").start(READY_S)
    document = {
        "workflow_id": "after-the-fall",
        "name": "After",
        "intents": [{"id": "x", "when": {"keywords": ["x"]}, "then": {"reply": "Published."}}],
    }
    eventually(
        lambda: user.http.get("/admin/api/v1/workflows").status_code == 200, "the edge routes to Admin"
    )
    user.call("POST", "/admin/api/v1/publish", json={"document": document})
    assert user.query("x", workflow_id="after-the-fall")["message"] == "Published."
