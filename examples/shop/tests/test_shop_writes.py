"""Returns, cancellations and address changes: the rules, and that a repeated write is made once."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from signalbox_example_shop.app import create_app
from signalbox_example_shop.settings import Settings

ADDRESS = {"street": "Mill Row 4", "city": "Portclair", "postcode": "40123", "country": "fr"}


async def test_a_delivered_order_is_returned_whole_and_its_refund_is_pending(shop: httpx.AsyncClient) -> None:
    allowed = (await shop.get("/orders/1043/return-eligibility")).json()
    reply = await shop.post("/returns", json={"order_number": 1043, "reason": "too small"})

    made = reply.json()
    assert allowed["returnable"]
    assert (allowed["reason"], allowed["days_left"]) == ("ok", 25)
    assert reply.status_code == 201
    assert (made["status"], made["refund"]["status"]) == ("requested", "pending")
    assert made["refund"]["amount"] == allowed["refund"]
    assert made["send_back_by"] == "2026-03-30"
    assert [(item["sku"], item["quantity"]) for item in made["items"]] == [
        (item["sku"], item["quantity"]) for item in allowed["items"]
    ]
    assert (await shop.get(f"/returns/{made['return_id']}")).json() == made
    assert (await shop.get("/orders/1043/refunds")).json()["refunds"] == [made["refund"]]


@pytest.mark.parametrize(
    ("number", "code"),
    [(1042, "not_delivered"), (1044, "window_over"), (1045, "not_delivered"), (1046, "already_returned")],
)
async def test_a_return_against_the_rules_is_refused_by_name(
    shop: httpx.AsyncClient, number: int, code: str
) -> None:
    allowed = (await shop.get(f"/orders/{number}/return-eligibility")).json()
    reply = await shop.post("/returns", json={"order_number": number})

    assert (allowed["returnable"], allowed["reason"], allowed["items"]) == (False, code, [])
    assert (reply.status_code, reply.json()["code"]) == (409, code)


async def test_the_window_closes_after_thirty_days(shop: httpx.AsyncClient, database_file: Path) -> None:
    for delivered, returnable in (("2026-02-14T00:00:00+00:00", True), ("2026-02-13T23:59:59+00:00", False)):
        with closing(sqlite3.connect(database_file)) as connection:
            connection.execute("UPDATE orders SET delivered_at = ? WHERE order_number = 1043", (delivered,))
            connection.commit()
        assert (await shop.get("/orders/1043/return-eligibility")).json()["returnable"] is returnable


async def test_pieces_are_returned_one_by_one_until_none_is_left(shop: httpx.AsyncClient) -> None:
    order = (await shop.get("/orders/1043")).json()
    for item in order["items"]:
        for _ in range(item["quantity"]):
            body = {"order_number": 1043, "items": [{"sku": item["sku"].lower(), "quantity": 1}]}
            made = await shop.post("/returns", json=body)
            assert made.json()["refund"]["amount"] == item["unit_price"]

    refused = await shop.post("/returns", json={"order_number": 1043})
    assert refused.json()["code"] == "already_returned"
    after = (await shop.get("/orders/1043")).json()
    assert [item["returned"] for item in after["items"]] == [item["quantity"] for item in after["items"]]


@pytest.mark.parametrize(
    ("items", "status", "code"),
    [
        ([{"sku": "NOT-1"}], 422, "item_not_in_order"),
        ([{"sku": "FIRST", "quantity": 50}], 409, "already_returned"),
        ([{"sku": "FIRST"}, {"sku": "FIRST"}], 422, "item_repeated"),
        ([{"sku": "FIRST", "quantity": 0}], 422, "invalid_request"),
        ([], 422, "invalid_request"),
    ],
)
async def test_items_that_cannot_be_returned_change_nothing(
    shop: httpx.AsyncClient, items: list[dict[str, object]], status: int, code: str
) -> None:
    order = (await shop.get("/orders/1043")).json()
    named = [
        {**item, "sku": order["items"][0]["sku"] if item["sku"] == "FIRST" else item["sku"]} for item in items
    ]

    reply = await shop.post("/returns", json={"order_number": 1043, "items": named})

    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert (await shop.get("/orders/1043")).json() == order
    assert (await shop.get("/orders/1043/refunds")).json()["refunds"] == []


async def test_cancelling_refunds_the_order_and_gives_its_pieces_back(shop: httpx.AsyncClient) -> None:
    order = (await shop.get("/orders/1045")).json()
    skus = [item["sku"] for item in order["items"]]
    before = [(await shop.get(f"/products/{sku}/stock")).json()["quantity"] for sku in skus]

    reply = await shop.post("/orders/1045/cancel", json={"reason": "changed my mind"})

    after = [(await shop.get(f"/products/{sku}/stock")).json()["quantity"] for sku in skus]
    assert reply.status_code == 200
    assert reply.json()["refund"]["amount"] == order["total"]
    assert (await shop.get("/orders/1045")).json()["status"] == "cancelled"
    assert [b - a for a, b in zip(before, after, strict=True)] == [
        item["quantity"] for item in order["items"]
    ]
    assert (await shop.get("/orders/1045/refunds")).json()["status"] == "processing"
    again = await shop.post("/orders/1045/cancel", json={})
    assert (again.status_code, again.json()["code"]) == (409, "order_cancelled")


async def test_only_an_order_in_processing_changes(shop: httpx.AsyncClient) -> None:
    shipped = await shop.post("/orders/1042/cancel", json={})
    delivered = await shop.put("/orders/1043/address", json=ADDRESS)
    changed = await shop.put("/orders/1045/address", json=ADDRESS)

    assert (shipped.status_code, shipped.json()["code"]) == (409, "order_shipped")
    assert (delivered.status_code, delivered.json()["code"]) == (409, "order_delivered")
    assert changed.json()["address"] == {**ADDRESS, "country": "FR"}
    assert (await shop.get("/orders/1045")).json()["address"]["city"] == "Portclair"


async def test_a_key_that_comes_again_gets_the_first_reply_and_writes_once(shop: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "turn-7/step-2"}
    replies = await asyncio.gather(
        *(shop.post("/returns", json={"order_number": 1043}, headers=headers) for _ in range(5))
    )

    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert (
        sorted(reply.headers.get("idempotency-replayed", "false") for reply in replies)
        == ["false"] + ["true"] * 4
    )
    assert len((await shop.get("/orders/1043/refunds")).json()["refunds"]) == 1


async def test_a_key_with_another_request_is_refused(shop: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k"}
    await shop.post("/returns", json={"order_number": 1043}, headers=headers)
    other = await shop.post("/returns", json={"order_number": 1043, "reason": "x"}, headers=headers)
    elsewhere = await shop.post("/orders/1045/cancel", json={}, headers=headers)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert elsewhere.status_code == 200


async def test_a_refused_write_is_not_kept_under_its_key(
    shop: httpx.AsyncClient, database_file: Path
) -> None:
    headers = {"Idempotency-Key": "later"}
    early = await shop.post("/returns", json={"order_number": 1042}, headers=headers)
    with closing(sqlite3.connect(database_file)) as connection:
        connection.execute(
            "UPDATE orders SET status = 'delivered', delivered_at = '2026-03-16T09:00:00+00:00'"
            " WHERE order_number = 1042"
        )
        connection.commit()
    late = await shop.post("/returns", json={"order_number": 1042}, headers=headers)

    assert (early.status_code, late.status_code) == (409, 201)


async def test_keys_and_writes_survive_a_restart(database_file: Path) -> None:
    bodies = []
    for _ in range(2):
        app = create_app(Settings(database=database_file))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
        ):
            reply = await client.put("/orders/1045/address", json=ADDRESS, headers={"Idempotency-Key": "a"})
            bodies.append((reply.status_code, reply.text))

    assert bodies[0] == bodies[1]
    assert bodies[0][0] == 200
