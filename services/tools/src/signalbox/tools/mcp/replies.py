"""Answers of MCP servers: found in JSON or in an event stream, and turned into the value of a tool."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from signalbox.common.http_calls import CallFailed
from signalbox.common.http_calls.errors import FailureCode
from signalbox.common.http_calls.responses import CompiledMapping
from signalbox.common.record import record
from signalbox.common.secrets import Secret, redact
from signalbox.common.transport import OutboundResponse
from signalbox.contracts.config import ResponseMapping
from signalbox.tools.mcp.protocol import INVALID_PARAMS, SESSION_HEADER

REQUEST_ID = 1
"""Each request is an exchange of its own, so its id need not differ from another's."""
_MAX_EXCERPT = 300


@record
class McpError:
    """A JSON-RPC error (https://www.jsonrpc.org/specification, section 5.1)."""

    code: int
    message: str

    def failure(self) -> CallFailed:
        """The failure of the tool call that met it."""
        code: FailureCode = "invalid_arguments" if self.code == INVALID_PARAMS else "upstream_error"
        return CallFailed(code, f"The MCP server refused: {self.message} ({self.code})")


@record
class McpReply:
    """The result of a request, or its error; None for both where nothing is answered, as for a notification."""

    status: int
    result: Mapping[str, Any] | None = None
    error: McpError | None = None
    session_id: str | None = None


class McpReader(CompiledMapping):
    """Reads an exchange; the mapping is applied to the value of the tool, not to the protocol around it."""

    def __init__(self, mapping: ResponseMapping, max_bytes: int | None = None) -> None:
        super().__init__(mapping)
        self.max_bytes = max_bytes or self.max_bytes

    def read(self, response: OutboundResponse, secrets: Iterable[Secret], *, write: bool) -> Any:
        """The ``McpReply`` of an answer; every secret in it is masked.

        Raises:
            CallFailed: the answer is no JSON-RPC, as where something before the server refused.
        """
        text = redact(response.body.decode("utf-8", "replace"), secrets)
        session = response.headers.get(SESSION_HEADER.lower())
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        messages = _events(text) if kind == "text/event-stream" else [text]
        for message in messages:
            answer = _answer(message)
            if answer is not None:
                return McpReply(response.status, *answer, session)
        if response.status == 202 or (response.status < 300 and not text.strip()):
            return McpReply(response.status, session_id=session)
        if response.status >= 300:
            super().read(response, secrets, write=write)
        raise CallFailed(
            "unknown_outcome" if write else "bad_response", "The answer is not one of an MCP server."
        )


def output_of(result: Mapping[str, Any]) -> Any:
    """The value of a tool's result: its structured content, else its text, parsed where that is JSON.

    Raises:
        CallFailed: the tool reports an error, or wants to be asked again with more.
    """
    content = result.get("content")
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    texts = [str(block.get("text", "")) for block in blocks if block.get("type") == "text"]
    if result.get("isError") is True:
        reason = " ".join(" ".join(texts).split())[:_MAX_EXCERPT]
        raise CallFailed("upstream_error", f"The tool reports an error{': ' + reason if reason else '.'}")
    if result.get("resultType", "complete") != "complete":
        raise CallFailed("upstream_error", "The tool asks for more input, which cannot be given here.")
    if result.get("structuredContent") is not None:
        return result["structuredContent"]
    if len(texts) < len(blocks):
        return blocks
    text = "\n".join(texts)
    if text[:1] in {"{", "["}:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _events(text: str) -> Iterator[str]:
    """The data of each server-sent event."""
    data: list[str] = []
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _answer(text: str) -> tuple[Mapping[str, Any] | None, McpError | None] | None:
    """Result and error of the message that answers our request; None if this is none."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or "method" in message:
        return None
    error = message.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        return None, McpError(code if isinstance(code, int) else 0, str(error.get("message", "")))
    result = message.get("result")
    return (result, None) if isinstance(result, dict) and message.get("id") == REQUEST_ID else None
