"""Tenants are apart: every endpoint of every service, walked with the second tenant's credential, finds nothing."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.systems import TENANTS, RunningSystem, publish
from support.waiting import eventually

from signalbox.common.auth import ServiceTokens
from signalbox.contracts.identity import Principal, Scope

MARK = "planted-4c1e"
"""Stands in every message, name and document of the first tenant here."""


NOBODYS = {"model": "fake-model", "user_id": "somebody"}
"""Path parameters that name what is not a tenant's: the same user id is another user of another tenant."""


class Planted(NamedTuple):
    """What the first tenant has, by the names of path parameters."""

    session_id: str
    turn_id: str
    workflow_id: str
    config_hash: str
    key_id: str
    response_id: str
    limit_name: str
    budget_name: str
    pause_id: str
    task_id: str
    batch_id: str
    schedule_id: str
    webhook_id: str
    tenant: str

    def fill(self, path: str) -> str:
        """A path with its parameters filled in; an AssertionError for one that is new here."""
        for name, value in {**self._asdict(), **NOBODYS}.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, f"{path}: plant an id of the first tenant for this parameter"
        return path


@pytest.fixture(scope="module")
def planted(client: PublicApi, admin_client: PublicApi, system: RunningSystem) -> Planted:
    session, workflow_id = new_session(), new_session("wf")
    document = {
        "workflow_id": workflow_id,
        "name": f"Secret plans {MARK}",
        "intents": [{"id": "x", "when": {"keywords": ["x"]}, "then": {"reply": MARK}}],
    }
    snapshot = publish(admin_client, document, message=MARK)["snapshot"]
    turn = client.query(f"hello, {MARK}, is JKT-1001 in stock?", session)
    key = admin_client.call("POST", "/admin/api/v1/keys", json={"name": MARK, "scopes": ["query"]})
    response = client.call("POST", "/llm/v1/responses", json={"model": "fake-model", "input": MARK})
    for kind, rule in ROOMY.items():
        admin_client.call("PUT", f"/llm/v1/{kind}s/{MARK}", json=rule)
    later = {"message": f"hello, {MARK}", "session_id": new_session()}
    hook = {"url": f"{system.backend.url}/hook/{new_session()}"}
    task = client.call("POST", "/api/v1/query/async", json={**later, "webhook": hook})
    batch = client.call(
        "POST", "/api/v1/query/batch", json={"items": [{**later, "session_id": new_session()}]}
    )
    schedule = client.call(
        "POST", "/api/v1/schedules", json={"name": MARK, "cron": "0 8 1 1 *", "message": f"hello, {MARK}"}
    )

    pause_id = _paused(client, admin_client, system)

    def webhook_id() -> str | None:
        found = admin_client.call("GET", "/api/v1/webhooks", params={"limit": 100})["items"]
        return next((one["webhook_id"] for one in found if one["url"] == hook["url"]), None)

    return Planted(
        session,
        turn["turn_id"],
        workflow_id,
        snapshot["config_hash"],
        key["key_id"],
        response["id"],
        MARK,
        MARK,
        pause_id,
        task["task_id"],
        batch["batch_id"],
        schedule["schedule_id"],
        eventually(webhook_id, "the task's webhook is there", 20.0),
        TENANTS[0],
    )


def _paused(client: PublicApi, admin_client: PublicApi, system: RunningSystem) -> str:
    """A run of the first tenant that waits for an operator."""
    workflow_id = new_session("wf")
    write = {"effect": "write", "request": {"method": "POST", "url": f"{system.backend.url}/written"}}
    skill = {"id": "doer", "mode": "agent", "instructions": "Do it.", "tools": ["sign"],
             "approval": {"tools": ["sign"], "by": "operator"}}  # fmt: skip
    document = {
        "workflow_id": workflow_id,
        "name": MARK,
        "intents": [{"id": "do", "when": {"keywords": ["do"]}, "then": {"skill": "doer"}}],
        "skills": [skill],
        "tools": [{"id": "sign", "description": MARK, **write}],
        "llm": {"answer": {"model": "fake-model"}},
    }
    publish(admin_client, document)
    system.provider.script([{"reply": {"tool_calls": [{"name": "sign", "arguments": {}}]}}])
    pause_id: str = client.query("do", new_session(), workflow_id=workflow_id)["pause_id"]
    system.provider.reset()
    return pause_id


ROOMY: dict[str, dict[str, Any]] = {
    "limit": {"of": "user", "requests": 1_000_000},
    "budget": {"of": "user", "amount": "1000000", "window": "day", "hard": False},
}
"""Rules that refuse nothing."""


def context_of(planted: Planted) -> dict[str, Any]:
    return {
        "tenant": planted.tenant,
        "subject": "key:x",
        "workflow_id": planted.workflow_id,
        "config_hash": planted.config_hash,
        "session_id": planted.session_id,
        "turn_id": planted.turn_id,
        "now_ms": 1,
    }


def body_of(path: str, planted: Planted) -> Any:
    """A body that the endpoint would accept from the first tenant; None for those that take none."""
    bodies: dict[str, Any] = {
        "/api/v1/query": {"message": "what did I say?", "session_id": planted.session_id},
        "/api/v1/query/stream": {"message": "what did I say?", "session_id": planted.session_id},
        "/api/v1/query/async": {"message": "what did I say?", "session_id": planted.session_id},
        "/api/v1/query/batch": {
            "items": [{"message": "what did I say?", "session_id": planted.session_id}],
        },
        "/api/v1/schedules": {"name": "theirs", "cron": "0 8 1 1 *", "message": "what did I say?"},
        "/api/v1/schedules/{schedule_id}": {"name": "theirs", "cron": "0 8 1 1 *", "message": "no"},
        "/api/v1/turn/{turn_id}/feedback": {"thumb": "down"},
        "/api/v1/paused-runs/{pause_id}/decision": {"decision": "approve"},
        "/llm/v1/chat/completions": {
            "model": "fake-model",
            "messages": [{"role": "user", "content": "hello"}],
        },
        "/llm/v1/embeddings": {"model": "fake-embedding", "input": "hello"},
        "/llm/v1/responses": {
            "model": "fake-model",
            "input": "what did I say?",
            "previous_response_id": planted.response_id,
        },
        "/mcp/{workflow_id}": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        "/admin/api/v1/validate": {"document": {}},
        "/admin/api/v1/publish": {"document": {}},
        "/admin/api/v1/workflows/{workflow_id}/activate": {"config_hash": planted.config_hash},
        "/admin/api/v1/keys": {"name": "theirs", "scopes": ["query"]},
        "/admin/api/v1/keys/{key_id}": {"priority": 9},
        "/llm/v1/usage/corrections": {"call_id": "llm_1", "cost": "1", "reason": "none"},
        "/llm/v1/limits/{limit_name}": {"of": "user", "requests": 2_000_000},
        "/llm/v1/budgets/{budget_name}": {**ROOMY["budget"], "amount": "2000000"},
        "/internal/v1/tools/call": {"context": context_of(planted), "tool": "t", "idempotency_key": "k"},
        "/internal/v1/flows/read": {
            "context": context_of(planted),
            "state": {"flow": "f", "step": 0},
            "message": "x",
        },
        "/internal/v1/flows/run": {"context": context_of(planted), "flow": "f", "message": "x"},
        "/internal/v1/skills/run": {
            "context": context_of(planted),
            "skill": "s",
            "run_id": "r",
            "message": "x",
        },
        "/internal/v1/admin/changes": {"service": "workflow", "instance": "i", "after": -1, "wait_ms": 0},
        "/internal/v1/workflow/build": {
            "tenant": planted.tenant,
            "config_hash": planted.config_hash,
            "document": "{}",
        },
    }
    if path in KEEPING:
        whose = {"session_ids": [planted.session_id], "turn_ids": [planted.turn_id], "subjects": ["key:x"]}
        return {**whose, "user_id": "somebody"}
    return bodies.get(path)


def described(system: RunningSystem) -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    """Service (empty for a whole process), base URL, method and path of every operation that is described."""
    bases = system.service_urls() or {"": system.url}
    for service, base in bases.items():
        for path, operations in httpx.get(f"{base}/openapi.json").json()["paths"].items():
            for method, operation in operations.items():
                yield service, base, method.upper(), path, operation


KEEPING = {
    f"/internal/v1/{service}/{what}" for service in ("skills", "llm_gateway") for what in ("forget", "kept")
}
"""Answered for the token's tenant, whatever the body names."""

COMMITS_OF_ITS_OWN = {
    "/api/v1/query",
    "/api/v1/query/stream",
    "/api/v1/query/async",
    "/api/v1/query/batch",
}
"""The same session id is another session for another tenant: the answer is fresh."""

RULES = {"/llm/v1/limits/{limit_name}", "/llm/v1/budgets/{budget_name}"}
"""What is put under the same name is another rule of another tenant."""


def ask(base: str, method: str, path: str, planted: Planted, credential: str) -> httpx.Response:
    return httpx.request(
        method,
        base + planted.fill(path),
        json=body_of(path, planted),
        headers={"Authorization": f"Bearer {credential}"},
        timeout=20,
    )


def test_the_other_tenants_key_finds_nothing_anywhere(
    system: RunningSystem, client: PublicApi, other: PublicApi, admin_client: PublicApi, planted: Planted
) -> None:
    history, walked = client.history(planted.session_id), 0
    # A query under that id makes a session of the other tenant's own, so it comes last.
    operations = sorted(
        described(system), key=lambda found: found[3] in COMMITS_OF_ITS_OWN or found[2] == "PUT"
    )
    for _, base, method, path, operation in operations:
        answer = ask(base, method, path, planted, other.key or "")
        where = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        walked += 1
        # Who puts a rule is told the name that it gave it.
        assert path in RULES or MARK not in answer.text, where
        assert answer.status_code < 500, where
        if path.startswith("/internal/"):
            assert answer.status_code in {401, 403}, where
        elif method == "PUT" and path in RULES:
            assert answer.status_code == 200, where
        elif any(f"{{{name}}}" in path for name in Planted._fields):
            assert answer.status_code == 404, where
            assert operation.get("x-public") is None, where
    assert walked > 20
    assert client.history(planted.session_id) == history
    (message,) = [text for role, text in other.history(planted.session_id) if role == "user"][:1]
    assert message == "what did I say?"
    keys = admin_client.call("GET", "/admin/api/v1/keys", params={"limit": 200})["items"]
    (mine,) = [key for key in keys if key["key_id"] == planted.key_id]
    assert (mine["revoked_at"], mine["priority"]) == (None, 0)
    assert MARK in str(client.call("GET", f"/llm/v1/responses/{planted.response_id}"))
    for kind, rule in ROOMY.items():
        rules = admin_client.call("GET", f"/llm/v1/{kind}s")["items"]
        (mine,) = [found for found in rules if found["name"] == MARK]
        assert {name: mine[name] for name in rule} == rule
    assert "theirs" not in {key["name"] for key in keys}


@pytest.mark.usefixtures("with_keys")
def test_without_a_credential_only_health_answers(system: RunningSystem, planted: Planted) -> None:
    for _, base, method, path, operation in described(system):
        answer = httpx.request(method, base + planted.fill(path), json=body_of(path, planted), timeout=20)
        public = operation.get("x-public") is True
        where = f"{method} {path}: {answer.status_code} {answer.text[:200]}"
        assert (answer.status_code == 200) if public else (answer.status_code == 401), where


@pytest.mark.parametrize("system", ["services"], indirect=True)
def test_a_service_token_opens_one_service_for_one_tenant(system: RunningSystem, planted: Planted) -> None:
    stranger = Principal(tenant=TENANTS[1], subject="key:x", scopes=frozenset(Scope))
    tokens = ServiceTokens(system.service_secret(), "workflow")
    for service, base, method, path, _ in described(system):
        if not path.startswith("/internal/"):
            continue
        answer = ask(base, method, path, planted, tokens.mint(service, stranger))
        where = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        if path in KEEPING:
            # The same ids are others of the token's tenant, of which there may be some.
            assert answer.status_code == 200, where
        else:
            assert answer.status_code in {403, 404}, where
        assert MARK not in answer.text, where
        elsewhere = "flows" if service != "flows" else "tools"
        answer = ask(base, method, path, planted, tokens.mint(elsewhere, stranger))
        assert answer.status_code == 401, f"{method} {path} took a token for {elsewhere}"
        forged = ServiceTokens("another secret of thirty-two bytes or more", "workflow").mint(
            service, stranger
        )
        assert ask(base, method, path, planted, forged).status_code == 401, where


def test_lists_of_the_other_tenant_are_its_own(other: PublicApi, planted: Planted) -> None:
    for path in ("workflows", "snapshots", "releases", "keys"):
        answer = other.http.get(f"/admin/api/v1/{path}", params={"limit": 200})
        assert answer.status_code == 200
        assert MARK not in answer.text
        assert planted.config_hash not in answer.text
    assert other.call("GET", "/api/v1/health")["config_hash"] != planted.config_hash


@pytest.mark.usefixtures("probe")
def test_the_same_workflow_id_is_another_workflow(client: PublicApi, other: PublicApi) -> None:
    assert client.query("say hi", workflow_id="probe")["greeting"] == "Welcome."
    assert other.query("say hi")["greeting"] == f"Welcome to {TENANTS[1]}."
    assert (
        other.problem(
            "POST", "/api/v1/query", json={"message": "x", "session_id": new_session(), "workflow_id": "shop"}
        ).code
        == "no_release"
    )


@pytest.mark.usefixtures("with_keys")
def test_a_session_belongs_to_the_key_that_opened_it(
    client: PublicApi, admin_client: PublicApi, system: RunningSystem
) -> None:
    made = admin_client.call("POST", "/admin/api/v1/keys", json={"name": "second user", "scopes": ["query"]})
    second = PublicApi(system.url, made["key"])
    session = new_session()
    turn_id = client.query("hello", session)["turn_id"]
    assert second.problem("GET", f"/api/v1/session/{session}").status == 404
    assert second.problem("GET", f"/api/v1/turn/{turn_id}").status == 404
    assert second.problem("GET", f"/api/v1/turn/{turn_id}/events").status == 404
    assert second.problem("POST", f"/api/v1/turn/{turn_id}/cancel").status == 404
    assert second.problem("DELETE", f"/api/v1/session/{session}").status == 404
    body = {"message": "x", "session_id": session}
    assert second.problem("POST", "/api/v1/query", json=body).status == 404
    assert admin_client.session(session)["message_count"] == 2, (
        "sessions:read sees every session of the tenant"
    )
    second.close()


@pytest.mark.usefixtures("with_keys", "probe")
def test_a_key_works_for_its_scopes_and_workflows_until_it_is_revoked(
    admin_client: PublicApi, system: RunningSystem
) -> None:
    made = admin_client.call(
        "POST", "/admin/api/v1/keys", json={"name": "narrow", "scopes": ["query"], "workflows": ["probe"]}
    )
    narrow = PublicApi(system.url, made["key"])
    assert narrow.query("say hi", workflow_id="probe")["status"] == "success"
    for body in ({"message": "hello"}, {"message": "hello", "workflow_id": "shop"}):
        refused = narrow.problem("POST", "/api/v1/query", json={**body, "session_id": new_session()})
        assert refused.status in {403, 404}
    assert narrow.problem("GET", "/admin/api/v1/workflows").code == "forbidden"
    assert narrow.problem("POST", "/admin/api/v1/keys", json={"name": "more"}).status == 403
    admin_client.call("DELETE", f"/admin/api/v1/keys/{made['key_id']}")
    eventually(lambda: narrow.http.get("/api/v1/session/none").status_code == 401, "it is revoked", 5.0)
    narrow.close()


def test_nobody_grants_more_than_they_have(admin_client: PublicApi) -> None:
    assert admin_client.problem(
        "POST", "/admin/api/v1/keys", json={"name": "service", "scopes": ["service"]}
    ).status in {403, 422}
