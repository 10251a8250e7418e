"""What can go wrong on purpose, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from signalbox_fake_provider.fields import Fields, ScriptError


class FaultKind(StrEnum):
    """Ways to misbehave. "Later" below means: as far as ``after_chunks`` says (see `Fault`)."""

    STATUS = "status"
    """Answer with an HTTP error."""
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    """400 with that code."""
    CONTENT_FILTER = "content_filter"
    """400 with that code."""
    HANG = "hang"
    """Accept the request and never send a byte."""
    SLOW_FIRST_TOKEN = "slow_first_token"
    """Send the headers at once and the first chunk after ``delay_ms``."""
    STALL = "stall"
    """Fall silent later, with the connection open, for ``hold_ms`` (then close) or for ever."""
    CUT = "cut"
    """Close the connection later, without an end; ``reset`` sends a TCP reset."""
    MALFORMED_CHUNK = "malformed_chunk"
    """Send one chunk that is no JSON later, and go on; a reply in one piece is no JSON itself."""
    MISSING_DONE = "missing_done"
    """End the stream properly, without ``data: [DONE]``."""
    ERROR_IN_STREAM = "error_in_stream"
    """Send an error object as a chunk later, and end the stream; unstreamed: answer 500."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    ``after_chunks`` counts pieces of the answer that are sent before it strikes: none given means before the
    first byte, 0 after the headers and the role. A reply in one piece breaks off in its middle for any
    number. ``status``, ``headers``, ``code``, ``message`` and ``body`` shape an error answer; times are
    milliseconds.
    """

    kind: FaultKind
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    message: str | None = None
    body: Any = None
    after_chunks: int | None = None
    delay_ms: int = 20_000
    hold_ms: int | None = None
    reset: bool = False

    @classmethod
    def parse(cls, value: object, place: str) -> "Fault":
        """Read a fault: a kind by itself, or a mapping with ``kind`` or ``status``; raises `ScriptError`."""
        fields = Fields({"kind": value} if isinstance(value, str) else value, place)
        status = fields.take_count("status")
        named = fields.take("kind", str) or (FaultKind.STATUS if status is not None else None)
        if named is None or named not in set(FaultKind):
            raise ScriptError(f"{place}.kind: expected one of {', '.join(FaultKind)}, got {named!r}")
        kind = FaultKind(named)
        fault = cls(
            kind=kind,
            status=status if status is not None else _STATUS.get(kind, 500),
            headers=fields.take_texts("headers"),
            code=fields.take("code", str) or _CODE.get(kind),
            message=fields.take("message", str),
            body=fields.take_any("body"),
            after_chunks=fields.take_count("after_chunks"),
            delay_ms=_given(fields.take_count("delay_ms"), 20_000),
            hold_ms=fields.take_count("hold_ms"),
            reset=bool(fields.take("reset", bool)),
        )
        fields.end()
        return fault

    def error_body(self) -> dict[str, Any]:
        """The error as the OpenAI API writes it."""
        error = {
            "message": self.message or _MESSAGE.get(self.kind) or f"The fake provider answers {self.status}.",
            "type": _TYPE.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error"),
            "param": "messages" if self.kind is FaultKind.CONTEXT_LENGTH_EXCEEDED else None,
            "code": self.code if self.code is not None else _CODE_OF_STATUS.get(self.status),
        }
        return {"error": error}


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


_STATUS = {FaultKind.CONTEXT_LENGTH_EXCEEDED: 400, FaultKind.CONTENT_FILTER: 400}
_CODE = {
    FaultKind.CONTEXT_LENGTH_EXCEEDED: "context_length_exceeded",
    FaultKind.CONTENT_FILTER: "content_filter",
}
_MESSAGE = {
    FaultKind.CONTEXT_LENGTH_EXCEEDED: "The messages have more tokens than the context of this model.",
    FaultKind.CONTENT_FILTER: "The response was filtered because the prompt triggered the content policy.",
}
_TYPE = {429: "requests"}
_CODE_OF_STATUS = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
