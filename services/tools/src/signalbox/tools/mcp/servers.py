"""MCP servers as this process knows them: which revision each speaks, its session, and what it says its tools are.

A server's own requests (sampling, elicitation) are not answered: no such capability is announced. An answer that comes
as an event stream is read to its end.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from signalbox.common.http_calls import CallFailed, CallResult, HttpCall, RenderedRequest
from signalbox.tools.importing.definitions import Definition
from signalbox.tools.mcp.calls import McpCall, message
from signalbox.tools.mcp.protocol import (
    HANDSHAKES,
    META_CAPABILITIES,
    META_CLIENT,
    META_VERSION,
    METHOD_HEADER,
    NAME_HEADER,
    SESSION_HEADER,
    STATELESS,
    VERSION_HEADER,
    header_text,
)
from signalbox.tools.mcp.replies import McpReply, output_of
from signalbox.tools.ports import HttpCalls

_CLIENT = {"name": "signalbox", "version": "1"}
_MAX_PAGES = 100
_MAX_SERVERS = 500
_MAX_TOOLS = 10_000


@dataclass(slots=True)
class _Session:
    """What was agreed with one server for one credential; ``version`` is empty until something was."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    version: str = ""
    session_id: str | None = None
    tools: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    listed_at: float | None = None


class McpServers:
    """Calls tools of MCP servers; one instance serves all tenants, who share no session."""

    def __init__(
        self, http: HttpCalls, *, check_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._check_seconds = check_seconds
        self._clock = clock
        self._sessions: OrderedDict[tuple[str, str, str], _Session] = OrderedDict()

    async def call(
        self, call: McpCall, request: RenderedRequest, *, tenant: str, idempotency_key: str
    ) -> CallResult:
        """The value of a tool's result; ``request`` is what ``McpCall.render`` gave.

        Raises:
            CallFailed: there is none, or the tool is not what was approved.
        """
        session = self._session(call.asking, request.url, tenant)
        async with session.lock:
            await self._ready(session, call, request.url, tenant)
        params = orjson.loads(request.body)["params"]
        again = session.session_id is not None
        while True:
            sent = self._request(session, "tools/call", params, request.url)
            sent = replace(sent, headers={**request.headers, **sent.headers})
            done = await self._http.execute(
                call.calling, sent, tenant=tenant, idempotency_key=idempotency_key
            )
            reply: McpReply = done.output
            if reply.status != 404 or not again or reply.error is None:
                break
            # The server has forgotten the session, so it did nothing: a new one is begun, once.
            again = False
            async with session.lock:
                session.version = ""
                await self._ready(session, call, request.url, tenant)
        return CallResult(call.mapping.value(output_of(_result(reply))), done.attempts)

    async def tools(self, call: HttpCall, url: str, *, tenant: str) -> list[Mapping[str, Any]]:
        """What a server says its tools are, now, in its own words; ``call`` says how it is asked.

        Raises:
            CallFailed: it cannot be asked.
        """
        session = self._session(call, url, tenant)
        async with session.lock:
            if not session.version:
                await self._begin(session, call, url, tenant)
            await self._list(session, call, url, tenant)
        return list(session.tools.values())

    def _session(self, call: HttpCall, url: str, tenant: str) -> _Session:
        auth = call.auth.model_dump_json() if call.auth is not None else ""
        key = (tenant, url, auth)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session()
            if len(self._sessions) > _MAX_SERVERS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return session

    async def _ready(self, session: _Session, call: McpCall, url: str, tenant: str) -> None:
        if not session.version:
            await self._begin(session, call.asking, url, tenant)
        pin = call.source.pin
        if pin is None:
            return
        if session.listed_at is None or self._clock() - session.listed_at >= self._check_seconds:
            await self._list(session, call.asking, url, tenant)
        found = session.tools.get(call.source.tool)
        if found is None or definition_of(found).pin() != pin:
            what = (
                "is no longer there" if found is None else "is not described as it was when it was approved"
            )
            raise CallFailed(
                "refused",
                f"The tool '{call.source.tool}' of the MCP server {what}; a publisher can see the difference with "
                "'signalbox tools changes', and approve it.",
            )

    async def _begin(self, session: _Session, call: HttpCall, url: str, tenant: str) -> None:
        """Agree on a revision: the one without sessions where the server knows it, else a handshake."""
        session.version, session.session_id, session.listed_at = STATELESS, None, None
        try:
            found = await self._ask(session, call, "server/discover", {}, url, tenant)
        except CallFailed as failure:
            session.version = ""
            if failure.error.http_status in {None, 401, 403} or failure.retryable:
                raise
            found = McpReply(failure.error.http_status)
        if found.result is not None and STATELESS in found.result.get("supportedVersions", []):
            return
        session.version = ""
        params = {"protocolVersion": HANDSHAKES[0], "capabilities": {}, "clientInfo": _CLIENT}
        begun = await self._ask(session, call, "initialize", params, url, tenant)
        version = str(_result(begun).get("protocolVersion", ""))
        if version not in HANDSHAKES:
            raise CallFailed(
                "bad_response", f"The MCP server speaks the revision '{version}', which is not known here."
            )
        session.version, session.session_id = version, begun.session_id
        note = self._request(session, "notifications/initialized", None, url, notification=True)
        await self._http.execute(call, note, tenant=tenant, idempotency_key="")

    async def _list(self, session: _Session, call: HttpCall, url: str, tenant: str) -> None:
        tools: dict[str, Mapping[str, Any]] = {}
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            params = {} if cursor is None else {"cursor": cursor}
            page = await self._ask(session, call, "tools/list", params, url, tenant)
            if page.status == 404 and session.session_id is not None:
                await self._begin(session, call, url, tenant)
                page = await self._ask(session, call, "tools/list", params, url, tenant)
            result = _result(page)
            for tool in result.get("tools", [])[:_MAX_TOOLS]:
                tools[definition_of(tool).name] = tool
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or not cursor:
                break
        session.tools, session.listed_at = tools, self._clock()

    async def _ask(
        self, session: _Session, call: HttpCall, method: str, params: dict[str, Any], url: str, tenant: str
    ) -> McpReply:
        request = self._request(session, method, params, url)
        done = await self._http.execute(call, request, tenant=tenant, idempotency_key="")
        reply: McpReply = done.output
        return reply

    def _request(
        self,
        session: _Session,
        method: str,
        params: dict[str, Any] | None,
        url: str,
        *,
        notification: bool = False,
    ) -> RenderedRequest:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if session.version:
            headers[VERSION_HEADER] = session.version
        if session.session_id is not None:
            headers[SESSION_HEADER] = session.session_id
        if session.version == STATELESS and params is not None:
            headers[METHOD_HEADER] = method
            if method == "tools/call":
                headers[NAME_HEADER] = header_text(params["name"])
            meta = {META_VERSION: STATELESS, META_CLIENT: _CLIENT, META_CAPABILITIES: {}}
            params = {**params, "_meta": meta}
        return RenderedRequest("POST", url, headers, message(method, params, notification=notification))


def _result(reply: McpReply) -> Mapping[str, Any]:
    if reply.error is not None:
        raise reply.error.failure()
    if reply.result is None:
        raise CallFailed("bad_response", "The MCP server answered nothing.", http_status=reply.status)
    return reply.result


def definition_of(tool: Any) -> Definition:
    """What a server says of a tool, for its pin.

    Raises:
        CallFailed: ``bad_response``, it has no name.
    """
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
        raise CallFailed("bad_response", "The MCP server lists a tool without a name.")
    return Definition(tool["name"], str(tool.get("description") or ""), tool.get("inputSchema") or {})
