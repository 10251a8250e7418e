"""Marks for providers that keep a prompt only as far as they are told to.

A caller says in a header where beginnings of its prompt end that later calls share; the body stays as every provider
understands it, and is marked on the way to those that want it. Source: Anthropic API, "Prompt caching":
``cache_control`` on content blocks, at most four in a request.
"""

import re
from typing import Any

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.protocol.request_body import COMMON_EXTENSIONS, Extensions, RequestBody

_MOST = 4
_INDEXES = re.compile(r"\d{1,6}(?:,\d{1,6})*")
_MARK = {"type": "ephemeral"}


@record
class MarkedBody(RequestBody):
    """A chat request whose ``ends`` are indexes of messages."""

    ends: tuple[int, ...] = ()

    @classmethod
    def of(cls, body: RequestBody, header: str) -> "MarkedBody":
        """``body`` with the marks that ``header`` names; of too many the last ones.

        Raises:
            MalformedCall: the header is no list of indexes.
        """
        if not _INDEXES.fullmatch(header):
            raise MalformedCall("'signalbox-llm-cache-marks' must be indexes of messages, such as 0,7.")
        ends = tuple(sorted({int(index) for index in header.split(",")}))
        return cls(body.raw, body.fields, body.model, ends[-_MOST:])

    def for_upstream(
        self,
        model: str,
        *,
        ask_usage: bool,
        extensions: Extensions = COMMON_EXTENSIONS,
        output_cap: int | None = None,
    ) -> bytes:
        """See ``RequestBody``; marked where the provider wants marks."""
        body = RequestBody.for_upstream(
            self, model, ask_usage=ask_usage, extensions=extensions, output_cap=output_cap
        )
        if "cache_marks" not in extensions:
            return body
        fields = orjson.loads(body)
        messages = fields["messages"]
        for index in self.ends:
            if index < len(messages):
                messages[index] = _marked(messages[index])
        return orjson.dumps(fields)


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    """A message with a mark on its last block; one without content stays as it is."""
    content = message.get("content")
    if message.get("role") == "tool":
        # Its content becomes one block.
        return {**message, "cache_control": _MARK}
    if isinstance(content, str) and content:
        return {**message, "content": [{"type": "text", "text": content, "cache_control": _MARK}]}
    if isinstance(content, list) and content and isinstance(content[-1], dict):
        return {**message, "content": [*content[:-1], {**content[-1], "cache_control": _MARK}]}
    return message
