"""Collections by the courier, returns that are taken back, and shoe sizes."""

import httpx
import pytest

from signalbox_example_shop.sizes import convert_shoe_size


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        ("2026-03-16", False),
        ("2026-03-17", True),
        ("2026-03-21", False),
        ("2026-03-30", True),
        ("2026-03-31", False),
    ],
)
async def test_the_courier_comes_on_weekdays_two_weeks_ahead(
    shop: httpx.AsyncClient, day: str, is_open: bool
) -> None:
    assert (await shop.get("/courier/days", params={"day": day})).json()["open"] is is_open


async def test_a_collection_is_booked_once_and_found(shop: httpx.AsyncClient) -> None:
    wish, key = {"order_number": 1010, "day": "2026-03-17"}, {"Idempotency-Key": "k"}
    missing = await shop.get("/courier/pickups/1010")
    booked = await shop.post("/courier/pickups", json=wish, headers=key)
    again = await shop.post("/courier/pickups", json=wish, headers=key)

    assert (missing.status_code, booked.status_code) == (404, 201)
    assert again.json() == booked.json() == (await shop.get("/courier/pickups/1010")).json()


@pytest.mark.parametrize(
    ("order", "day", "code"),
    [
        (1010, "2026-03-21", "day_not_served"),
        (1026, "2026-03-17", "country_not_served"),
        (9999, "2026-03-17", "order_not_found"),
    ],
)
async def test_the_courier_refuses(shop: httpx.AsyncClient, order: int, day: str, code: str) -> None:
    reply = await shop.post("/courier/pickups", json={"order_number": order, "day": day})

    assert reply.json()["code"] == code
    assert (await shop.get(f"/courier/pickups/{order}")).status_code == 404


async def test_a_return_that_is_taken_back_leaves_nothing_and_can_be_made_again(
    shop: httpx.AsyncClient,
) -> None:
    made = (await shop.post("/returns", json={"order_number": 1043, "items": ["btl-1012"]})).json()
    back = await shop.post(f"/returns/{made['return_id']}/withdraw", json={})

    assert [item["sku"] for item in made["items"]] == ["BTL-1012"]
    assert back.json()["return_id"] == made["return_id"]
    assert (await shop.get(f"/returns/{made['return_id']}")).status_code == 404
    assert (await shop.get("/orders/1043/refunds")).json()["status"] == "none"
    assert (await shop.post("/returns", json={"order_number": 1043})).status_code == 201


async def test_a_parcel_that_has_arrived_is_not_taken_back(shop: httpx.AsyncClient) -> None:
    refund = (await shop.get("/orders/1046/refunds")).json()["refunds"][0]
    reply = await shop.post(f"/returns/{refund['return_id']}/withdraw", json={})

    assert (reply.status_code, reply.json()["code"]) == (409, "return_received")


def test_shoe_sizes_are_those_of_the_tables() -> None:
    assert convert_shoe_size({"eu": 42}, None) == {"eu": 42, "uk": 8, "us": 9, "foot_mm": 265}
    assert convert_shoe_size({"eu": 38.5}, None) == {"eu": 38.5, "uk": 5.5, "us": 6.5, "foot_mm": 240}
    assert convert_shoe_size({"eu": 60}, None) is None
