"""Reading the sources of tools from the command line: files, URLs and MCP servers, through the outbound guard."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from signalbox.common.errors import NotFound, Unavailable
from signalbox.common.http_calls import CallFailed, HttpCallExecutor
from signalbox.common.platform import secrets_from_settings
from signalbox.common.template_values import effective_variables
from signalbox.common.templates import Templates
from signalbox.common.transport import AllowList, GuardedOutbound
from signalbox.contracts.config import McpSource, Tool
from signalbox.contracts.identity import DEFAULT_TENANT
from signalbox.tools.importing.errors import SourceUnusable
from signalbox.tools.importing.openapi_document import OpenApiDocument
from signalbox.tools.importing.origins import fetched
from signalbox.tools.mcp.calls import McpCall
from signalbox.tools.mcp.servers import McpServers
from signalbox.tools.settings import ToolsSettings


class CommandSources:
    """Sources as a command reads them; an async context that closes its connections.

    ``named`` is what the operator gave on the command line, which may be a private address; other addresses have to be
    public or allowed by the settings. ``file`` is the document of tools that were imported from a file.
    """

    def __init__(self, settings: ToolsSettings, *, named: str = "", file: str = "") -> None:
        own = [urlsplit(url).netloc for url in (named, file) if urlsplit(url).netloc]
        self._settings = settings
        self._file = file
        self._outbound = GuardedOutbound(AllowList.parse([*settings.outbound_allow, *own]))
        self._http = HttpCallExecutor(self._outbound, secrets_from_settings(settings))
        self._servers = McpServers(self._http, check_seconds=0)
        self._documents: dict[str, OpenApiDocument] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._outbound.aclose()

    async def read(self, place: str) -> OpenApiDocument:
        """The document at a path or a URL.

        Raises:
            NotFound, OutboundError, SourceUnusable: there is none that can be used.
        """
        if place not in self._documents:
            if urlsplit(place).scheme in {"http", "https"}:
                self._documents[place] = await fetched(self._outbound, place)
            else:
                self._documents[place] = await asyncio.to_thread(_from_file, Path(place))
        return self._documents[place]

    async def document(self, tool: Mapping[str, Any]) -> OpenApiDocument:
        """The document that a tool was imported from.

        Raises:
            SourceUnusable: it was a file, and none is given.
        """
        place = self._file or tool["openapi"].get("document", "")
        if not place:
            raise SourceUnusable(f"'{tool['id']}' was imported from a file; name it with --source.")
        return await self.read(place)

    async def listed(self, tool: Mapping[str, Any], variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What the MCP server of a tool lists.

        Raises:
            Unavailable: it cannot be asked.
        """
        known = effective_variables(dict(variables), self._settings.variables)
        call = McpCall(Tool.model_validate(tool), Templates(), known)
        try:
            url = call.asking.render({"vars": known, "arguments": {}, "context": {}, "profile": {}}).url
            return await self._servers.tools(call.asking, url, tenant=DEFAULT_TENANT)
        except CallFailed as failure:
            raise Unavailable(f"The MCP server cannot be asked: {failure.error.detail}") from failure

    async def server(self, url: str, auth: dict[str, Any] | None) -> list[Mapping[str, Any]]:
        """What the MCP server at a URL lists.

        Raises:
            Unavailable: it cannot be asked.
        """
        asked: dict[str, Any] = {"id": "asked", "mcp": McpSource(url=url, tool="asked").model_dump()}
        return await self.listed({**asked, "auth": auth} if auth else asked, {})


def _from_file(path: Path) -> OpenApiDocument:
    try:
        return OpenApiDocument.parse(path.read_bytes())
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.") from error
