"""Without authentication only this machine's own names are answered."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from signalbox.common.web.hosts import LocalHostsOnly, OwnHosts

APP = LocalHostsOnly(PlainTextResponse("served"), OwnHosts(["Box.local"]))


async def asked(host: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return await client.post("/admin/api/v1/keys", headers={"host": host, **headers})


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "[::1]", "box.local:80"]
)
async def test_own_names_are_served(host):
    assert (await asked(host)).text == "served"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil:80"]
)
async def test_other_names_are_refused_in_words(host):
    answer = await asked(host)
    assert answer.status_code == 403
    assert answer.json()["code"] == "host_not_allowed"
    assert "SIGNALBOX_AUTH=keys" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["http://localhost:5173", "https://box.local"])
async def test_pages_of_this_machine_are_served(origin):
    assert (await asked("localhost:8000", origin=origin)).text == "served"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil:8000", "null", "file://"])
async def test_pages_of_other_sites_are_refused_in_words(origin):
    """A browser lets any page send a POST of plain text to 127.0.0.1, without asking the server first."""
    answer = await asked("localhost:8000", origin=origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "SIGNALBOX_AUTH=keys" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "origin", "served"),
    [
        ("localhost:8000", None, True),
        ("localhost:8000", "http://127.0.0.1:3000", True),
        ("localhost:8000", "https://box.local", True),
        ("localhost:8000", "https://evil.example", False),
        ("localhost:8000", "null", False),
        ("evil.example", None, False),
    ],
)
async def test_only_pages_of_this_machine_open_a_websocket(host, origin, served):
    """A browser lets any page open one to 127.0.0.1, without asking the server first."""
    sent = []

    async def app(scope, receive, send):
        sent.append("served")

    async def send(message):
        sent.append(message["type"])

    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
    wrapped = LocalHostsOnly(app, OwnHosts(["Box.local"]))
    await wrapped({"type": "websocket", "path": "/", "headers": headers}, None, send)
    assert sent == (["served"] if served else ["websocket.close"])
