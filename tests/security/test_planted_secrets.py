"""Scenario 28: secrets sought where they may not be, while backends give away whatever they were sent.

`tests/contract/test_secrecy_contract.py` plays ordinary turns and searches stores, logs and traces. Here every kind of
credential is used, its backend sends the request back in each way that it can fail, and what is searched are also
replies, events, exports, lists, metrics, dry runs and what models were shown; each secret in each way of writing it.
"""

import base64
import json
import secrets
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from support.public_api import PublicApi, new_session
from support.systems import TENANTS, RunningSystem, publish, run_signalbox

from signalbox_fake_provider import FakeProvider

KINDS = ("bearer", "basic", "header", "query", "hmac", "oauth2")
WAYS = ("whole", "error", "malformed", "redirect")


@pytest.fixture(scope="module")
def planted(system: RunningSystem) -> dict[str, str]:
    """A secret for each kind of credential, with letters that JSON and URLs write in their own way."""
    made = {kind: f'pl{kind}/{secrets.token_hex(8)}+=&"\\é' for kind in KINDS}
    made["bearer"] = f"plbearer.{secrets.token_hex(12)}"  # a header takes no other letters
    made["header"], made["oauth2"] = (
        f"plheader/{secrets.token_hex(8)}+=",
        f"ploauth2/{secrets.token_hex(8)}+=",
    )
    for kind, value in made.items():
        vault = system.local.directory / "secrets" / TENANTS[0]
        (vault / f"planted-{kind}").write_text(value)
    return made


@pytest.fixture(scope="module")
def gossip() -> Iterator[ThreadingHTTPServer]:
    """A backend that sends back all that it was sent, in the way that the path says; and gives OAuth tokens."""

    class Gossip(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
            heard = {"path": self.path, "headers": dict(self.headers), "body": body}
            server.heard.append(heard)  # type: ignore[attr-defined]
            if self.path.startswith("/token"):
                self._send(
                    200, json.dumps({"access_token": server.token, "token_type": "bearer", "expires_in": 600})
                )  # type: ignore[attr-defined]
                return
            said = json.dumps(heard)
            way = self.path.split("?")[0].rsplit("/", 1)[-1]
            status = {"error": 500, "redirect": 302, "teapot": 418}.get(way, 200)
            if way in {"error", "teapot"}:
                said = json.dumps({"detail": said, "message": said})
            self._send(
                status, said[:-3] if way == "malformed" else said, "text/plain" if way == "text" else None
            )

        def _send(self, status: int, said: str, kind: str | None = None) -> None:
            data = said.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 302:
                self.send_header("Location", "/elsewhere?" + quote(said[:1000]))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - http.server names them

        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gossip)
    server.heard, server.token = [], f"issued.{secrets.token_hex(12)}"  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def document(base: str) -> dict[str, Any]:
    auths: dict[str, dict[str, Any]] = {
        "bearer": {"type": "bearer", "token": "secret:planted-bearer"},
        "basic": {"type": "basic", "username": "us", "password": "secret:planted-basic"},
        "header": {"type": "api_key", "name": "X-Key", "key": "secret:planted-header"},
        "query": {"type": "api_key", "name": "key", "location": "query", "key": "secret:planted-query"},
        "hmac": {"type": "hmac", "secret": "secret:planted-hmac"},
        "oauth2": {
            "type": "oauth2",
            "token_url": f"{base}/token",
            "client_id": "us",
            "client_secret": "secret:planted-oauth2",
        },
    }
    tools = [
        {
            "id": f"{kind}_{way}",
            "description": "Gossips.",
            "auth": auth,
            "request": {"method": "POST", "url": f"{base}/{kind}/{way}", "body": {"a": 1}},
            "retry": {"attempts": 1},
            "circuit": None,
        }
        for kind, auth in auths.items()
        for way in WAYS
    ]
    nowhere = [
        {
            "id": f"{kind}_gone",
            "auth": auth,
            "request": {"url": "http://127.0.0.1:1/x"},
            "retry": {"attempts": 1},
        }
        for kind, auth in auths.items()
    ]
    called = [
        {
            "id": f"i_{tool['id']}",
            "when": {"patterns": [f"^call {tool['id']}$"]},
            "then": {"tool": tool["id"], "reply": "{{ result }}"},
        }
        for tool in [*tools, *nowhere]
    ]
    skill = {
        "id": "gossip",
        "mode": "agent",
        "instructions": "Call.",
        "tools": [t["id"] for t in tools],
        "max_steps": 4,
    }
    intents = [*called, {"id": "agent", "when": {"patterns": ["^agent "]}, "then": {"skill": "gossip"}}]
    named = {"workflow_id": new_session("wf"), "name": "Gossip"}
    return {**named, "intents": intents, "tools": [*tools, *nowhere], "skills": [skill]}


def forms(value: str) -> set[bytes]:
    """The ways in which a secret may be written."""
    encoded = base64.b64encode(f"us:{value}".encode()).decode()
    texts = {
        value,
        quote(value, safe=""),
        quote_plus(value),
        quote(value, safe="/"),
        quote(value, safe="/").lower(),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        encoded,
        base64.b64encode(f"us:{quote_plus(value)}".encode()).decode(),
        base64.b64encode(value.encode()).decode().rstrip("="),
        value.encode().hex(),
    }
    return {text.encode() for text in texts}


def test_no_secret_comes_out_anywhere(
    system: RunningSystem,
    admin_client: PublicApi,
    provider: FakeProvider,
    planted: dict[str, str],
    gossip: Any,
    tmp_path: Any,
) -> None:
    base = f"http://127.0.0.1:{gossip.server_address[1]}"
    asked = document(base)
    publish(admin_client, asked)
    seen: list[tuple[str, bytes]] = []
    for tool in asked["tools"]:
        session = new_session()
        more: dict[str, Any] = {"workflow_id": asked["workflow_id"]}
        reply = admin_client.query(f"call {tool['id']}", session, **more)
        seen.append((f"reply to {tool['id']}", json.dumps(reply, ensure_ascii=False).encode()))
        if tool["id"].endswith("whole"):
            streamed = admin_client.stream(f"call {tool['id']}", session, **more)
            seen.append((f"stream of {tool['id']}", json.dumps(streamed, ensure_ascii=False).encode()))
        kept = (f"session/{session}", f"session/{session}/export", f"turn/{reply['turn_id']}")
        seen += [(path, admin_client.http.get(f"/api/v1/{path}").content) for path in kept]
    seen += _by_a_model(admin_client, provider, asked)
    paths = [f"{url}/metrics" for url in (system.service_urls() or {"": system.url}).values()]
    paths += [
        "/api/v1/sessions?limit=500",
        "/admin/api/v1/workflows",
        "/llm/v1/usage",
        "/api/v1/webhooks",
        "/openapi.json",
    ]
    seen += [(path, admin_client.http.get(path).content) for path in paths]
    seen += _dry_runs(system, asked, planted, tmp_path)
    seen += [(log.name, log.read_bytes()) for log in system.logs]
    seen += [(file.name, file.read_bytes()) for file in system.traces.glob("*.jsonl")]
    seen += list(system.stores.contents())
    values = {**planted, "token of OAuth": gossip.token}
    heard = json.dumps(gossip.heard, ensure_ascii=False).encode()
    for name in ("bearer", "basic", "header", "query", "token of OAuth"):
        assert any(form in heard for form in forms(values[name])), f"{name} was not even used"
    found = sorted(
        {
            (kind, place)
            for kind, value in values.items()
            for place, data in seen
            for form in forms(value)
            if form in data
        }
    )
    # The wire of the vault's own files is no place of ours.
    found = [(kind, place) for kind, place in found if not place.startswith("planted-")]
    assert found == []
    assert len(gossip.heard) > 40
    print(
        f"28 {system.shape}: {len(gossip.heard)} calls sent {len(values)} secrets back, {len(seen)} places, 0 found"
    )


def _by_a_model(api: PublicApi, provider: FakeProvider, asked: dict[str, Any]) -> list[tuple[str, bytes]]:
    """Prompts of a model that has called every tool, and what it was told to say."""
    seen = []
    for kind in KINDS:
        mark = new_session("agent")
        calls = [{"name": f"{kind}_{way}", "arguments": {}} for way in WAYS]
        provider.script(
            [
                {
                    "match": {"last_user_contains": mark, "has_tool_result": False},
                    "reply": {"tool_calls": calls},
                },
                {"match": {"last_user_contains": mark}, "reply": "Heard."},
            ]
        )
        reply = api.query(f"agent {mark}", workflow_id=asked["workflow_id"])
        seen.append((f"agent's reply about {kind}", json.dumps(reply).encode()))
        prompts = json.dumps([request.body for request in provider.requests()], ensure_ascii=False)
        seen.append((f"prompt about {kind}", prompts.encode()))
    return seen


def _dry_runs(
    system: RunningSystem, asked: dict[str, Any], planted: dict[str, str], directory: Any
) -> list[tuple[str, bytes]]:
    """What `signalbox tools call` shows, dry and not."""
    file = directory / "workflow.yaml"
    file.write_text(yaml.safe_dump(asked))
    environment = {**system.local.environment(), "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]'}
    environment |= {f"SIGNALBOX_SECRET_PLANTED_{kind.upper()}": value for kind, value in planted.items()}
    seen = []
    for kind in KINDS:
        for more in (("--dry-run",), ("--yes",))[: 2 if kind == "basic" else 1]:
            ended = run_signalbox(
                "tools", "call", f"{kind}_whole", "--file", str(file), *more, env=environment
            )
            assert ended.returncode == 0, ended.stderr
            seen.append((f"tools call {kind} {more[0]}", (ended.stdout + ended.stderr).encode()))
    return seen
