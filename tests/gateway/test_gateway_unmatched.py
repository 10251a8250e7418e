"""What is refused outside of a route has the shape that the clients of its path expect."""

import httpx
import pytest

pytestmark = pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"], indirect=True)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/llm/v1/nothing", 404, "not_found"),
        ("PUT", "/llm/v1/models", 405, "method_not_allowed"),
        ("GET", "/llm/v1/chat/completions", 405, "method_not_allowed"),
    ],
)
def test_under_openais_paths_it_is_openais(gateway, method, path, status, code):
    response = httpx.request(method, f"{gateway.url}{path}")
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    error = response.json()["error"]
    assert error["code"] == code
    assert path in error["message"]
    assert ("allow" in response.headers) is (status == 405)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/llm/v1/messages", 405, "invalid_request_error"),
        ("POST", "/llm/v1/messages/nothing", 404, "not_found_error"),
    ],
)
def test_under_anthropics_paths_it_is_anthropics(gateway, method, path, status, kind):
    response = httpx.request(method, f"{gateway.url}{path}")
    assert (response.status_code, response.json()["type"]) == (status, "error")
    assert response.json()["error"]["type"] == kind


def test_elsewhere_it_is_a_problem(gateway):
    response = httpx.get(f"{gateway.url}/nothing")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_a_time_that_is_none_is_refused_in_openais_shape(gateway, provider):
    response = httpx.post(
        f"{gateway.url}/llm/v1/chat/completions",
        json={"model": "alias", "messages": [{"role": "user", "content": "hi"}]},
        headers={"Signalbox-Timeout-Ms": "soon"},
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert provider.requests() == []
