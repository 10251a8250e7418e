"""Each part of the shop asks for its credential in a way of its own, and takes no other."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from signalbox_example_shop.app import create_app
from signalbox_example_shop.settings import Settings

SECRET = "hush"


@pytest.fixture
async def guarded(database_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Call a shop that has a secret."""
    app = create_app(Settings(database=database_file, token=SECRET))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client,
    ):
        yield client


def signed(body: bytes = b"", *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the courier's headers for a body."""
    moment = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Courier-Signature": digest, "X-Courier-Time": moment}


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        ("/products", {"X-Shop-Key": SECRET}, {"Authorization": f"Bearer {SECRET}"}),
        ("/courier/days?day=2026-03-17", signed(), signed(b"other")),
        ("/courier/days?day=2026-03-17", signed(), signed(at=time.time() - 3_600)),
        ("/courier/days?day=2026-03-17", signed(), {**signed(), "X-Courier-Time": "soon"}),
    ],
)
async def test_a_credential_of_another_kind_is_refused(
    guarded: httpx.AsyncClient, path: str, right: dict[str, str], wrong: dict[str, str]
) -> None:
    assert (await guarded.get(path, headers=right)).status_code == 200
    for headers in (wrong, {}):
        reply = await guarded.get(path, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")


async def test_the_faq_takes_a_user_and_a_password(guarded: httpx.AsyncClient) -> None:
    statuses = [
        (await guarded.get("/faq", params={"q": "warranty"}, auth=auth)).status_code
        for auth in (("faq", SECRET), ("faq", "other"), ("somebody", SECRET), None)
    ]

    assert statuses == [200, 401, 401, 401]


async def test_accounts_take_an_access_token_only(guarded: httpx.AsyncClient) -> None:
    refused = await guarded.post("/oauth/token", auth=("assistant", "other"))
    token = (await guarded.post("/oauth/token", auth=("assistant", SECRET))).json()["access_token"]
    over = f"{int(time.time()) - 1}.{token.partition('.')[2]}"

    assert refused.status_code == 401
    for given, status in ((token, 200), (SECRET, 401), (over, 401), (f"x.{token}", 401)):
        reply = await guarded.get("/customers/C-0042", headers={"Authorization": f"Bearer {given}"})
        assert reply.status_code == status
