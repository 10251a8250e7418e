"""What both sides of MCP write alike: revisions, names of headers and members, error codes."""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

STATELESS: Final = "2026-07-28"
"""The revision whose requests carry all that a server must know of the client."""
HANDSHAKES: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The revisions that begin with ``initialize``, newest first."""

VERSION_HEADER: Final = "MCP-Protocol-Version"
METHOD_HEADER: Final = "Mcp-Method"
NAME_HEADER: Final = "Mcp-Name"
PARAM_HEADER: Final = "Mcp-Param-"
SESSION_HEADER: Final = "Mcp-Session-Id"

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT: Final = "io.modelcontextprotocol/clientInfo"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_ENCODED = re.compile(r"=\?base64\?(.*)\?=\Z")


def header_text(value: str) -> str:
    """A value as a header carries it: as it is where that is printable ASCII, else in base64."""
    if _PLAIN.match(value) and not _ENCODED.match(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def from_header(text: str) -> str | None:
    """The value of such a header; None where it is not well-formed."""
    encoded = _ENCODED.match(text)
    if encoded is None:
        return text
    try:
        return base64.b64decode(encoded.group(1), validate=True).decode()
    except ValueError:
        return None


def param_headers(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers that repeat arguments which the schema marks with ``x-mcp-header``."""
    headers: dict[str, str] = {}
    properties = schema.get("properties")
    for name, member in properties.items() if isinstance(properties, Mapping) else ():
        value = arguments.get(name)
        if not isinstance(member, Mapping) or value is None:
            continue
        marked = member.get("x-mcp-header")
        if isinstance(marked, str) and isinstance(value, str | int):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            headers[f"{PARAM_HEADER}{marked}"] = header_text(text)
        elif isinstance(value, Mapping):
            headers |= param_headers(member, value)
    return headers
