"""Scenario 24: requests that the system is made to send where it must not, by tools, webhooks and imports.

`services/tools/tests/test_tool_ssrf.py` holds the guard to hundreds of spellings. Here somebody who may publish, or who
may name a webhook, does what they can on a running system that may call 127.0.0.1: a listener on 127.0.0.2 and ::1, and
nobody's word, says whether a connection was made.
"""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.public_api import Problem, PublicApi, new_session
from support.systems import RunningSystem, publish
from support.waiting import eventually

from security.canary import Canary


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as listening:
        yield listening


def tools_at(urls: list[str], allowed: str) -> list[dict[str, Any]]:
    """For every URL a tool of each kind that goes there, in ways that a publisher has."""
    made: list[dict[str, Any]] = []
    for url in urls:
        made += [
            {"request": {"url": url}},
            {"request": {"method": "POST", "url": url, "body": {"a": 1}}},
            {"mcp": {"url": url, "tool": "x"}},
            {
                "request": {"url": f"{allowed}/json"},
                "auth": {
                    "type": "oauth2",
                    "token_url": url,
                    "client_id": "x",
                    "client_secret": "secret:shop-token",
                },
            },
            {
                "request": {"url": f"{allowed}/json"},
                "openapi": {"document": url, "operation": "GET /json", "pin": "0" * 64},
            },
        ]
    shared = {"retry": {"attempts": 1}, "timeout_ms": 2000, "circuit": None}
    numbered = enumerate(made)
    return [{"id": f"t{number}", "description": "Goes there.", **shared, **tool} for number, tool in numbered]


def document(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """A workflow with an intent for each tool."""
    intents = [
        {
            "id": f"i_{tool['id']}",
            "when": {"patterns": [f"^call {tool['id']}$"]},
            "then": {"tool": tool["id"]},
        }
        for tool in tools
    ]
    return {"workflow_id": new_session("wf"), "name": "Inside", "intents": intents, "tools": tools}


def publish_what_passes(operator: PublicApi, tools: list[dict[str, Any]]) -> tuple[str, list[str], int]:
    """Publish the tools, without those that publishing refuses: workflow, their ids, and how many were refused."""
    left = tools
    for _ in range(5):
        asked = document(left)
        try:
            publish(operator, asked)
        except Problem as refused:
            if refused.status != 422:
                raise
            pointers = [error["pointer"].split("/") for error in refused.body["errors"]]
            wrong = {int(parts[2]) for parts in pointers if parts[1:2] == ["tools"]}
            if not wrong:
                raise
            left = [tool for number, tool in enumerate(left) if number not in wrong]
        else:
            return str(asked["workflow_id"]), [tool["id"] for tool in left], len(tools) - len(left)
    raise AssertionError("publishing names other tools each time")


def test_no_tool_goes_inside(system: RunningSystem, admin_client: PublicApi, canary: Canary) -> None:
    tools = tools_at(canary.urls(), system.backend.url)
    workflow, callable_, refused = publish_what_passes(admin_client, tools)
    outcomes: dict[str, int] = {}
    for name in callable_:
        reply = admin_client.query(f"call {name}", workflow_id=workflow)
        outcomes[reply["status"]] = outcomes.get(reply["status"], 0) + 1
        # Who asks is told that it did not work, and nothing of what is inside.
        assert "root:" not in reply["message"], reply
    assert canary.connections == 0
    assert refused + len(callable_) == len(tools) > 100
    print(
        f"24 {system.shape}: {len(tools)} tools that go inside: {refused} refused when published, {len(callable_)} "
        f"called ({outcomes}), {canary.connections} connections"
    )


def test_words_of_a_user_lead_no_tool_inside(
    system: RunningSystem, admin_client: PublicApi, canary: Canary
) -> None:
    there = {"type": "object", "properties": {"there": {"type": "string"}}, "required": ["there"]}
    ways = [
        {"url": "{{ arguments.there }}"},
        {"url": "http://{{ arguments.there }}/"},
        {"url": f"{system.backend.url}/{{{{ arguments.there }}}}"},
        {"url": f"{system.backend.url}@{{{{ arguments.there }}}}"},
        {"url": f"{system.backend.url}/json", "headers": {"Host": "{{ arguments.there }}"}},
        {"url": f"{system.backend.url}/json", "headers": {"X-A": "{{ arguments.there }}"}},
    ]
    tools = [
        {"id": f"t{n}", "parameters": there, "request": way, "retry": {"attempts": 1}}
        for n, way in enumerate(ways)
    ]
    asked = document(tools)
    for intent in asked["intents"]:
        intent["when"] = {"patterns": [f"^call {intent['then']['tool']} (?P<there>.+)$"]}
        intent["parameters"] = {"there": {"type": "text"}}
        intent["then"]["arguments"] = {"there": "{{ parameters.there }}"}
    refused: set[int] = set()
    try:
        publish(admin_client, asked)
    except Problem as problem:
        refused = {
            int(e["pointer"].split("/")[2])
            for e in problem.body["errors"]
            if e["pointer"].startswith("/tools/")
        }
        asked["tools"] = [tool for n, tool in enumerate(tools) if n not in refused]
        asked["intents"] = [intent for n, intent in enumerate(asked["intents"]) if n not in refused]
        publish(admin_client, asked)
    spoken = [
        f"127.0.0.2:{canary.port}",
        f"http://127.0.0.2:{canary.port}/",
        f"../../..//127.0.0.2:{canary.port}",
    ]
    spoken += [
        f"x\r\nHost: 127.0.0.2:{canary.port}",
        f"x%0d%0aHost:%20127.0.0.2:{canary.port}",
        "a#@127.0.0.2",
        "a?b=1",
    ]
    for tool in asked["tools"]:
        for there_ in spoken:
            admin_client.query(f"call {tool['id']} {there_}", workflow_id=asked["workflow_id"])
    assert canary.connections == 0
    hosts = {received.headers.get("host") for received in _received(system)}
    assert not {host for host in hosts if host and "127.0.0.2" in host}, hosts
    print(
        f"24 {system.shape}: {len(asked['tools']) * len(spoken)} calls by words of users, 0 connections inside"
    )


def _received(system: RunningSystem) -> Iterator[Any]:
    for path in ("/json", "/"):
        yield from system.backend.received(path)


def test_no_webhook_goes_inside(system: RunningSystem, admin_client: PublicApi, canary: Canary) -> None:
    refused, queued = 0, set()
    for url in canary.urls():
        body = {"message": "hello", "session_id": new_session(), "webhook": {"url": url}}
        answer = admin_client.http.post("/api/v1/query/async", json=body)
        assert answer.status_code in {202, 422}, f"{url}: {answer.text}"
        if answer.status_code == 422:
            refused += 1
        else:
            queued.add(answer.json()["task_id"])

    def all_tried() -> bool:
        found = admin_client.call("GET", "/api/v1/webhooks", params={"limit": 200})["items"]
        mine = [hook for hook in found if hook["url"] in canary.urls()]
        return len(mine) >= len(queued) and all(
            hook["attempt"] >= 1 or hook["status"] == "dead" for hook in mine
        )

    eventually(all_tried, "every webhook was tried", 40.0)
    found = admin_client.call("GET", "/api/v1/webhooks", params={"limit": 200})["items"]
    delivered = [hook for hook in found if hook["url"] in canary.urls() and hook["status"] == "delivered"]
    assert delivered == []
    assert canary.connections == 0
    print(
        f"24 {system.shape}: {refused} webhooks refused, {len(queued)} tried and not delivered, 0 connections"
    )


def test_a_canary_hears_who_comes(canary: Canary) -> None:
    """The listener does listen: else its silence would say nothing."""
    socket.create_connection(("127.0.0.2", canary.port), 5).close()
    socket.create_connection(("::1", canary.port), 5).close()
    assert httpx.get(canary.redirect).headers["location"].startswith("http://127.0.0.2:")
    eventually(lambda: canary.connections == 2, "both were heard")
