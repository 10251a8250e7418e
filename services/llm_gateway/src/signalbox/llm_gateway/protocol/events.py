"""Server-sent events, as far as the OpenAI protocol uses them.

Source: WHATWG HTML, "Server-sent events", 9.2.5: an event ends at a blank line; its data is the ``data:``
lines joined by line feeds.
"""

import re
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventBlocks:
    """Cuts a stream of bytes, arriving in any pieces, into whole events with their line ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes, byte for byte."""
        buffer = self._rest + chunk if self._rest else chunk
        if b"\r" not in buffer:
            # As nearly all providers send it.
            *blocks, self._rest = buffer.split(b"\n\n")
            return [block + b"\n\n" for block in blocks]
        blocks = []
        position = 0
        for blank in _BLANK_LINE.finditer(buffer):
            blocks.append(buffer[position : blank.end()])
            position = blank.end()
        self._rest = buffer[position:]
        return blocks

    def rest(self) -> bytes:
        """What came after the last blank line: an event that the sender did not end."""
        rest, self._rest = self._rest, b""
        return rest


def data_of(block: bytes) -> bytes | None:
    """The data of an event; None when it has none (a comment, as some providers send to keep the line open)."""
    if block.startswith(b"data:") and block.find(b"\n", 0, -2) < 0 and b"\r" not in block:
        return block[5:].strip()
    lines = [line[5:].strip() for line in block.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def event(value: Any) -> bytes:
    """An event whose data is ``value`` as JSON."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
