"""What the shop answers when asked, and how it says no."""

from datetime import UTC, date, datetime

import httpx
import pytest

from signalbox_example_shop.app import create_app
from signalbox_example_shop.models import Money
from signalbox_example_shop.settings import Settings


async def test_health_counts_what_there_is(shop: httpx.AsyncClient) -> None:
    reply = await shop.get("/health")

    assert reply.json() == {
        "status": "healthy",
        "generated_on": "2026-03-16",
        "customers": 1000,
        "products": 300,
        "orders": 5000,
    }


async def test_an_order_has_items_that_add_up_to_its_total(shop: httpx.AsyncClient) -> None:
    order = (await shop.get("/orders/1042")).json()

    goods = sum(item["quantity"] * item["unit_price"]["cents"] for item in order["items"])
    assert order["status"] == "shipped"
    assert order["total"]["cents"] == goods + order["shipping"]["cents"]
    assert order["total"]["currency"] == "EUR"
    assert order["items"][0]["name_zh"]


async def test_tracking_tells_the_story_so_far_in_order(shop: httpx.AsyncClient) -> None:
    shipped = (await shop.get("/orders/1042/tracking")).json()
    delivered = (await shop.get("/orders/1043/tracking")).json()
    processing = (await shop.get("/orders/1045/tracking")).json()

    assert [event["event"] for event in shipped["events"]] == ["ordered", "handed_over", "in_transit"]
    assert shipped["tracking_number"].startswith("SB1042")
    assert shipped["estimated_delivery_on"] == "2026-03-18"
    assert shipped["last_place"] == shipped["events"][-1]["place"]
    assert delivered["events"][-1]["event"] == "delivered"
    assert (processing["carrier"], len(processing["events"])) == (None, 1)


async def test_no_event_is_in_the_future(shop: httpx.AsyncClient) -> None:
    now = datetime(2026, 3, 16, 12, 0, tzinfo=UTC)
    for number in range(1000, 1100):
        events = (await shop.get(f"/orders/{number}/tracking")).json()["events"]
        moments = [datetime.fromisoformat(event["at"]) for event in events]
        assert moments == sorted(moments)
        assert all(moment <= now for moment in moments)


async def test_a_customer_is_found_by_id_and_by_email(shop: httpx.AsyncClient) -> None:
    by_id = (await shop.get("/customers/c-0042")).json()
    by_email = (await shop.get("/customers", params={"email": by_id["email"].upper()})).json()

    assert by_id == by_email
    assert by_id["email"].endswith("@example.com")


async def test_a_customers_orders_come_newest_first_and_by_status(shop: httpx.AsyncClient) -> None:
    orders = (await shop.get("/customers/C-0042/orders", params={"limit": 50})).json()["orders"]
    shipped = (await shop.get("/customers/C-0042/orders", params={"status": "shipped"})).json()["orders"]

    placed = [order["placed_at"] for order in orders]
    assert placed == sorted(placed, reverse=True)
    assert {1042, 1043, 1044, 1045, 1046, 1047} <= {order["order_number"] for order in orders}
    assert {order["status"] for order in shipped} == {"shipped"}


async def test_a_waterproof_jacket_under_100_euros_exists_in_both_languages(shop: httpx.AsyncClient) -> None:
    for query in ("waterproof jackets", "防水夹克"):
        params: dict[str, str | int] = {"q": query, "max_price_cents": 10_000, "limit": 3}
        products = (await shop.get("/products", params=params)).json()["products"]

        assert products
        assert all("waterproof jacket" in product["name"] for product in products), query
        assert all(product["price"]["cents"] <= 10_000 for product in products)
        assert any(product["in_stock"] for product in products)


async def test_a_category_is_listed_by_price(shop: httpx.AsyncClient) -> None:
    reply = await shop.get("/products", params={"category": "tents", "limit": 50})

    products = reply.json()["products"]
    prices = [product["price"]["cents"] for product in products]
    assert len(products) == 25
    assert prices == sorted(prices)


@pytest.mark.parametrize("query", ["the", "\"' OR NEAR(", "*", "sku:JKT", "🧥"])
async def test_no_query_is_a_syntax_error(shop: httpx.AsyncClient, query: str) -> None:
    reply = await shop.get("/products", params={"q": query})

    assert reply.status_code == 200


async def test_stock_says_when_more_come_exactly_if_there_are_none(shop: httpx.AsyncClient) -> None:
    products = (await shop.get("/products", params={"q": "jacket", "limit": 50})).json()["products"]
    stocks = [(await shop.get(f"/products/{product['sku']}/stock")).json() for product in products]

    assert all((stock["restock_on"] is None) == stock["in_stock"] for stock in stocks)
    assert all(stock["restock_on"] > "2026-03-16" for stock in stocks if not stock["in_stock"])


async def test_a_product_is_found_by_sku_in_any_case(shop: httpx.AsyncClient) -> None:
    product = (await shop.get("/products/jkt-1001")).json()

    assert (product["sku"], product["name_zh"]) == ("JKT-1001", "奥德芬防水夹克")


@pytest.mark.parametrize(
    ("query", "language", "faq_id"),
    [
        ("What is your return policy?", "en", "returns"),
        ("can I pay by card", "en", "payment"),
        ("How much is gift wrapping", "en", "gift-wrap"),
        ("退货政策是什么", "zh", "returns"),
        ("运费多少钱", "zh", "shipping-cost"),
        ("有保修吗", "zh", "warranty"),
    ],
)
async def test_the_faq_answers_in_the_language_asked(
    shop: httpx.AsyncClient, query: str, language: str, faq_id: str
) -> None:
    passages = (await shop.get("/faq", params={"q": query, "language": language})).json()["passages"]

    assert passages[0]["faq_id"] == faq_id
    assert {passage["language"] for passage in passages} == {language}


@pytest.mark.parametrize(("number", "status"), [(1046, "processing"), (1047, "paid"), (1042, "none")])
async def test_refund_status_of_an_order(shop: httpx.AsyncClient, number: int, status: str) -> None:
    listed = (await shop.get(f"/orders/{number}/refunds")).json()

    assert listed["status"] == status
    for refund in listed["refunds"]:
        assert (await shop.get(f"/refunds/{refund['refund_id']}")).json() == refund
        assert (await shop.get(f"/returns/{refund['return_id']}")).json()["refund"] == refund


@pytest.mark.parametrize(
    ("country", "express", "earliest", "latest", "cents"),
    [
        ("Germany", False, date(2026, 3, 19), date(2026, 3, 23), 490),
        ("德国", True, date(2026, 3, 17), date(2026, 3, 18), 990),
        ("the UK", False, date(2026, 3, 25), date(2026, 4, 1), 1490),
    ],
)
async def test_delivery_estimates_count_working_days(
    shop: httpx.AsyncClient, country: str, express: bool, earliest: date, latest: date, cents: int
) -> None:
    reply = await shop.post("/delivery-estimates", json={"country": country, "express": express})

    estimate = reply.json()
    assert (estimate["earliest_on"], estimate["latest_on"]) == (earliest.isoformat(), latest.isoformat())
    assert estimate["price"]["cents"] == cents


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"country": "Atlantis"}, 404, "country_not_served"),
        ({"country": "Japan", "express": True}, 422, "express_not_offered"),
        ({}, 422, "invalid_request"),
        ({"country": "FR", "fast": True}, 422, "invalid_request"),
    ],
)
async def test_a_delivery_that_cannot_be_is_refused(
    shop: httpx.AsyncClient, body: dict[str, object], status: int, code: str
) -> None:
    reply = await shop.post("/delivery-estimates", json=body)

    assert (reply.status_code, reply.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/orders/999", 404, "order_not_found"),
        ("/orders/999/tracking", 404, "order_not_found"),
        ("/orders/999/refunds", 404, "order_not_found"),
        ("/orders/99999999999999999999", 422, "invalid_request"),
        ("/orders/abc", 422, "invalid_request"),
        ("/customers/C-9999", 404, "customer_not_found"),
        ("/customers?email=nobody@example.com", 404, "customer_not_found"),
        ("/products/XXX-1", 404, "product_not_found"),
        ("/returns/R-999999", 404, "return_not_found"),
        ("/returns/nonsense", 404, "return_not_found"),
        ("/refunds/RF-999999", 404, "refund_not_found"),
        ("/nowhere", 404, "http_error"),
    ],
)
async def test_every_error_is_problem_details(
    shop: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    reply = await shop.get(path)

    assert reply.headers["content-type"] == "application/problem+json"
    body = reply.json()
    assert (reply.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["detail"]


async def test_a_token_is_asked_for_everywhere_but_at_health() -> None:
    app = create_app(Settings(token="hush"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
    ):
        right = await client.get("/orders/1042", headers={"Authorization": "Bearer hush"})
        others = [
            await client.get("/orders/1042", headers=headers)
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hush"})
        ]
        healthy = await client.get("/health")

    assert right.status_code == 200
    assert healthy.status_code == 200
    for reply in others:
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_every_path_but_health_declares_that_it_may_refuse_the_caller(shop: httpx.AsyncClient) -> None:
    paths = (await shop.get("/openapi.json")).json()["paths"]

    open_to_all = {
        path
        for path, item in paths.items()
        for operation in item.values()
        if "401" not in operation["responses"]
    }
    assert open_to_all == {"/health"}


def test_money_is_written_with_two_decimals() -> None:
    assert [Money(cents=cents).text for cents in (0, 5, 8990, 100_000)] == [
        "0.00 EUR",
        "0.05 EUR",
        "89.90 EUR",
        "1000.00 EUR",
    ]
