"""Bad input: problem details with code and pointer, and nothing stored."""

from typing import Any

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.shapes import PROBLEM, check
from support.systems import RunningSystem

JSON = {"Content-Type": "application/json"}


def stored(system: RunningSystem) -> list[int]:
    tables = ("workflow_sessions", "workflow_turns", "workflow_idempotency")
    return [system.stores.count("workflow", table) for table in tables]


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        (b"{not json", 400, "malformed_json", []),
        (b"", 422, "validation_failed", [""]),
        (b"[]", 422, "validation_failed", [""]),
        (b'{"message": "x"}', 422, "validation_failed", ["/session_id"]),
        (b'{"session_id": "s"}', 422, "validation_failed", ["/message"]),
        (b"{}", 422, "validation_failed", ["/message", "/session_id"]),
        (b'{"message": "", "session_id": "s"}', 422, "validation_failed", ["/message"]),
        (b'{"message": "x", "session_id": ""}', 422, "validation_failed", ["/session_id"]),
        (b'{"message": "x", "session_id": "a/b"}', 422, "validation_failed", ["/session_id"]),
        (b'{"message": "x", "session_id": ".."}', 422, "validation_failed", ["/session_id"]),
        (
            b'{"message": "x", "session_id": "s", "timezone": "Not/AZone"}',
            422,
            "unknown_timezone",
            ["/timezone"],
        ),
        (b'{"message": "x", "session_id": "a\\u0000b"}', 422, "validation_failed", ["/session_id"]),
        (
            b'{"message": "x", "session_id": 7, "user_id": []}',
            422,
            "validation_failed",
            ["/session_id", "/user_id"],
        ),
        (b'{"message": "x", "session_id": "s", "surprise": 1}', 422, "validation_failed", ["/surprise"]),
        (b'{"message": "x", "session_id": "s", "language": "!"}', 422, "validation_failed", ["/language"]),
        (b'{"message": "\\ud800", "session_id": "s"}', None, None, None),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/query", "/api/v1/query/stream"])
def test_a_bad_query_is_a_problem_with_pointers(
    client: PublicApi, system: RunningSystem, path: str, body: bytes, status: Any, code: Any, pointers: Any
) -> None:
    before = stored(system)
    problem = client.problem("POST", path, content=body, headers=JSON)
    if status is None:
        assert problem.status in {400, 422}
    else:
        assert (problem.status, problem.code) == (status, code)
        assert [error["pointer"] for error in problem.body.get("errors", [])] == pointers
    assert stored(system) == before


def test_an_unknown_field_is_named(client: PublicApi) -> None:
    body = {"message": "x", "session_id": "s", "mesage": "y"}
    (error,) = client.problem("POST", "/api/v1/query", json=body).body["errors"]
    assert (error["pointer"], error["code"]) == ("/mesage", "unknown_field")


@pytest.mark.parametrize(("size", "statuses"), [(1_000_000, {422}), (2_000_000, {413})])
def test_a_message_that_is_too_long_is_refused(
    client: PublicApi, system: RunningSystem, size: int, statuses: set[int]
) -> None:
    before = stored(system)
    body = {"message": "x" * size, "session_id": new_session()}
    assert client.problem("POST", "/api/v1/query", json=body).status in statuses
    assert stored(system) == before


def test_an_idempotency_key_that_is_too_long_is_refused(client: PublicApi) -> None:
    headers = {"Idempotency-Key": "k" * 300}
    body = {"message": "hello", "session_id": new_session()}
    assert client.problem("POST", "/api/v1/query", json=body, headers=headers).status == 422


@pytest.mark.parametrize("path", ["/api/v1/query", "/api/v1/query/stream", "/api/v1/turn/x/cancel"])
def test_a_wrong_method_is_405(client: PublicApi, path: str) -> None:
    problem = client.problem("PUT", path)
    assert (problem.status, problem.code) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/admin/api/v1/nothing"])
def test_an_unknown_route_of_a_service_is_404(client: PublicApi, path: str) -> None:
    assert client.problem("GET", path).code == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/internal/v1/workflow/build",
        "/internal/v1/flows/run",
        "/internal/v1/skills/run",
        "/internal/v1/tools/call",
        "/internal/v1/admin/changes",
        "/nothing/at/all",
    ],
)
def test_what_is_internal_is_not_at_the_edge(client: PublicApi, admin_client: PublicApi, path: str) -> None:
    for api in (client, admin_client):
        for method in ("GET", "POST"):
            assert api.http.request(method, path, json={}).status_code == 404
    assert client.http.post(path.replace("/internal", "/api/v1/../../internal"), json={}).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer sbx_0123456789abcdef_" + "0" * 64},
        {"X-API-Key": "sbx_broken"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
@pytest.mark.usefixtures("with_keys")
def test_without_a_good_credential_nothing_is_done(client: PublicApi, headers: Any) -> None:
    body = {"message": "hello", "session_id": new_session()}
    answer = httpx.post(f"{client.url}/api/v1/query", json=body, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    check(answer.json(), PROBLEM)
    assert answer.json()["code"] == "unauthenticated"
    assert client.problem("GET", f"/api/v1/session/{body['session_id']}").status == 404


def test_a_problem_names_its_request(client: PublicApi) -> None:
    problem = client.problem("GET", "/api/v1/session/none", headers={"X-Request-Id": "req-of-mine"})
    assert problem.body["request_id"] == "req-of-mine" == problem.response.headers["x-request-id"]
    assert problem.body["instance"] == "/api/v1/session/none"
    assert problem.response.headers["content-type"] == "application/problem+json"


def test_identity_headers_of_a_client_count_for_nothing(client: PublicApi, other: PublicApi) -> None:
    session = new_session()
    client.query("hello", session)
    headers = {"Signalbox-Tenant": "acme", "Signalbox-Subject": "local", "Signalbox-Scopes": "service"}
    assert other.problem("GET", f"/api/v1/session/{session}", headers=headers).status == 404
