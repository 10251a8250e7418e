"""API keys at the gateway: made, changed and revoked at Admin, or declared in the gateway's own file."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from support.gateway_app import RunningGateway, deployment, wait_for

from signalbox.admin.offline import create_key_offline
from signalbox.admin.settings import AdminSettings
from signalbox.common.auth import create_key
from signalbox.common.storage.migrations import migrate
from signalbox.contracts.admin import CreateKeyRequest
from signalbox.contracts.identity import Scope
from signalbox_local import free_port

SECRET = "a secret of at least thirty-two bytes, for tests"
WITHIN_S = 5.0
MESSAGES = [{"role": "user", "content": "hi"}]


class AdminProcess:
    """``signalbox serve admin`` with its keys, and an operator's key for it."""

    def __init__(self, directory) -> None:
        settings = AdminSettings(data=directory, database_url=None)
        migrate("admin", "signalbox.admin.migrations", settings.database_url_of("admin"))
        scopes = [Scope.KEYS_WRITE, Scope.LLM]
        made = asyncio.run(create_key_offline(settings, "acme", CreateKeyRequest(name="op", scopes=scopes)))
        self._operator = {"authorization": f"Bearer {made.key}"}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGNALBOX_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "signalbox.common.cli", "serve", "admin", "--port", str(port)],
            env={
                **clean,
                "SIGNALBOX_DATA": str(directory),
                "SIGNALBOX_AUTH": "keys",
                "SIGNALBOX_SERVICE_SECRET": SECRET,
            },
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._up, timeout=60)

    def _up(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/live").status_code == 200
        return False

    def call(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.url}/admin/api/v1{path}"
        response = httpx.request(method, url, json=body, headers=self._operator, timeout=20)
        response.raise_for_status()
        return response.json()


@pytest.fixture
def admin(tmp_path) -> Iterator[AdminProcess]:
    (tmp_path / "admin").mkdir()
    running = AdminProcess(tmp_path / "admin")
    yield running
    with contextlib.suppress(ProcessLookupError):
        running.process.send_signal(signal.SIGCONT)
    running.process.kill()
    running.process.wait()


def ask(gateway: RunningGateway, key: str, model: str = "alias") -> httpx.Response:
    return httpx.post(
        f"{gateway.url}/llm/v1/chat/completions",
        json={"model": model, "messages": MESSAGES},
        headers={"authorization": f"Bearer {key}"},
        timeout=20,
    )


def within(seconds: float, gateways: list[RunningGateway], key: str, expected: dict[str, int]) -> None:
    """Each gateway answers calls for each model with its status, ``seconds`` after now at the latest."""
    started = time.monotonic()
    for gateway in gateways:
        for model, status in expected.items():
            wait_for(
                lambda g=gateway, m=model, s=status: ask(g, key, m).status_code == s, timeout=seconds + 5
            )
    assert time.monotonic() - started < seconds


def test_what_admin_says_of_a_key_holds_on_all_replicas_within_five_seconds(
    gateways, provider, admin, tmp_path
):
    settings = {"auth": "keys", "service_secret": SECRET, "admin_url": admin.url}
    pair = gateways(2, settings=settings)
    body = {"name": "till", "scopes": ["llm"], "models": ["alias"], "default_max_output": 11}
    made = admin.call("POST", "/keys", body)
    key, place = made["key"], f"/keys/{made['key_id']}"
    within(WITHIN_S, pair, key, {"alias": 200, "other": 403})
    assert provider.requests()[-1].body["max_tokens"] == 11

    admin.call("PATCH", place, {"models": ["other"], "default_max_output": 12})
    within(WITHIN_S, pair, key, {"alias": 403, "other": 404})
    admin.call("PATCH", place, {"models": None})
    within(WITHIN_S, pair, key, {"alias": 200})
    assert provider.requests()[-1].body["max_tokens"] == 12

    # While Admin does not answer, what was known holds, also for a gateway that starts anew.
    admin.process.send_signal(signal.SIGSTOP)
    pair[1].restart()
    for gateway in pair:
        assert ask(gateway, key).status_code == 200
    admin.process.send_signal(signal.SIGCONT)

    admin.call("DELETE", place)
    within(WITHIN_S, pair, key, {"alias": 401})


@pytest.fixture
def declared(gateways, provider, tmp_path):
    """A gateway without Admin that declares one key in its file; the gateway, the key, and what changes the file."""
    key = create_key()
    entry = {
        "key_id": key.key_id,
        "secret_sha256": key.secret_sha256,
        "name": "till",
        "models": ["alias"],
        "default_max_output": 5,
    }
    settings = {"auth": "keys", "service_secret": SECRET, "admin_url": f"http://127.0.0.1:{free_port()}"}
    (gateway,) = gateways(settings=settings, keys=[entry])
    path = tmp_path / "gateway.yaml"

    def change(**members: Any) -> None:
        content = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**content, **members}))

    return gateway, key.key, entry, change


def test_keys_of_the_file_work_without_admin_and_changes_of_them_hold_within_five_seconds(declared, provider):
    gateway, key, entry, change = declared
    assert ask(gateway, key).status_code == 200
    assert provider.requests()[-1].body["max_tokens"] == 5
    assert ask(gateway, key, "other").json()["error"]["code"] == "model_not_allowed"
    change(keys=[{**entry, "models": ["other"]}])
    within(WITHIN_S, [gateway], key, {"alias": 403})
    change(keys=[])
    within(WITHIN_S, [gateway], key, {"alias": 401})


ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", {"messages": MESSAGES}),
    "streamed chat": ("/chat/completions", {"messages": MESSAGES, "stream": True}),
    "embeddings": ("/embeddings", {"input": "hi"}),
    "messages": ("/messages", {"messages": MESSAGES, "max_tokens": 10}),
    "streamed messages": ("/messages", {"messages": MESSAGES, "max_tokens": 10, "stream": True}),
    "responses": ("/responses", {"input": "hi"}),
    "streamed responses": ("/responses", {"input": "hi", "stream": True}),
    "background responses": ("/responses", {"input": "hi", "background": True}),
}
EVERY_KIND = {"capabilities": {"embeddings": True}}
TOO_LITTLE = "0.000001"
"""A millionth of a dollar: less than any call of a model that costs 1 for a million tokens of input may cost."""


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("rules", "model", "status", "code"),
    [
        ({}, "dear", 403, "model_not_allowed"),
        ({"limits": [{"name": "none", "of": "key", "tokens": 1}]}, "alias", 429, "limit_exceeded"),
        (
            {"budgets": [{"name": "none", "of": "key", "amount": TOO_LITTLE, "window": "day"}]},
            "alias",
            429,
            "budget_exceeded",
        ),
    ],
    ids=["model", "limit", "budget"],
)
def test_every_route_obeys_the_same_keys_limits_and_budgets(
    gateways, provider, route, rules, model, status, code
):
    key = create_key()
    entry = {
        "key_id": key.key_id,
        "secret_sha256": key.secret_sha256,
        "name": "till",
        "models": ["alias"],
    }
    settings = {"auth": "keys", "service_secret": SECRET, "admin_url": f"http://127.0.0.1:{free_port()}"}
    (gateway,) = gateways(
        model=EVERY_KIND, settings=settings, keys=[entry], **{"limits": [], "budgets": [], **rules}
    )
    headers = {"authorization": f"Bearer {key.key}"}
    path, body = ROUTES[route]
    asked = {"model": model, **body}
    answer = httpx.post(f"{gateway.url}/llm/v1{path}", json=asked, headers=headers, timeout=20)
    if route == "background responses" and answer.status_code == 200:
        place = f"{gateway.url}/llm/v1/responses/{answer.json()['id']}"
        wait_for(lambda: httpx.get(place, headers=headers).json()["status"] == "failed")
        error = httpx.get(place, headers=headers).json()["error"]
        assert error["code"] == code
    elif path == "/messages":
        assert (answer.status_code, answer.json()["error"]["details"]["error_code"]) == (status, code)
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert provider.requests() == []


def test_a_key_sees_only_the_models_that_it_may_call(gateways, provider, declared):
    gateway, key, entry, change = declared
    headers = {"authorization": f"Bearer {key}"}
    models = f"{gateway.url}/llm/v1/models"

    def listed() -> list[str]:
        return [model["id"] for model in httpx.get(models, headers=headers).json()["data"]]

    assert listed() == ["alias"]
    assert httpx.get(f"{models}/alias", headers=headers).status_code == 200
    change(keys=[{**entry, "models": ["other"]}])
    wait_for(lambda: listed() == [])
    assert httpx.get(f"{models}/alias", headers=headers).status_code == 404


@pytest.fixture
def keyed(start_gateway, provider, monkeypatch):
    """A gateway without Admin and without a file, with keys in the environment; and those, by name."""
    made = {"till": ["llm"], "kiosk": ["llm"], "operator": ["llm", "config:read"]}
    keys = {name: create_key() for name in made}
    entries = [
        {"key_id": key.key_id, "secret_sha256": key.secret_sha256, "name": name, "scopes": made[name]}
        for name, key in keys.items()
    ]
    monkeypatch.setenv("SIGNALBOX_LLM_KEYS", json.dumps(entries))
    gateway = start_gateway(
        auth="keys",
        service_secret=SECRET,
        admin_url=f"http://127.0.0.1:{free_port()}",
        llm_deployments=[deployment(provider)],
    )
    return gateway, keys


def test_keys_of_the_environment_work_without_a_file(keyed):
    gateway, keys = keyed
    assert ask(gateway, keys["till"].key).status_code == 200
    assert ask(gateway, create_key().key).status_code == 401
    (row,) = gateway.wait_for_rows(1)
    assert row["key_id"] == keys["till"].key_id


def test_usage_is_a_keys_own_unless_it_may_see_the_tenants(keyed):
    gateway, keys = keyed
    for name in ("till", "kiosk", "kiosk"):
        assert ask(gateway, keys[name].key).status_code == 200
    gateway.wait_for_rows(3)

    def usage(name: str, **params: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {keys[name].key}"}
        return httpx.get(f"{gateway.url}/llm/v1/usage", params={"by": "key", **params}, headers=headers)

    def calls(name: str, **params: str) -> dict[str, int]:
        return {line["key_id"]: line["calls"] for line in usage(name, **params).json()["lines"]}

    till, kiosk = keys["till"].key_id, keys["kiosk"].key_id
    assert calls("till") == calls("till", key=till) == {till: 1}
    assert calls("kiosk") == {kiosk: 2}
    assert calls("operator") == {till: 1, kiosk: 2}
    assert calls("operator", key=till) == {till: 1}
    refused = usage("till", key=kiosk)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
