"""A workflow's tools as an MCP server, used by the `mcp` package's own client."""

from typing import Any

import httpx
import pytest
from support.public_api import PublicApi, new_session
from support.systems import RunningSystem, publish
from support.waiting import eventually

mcp = pytest.importorskip("mcp")


def tools(backend: str) -> list[dict[str, Any]]:
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    read = {"url": f"{backend}/json", "query": {"text": "{{ arguments.text }}"}}
    return [
        {"id": "read_it", "description": "Reads.", "parameters": text, "request": read},
        {"id": "for_user", "parameters": text, "context": {"who": "{{ context.user_id }}"}, "request": read},
        {"id": "ask_first", "effect": "write", "confirm": "always", "request": {**read, "method": "POST"}},
        {"id": "write_it", "effect": "write", "request": {"method": "POST", "url": f"{backend}/json"}},
    ]


class Client:
    """Who may do what: a key with the scopes that are given."""

    def __init__(self, system: RunningSystem, admin: PublicApi, workflow: str, scopes: list[str]) -> None:
        made = admin.call("POST", "/admin/api/v1/keys", json={"name": "mcp", "scopes": scopes})
        self.headers = {"Authorization": f"Bearer {made['key']}"}
        self.url = f"{system.url}/mcp/{workflow}"
        eventually(self._known, "the key is known", 10.0)

    def _known(self) -> bool:
        # Services learn of keys by the change feed.
        return httpx.post(self.url, json={}, headers=self.headers).status_code != 401


@pytest.fixture(scope="module")
def workflow(system: RunningSystem, admin_client: PublicApi) -> str:
    workflow_id = new_session("wf")
    document = {"workflow_id": workflow_id, "name": "MCP", "tools": tools(system.backend.url)}
    publish(admin_client, document)
    return workflow_id


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_listed_and_called(
    system: RunningSystem, admin_client: PublicApi, workflow: str, mode: str
) -> None:
    caller = Client(system, admin_client, workflow, ["tools"])
    async with mcp_client(caller, mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == {"read_it", "write_it"}
        assert listed["read_it"].annotations.read_only_hint is True
        assert listed["write_it"].annotations.read_only_hint is False
        assert listed["read_it"].input_schema["required"] == ["text"]
        done = await client.call_tool("read_it", {"text": "hello there"})
        assert not done.is_error
        assert done.content[0].text
        wrong = await client.call_tool("read_it", {"text": 5})
        assert wrong.is_error
        assert wrong.content[0].text.startswith("invalid_arguments")
        with pytest.raises(mcp.MCPError, match="no tool 'ask_first'"):
            await client.call_tool("ask_first", {})


async def test_a_tool_that_acts_for_a_user_needs_one(
    system: RunningSystem, admin_client: PublicApi, workflow: str
) -> None:
    caller = Client(system, admin_client, workflow, ["tools", "act_for_users"])
    async with mcp_client(caller, "auto") as client:
        assert "for_user" in {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(mcp.MCPError, match="acts for a user"):
            await client.call_tool("for_user", {"text": "x"})
        done = await client.call_tool("for_user", {"text": "x"}, meta={"signalbox/user_id": "u1"})
        assert not done.is_error
        with pytest.raises(mcp.MCPError, match="no id of a user"):
            await client.call_tool("for_user", {"text": "x"}, meta={"signalbox/user_id": "a\nb"})


def test_who_may_not_is_told_in_json_rpc(
    system: RunningSystem, admin_client: PublicApi, workflow: str
) -> None:
    ping = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    caller = Client(system, admin_client, workflow, ["query"])
    answered = httpx.post(caller.url, json=ping, headers=caller.headers)
    assert (answered.status_code, answered.json()["error"]["data"]["code"]) == (403, "forbidden")
    able = Client(system, admin_client, workflow, ["tools"])
    assert httpx.post(able.url, json=ping, headers=able.headers).json() == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {},
    }
    elsewhere = httpx.post(f"{able.url}-not", json=ping, headers=able.headers)
    assert (elsewhere.status_code, elsewhere.json()["error"]["data"]["code"]) == (404, "no_release")
    text = {**able.headers, "Content-Type": "text/plain"}
    assert httpx.post(able.url, content=b'{"jsonrpc": "2.0"}', headers=text).status_code == 400
    unknown = httpx.post(able.url, json={**ping, "method": "prompts/list"}, headers=able.headers)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)
    assert httpx.get(able.url, headers=able.headers).status_code == 405


def mcp_client(caller: Client, mode: str) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    transport = streamable_http_client(caller.url, http_client=httpx2.AsyncClient(headers=caller.headers))
    return mcp.Client(transport, mode=mode)
