"""Tool calls that try to reach inside: each is refused, and no socket is made for it.

The guard, the executor and the service are the real ones; names resolve as an attacker's DNS would answer. An audit
hook (PEP 578) counts what Python makes of sockets and asks of the system's resolver, so that a guard that refuses only
after it has connected would be seen.
"""

import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.trace import NoOpTracer

from signalbox.common.cache import MemoryCache
from signalbox.common.http_calls import HttpCallExecutor
from signalbox.common.secrets import Secret
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.transport import AllowList, GuardedOutbound
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.context import CallContext
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.tools.importing.origins import OpenApiOrigins
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.metrics import ToolMetrics
from signalbox.tools.registry import Registry
from signalbox.tools.result_cache import ResultCache
from signalbox.tools.service import ToolCalls

URLS = [
    # Loopback, as it is and in the spellings that resolvers and C libraries understand.
    "http://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "https://127.0.0.1/",
    "http://127.255.255.254/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f000001/",
    "http://0x7F.0.0.1/",
    "http://0x7f.1/",
    "http://127.0.0.1./",
    "http://00000127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://１２７.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://0/",
    "http://0.0.0.0/",
    # IPv6: loopback, and addresses that carry an IPv4 address inside.
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    # Cloud metadata.
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xA9FEA9FE/",
    "http://0251.0376.0251.0376/",
    "http://169.254.170.2/v2/credentials/",
    "http://168.63.129.16/",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/opc/v2/instance/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    # Private, link-local and other ranges that are not public.
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    # Readers of URLs that disagree about where the host is.
    "http://8.8.8.8@127.0.0.1/",
    "http://user:pass@8.8.8.8/",
    "http://127.0.0.1\\@8.8.8.8/",
    "http://8.8.8.8:0/",
    # Other protocols.
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://127.0.0.1/",
    "unix:///var/run/docker.sock",
]
NAMES: dict[str, list[str]] = {
    "loopback.example": ["127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "private.example": ["10.0.0.5"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "zone.example": ["fe80::1%2"],
    # One good address does not redeem a bad one: which of them is connected to would be chance.
    "mixed.example": ["8.8.8.8", "127.0.0.1"],
    "mixed-six.example": ["2606:4700:4700::1111", "fd00::1"],
}
CASES = [*URLS, *(f"http://{name}/" for name in NAMES)]
_WATCHED = {"socket.__new__", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}


class Sockets:
    """What was done with sockets while ``watching``; a hook cannot be taken away, so it is switched off."""

    def __init__(self) -> None:
        self.watching = False
        self.seen: list[str] = []

    def __call__(self, event: str, _: tuple[Any, ...]) -> None:
        if self.watching and event in _WATCHED:
            self.seen.append(event)


class NoSecrets:
    async def get(self, tenant: str, name: str) -> Secret:
        raise AssertionError("no tool here has a credential")


class OneRegistry:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def get(self, tenant: str, config_hash: str) -> Registry:
        return self.registry


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    watcher = Sockets()
    sys.addaudithook(watcher)
    yield watcher
    watcher.watching = False


async def attackers_dns(host: str, port: int) -> Sequence[str]:
    return NAMES[host]


def config(url: str) -> WorkflowConfig:
    return WorkflowConfig.model_validate(
        {
            "workflow_id": "shop",
            "name": "Shop",
            "variables": {"where": url},
            "tools": [
                {"id": "literal", "request": {"url": url}},
                {"id": "variable", "request": {"url": "{{ vars.where }}"}},
                {
                    "id": "token",
                    "request": {"url": "https://api.example/"},
                    "auth": {
                        "type": "oauth2",
                        "token_url": url,
                        "client_id": "c",
                        "client_secret": "secret:s",
                    },
                },
            ],
        }
    )


async def call(made: WorkflowConfig, tool: str, secrets: Any = None) -> ToolCallReply:
    cache = MemoryCache()
    outbound = GuardedOutbound(AllowList.parse([]), resolve=attackers_dns)
    http = HttpCallExecutor(outbound, secrets or NoSecrets())
    calls = ToolCalls(
        OneRegistry(Registry(made, {}, {})),
        http,
        ResultCache(cache.values),
        WriteGate(cache.leases),
        NoOpTracer(),
        ToolMetrics(Metrics("tools")),
        McpServers(http, check_seconds=300),
        OpenApiOrigins(outbound, check_seconds=300),
    )
    context = CallContext(
        tenant="acme", subject="key:1", workflow_id="shop", config_hash="a" * 64, session_id="s",
        turn_id="turn_1", now_ms=1_790_000_000_000,
    )  # fmt: skip
    try:
        return await calls.call(ToolCallRequest(context=context, tool=tool, idempotency_key="turn_1/1"))
    finally:
        await outbound.aclose()
        await cache.close()


def test_there_are_sixty_cases_and_each_is_another() -> None:
    assert len(set(CASES)) == len(CASES) >= 60


@pytest.mark.parametrize("tool", ["literal", "variable"])
@pytest.mark.parametrize("url", CASES)
async def test_it_is_refused_and_no_socket_is_made(sockets: Sockets, url: str, tool: str) -> None:
    made = config(url)
    sockets.seen.clear()
    sockets.watching = True
    try:
        reply = await call(made, tool)
    finally:
        sockets.watching = False
    assert not reply.ok
    assert reply.error is not None
    # What is no URL of a host is said when the request is rendered, the rest when it would be sent.
    assert reply.error.code in {"refused", "invalid_arguments"}
    assert sockets.seen == []


class OneSecret:
    async def get(self, tenant: str, name: str) -> Secret:
        return Secret("client-secret")


@pytest.mark.parametrize("url", ["http://169.254.169.254/token", "http://0x7f.1/", "http://mixed.example/"])
async def test_a_token_endpoint_is_held_to_the_same(sockets: Sockets, url: str) -> None:
    made = config(url)
    sockets.seen.clear()
    sockets.watching = True
    try:
        reply = await call(made, "token", OneSecret())
    finally:
        sockets.watching = False
    assert (reply.ok, reply.error and reply.error.code) == (False, "refused")
    assert sockets.seen == []


def test_the_watcher_sees_a_socket(sockets: Sockets) -> None:
    sockets.seen.clear()
    sockets.watching = True
    try:
        socket.socket().close()
    finally:
        sockets.watching = False
    assert sockets.seen == ["socket.__new__"]
