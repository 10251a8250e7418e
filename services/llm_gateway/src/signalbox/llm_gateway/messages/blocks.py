"""The content blocks of a streamed message, one open at a time.

Anthropic's protocol sends block after block; in OpenAI's, deltas of several tool calls and of text may alternate.
A block ends when another begins, unless it is a tool call whose arguments are not whole yet: then the other waits.
"""

from collections.abc import Hashable, Iterator
from typing import Any

import orjson

Json = dict[str, Any]

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class _Block:
    """A block that is open or waits. ``head`` is how it begins."""

    def __init__(self, key: Hashable, head: Json) -> None:
        self.key = key
        self.head = head
        self.begun = False
        self.signature = ""
        self._unsent: list[str] = []
        self._arguments: list[str] = []

    def add(self, piece: str) -> None:
        self._unsent.append(piece)
        if self.head["type"] == "tool_use":
            self._arguments.append(piece)

    def take(self) -> list[str]:
        """The pieces that were not taken before."""
        pieces, self._unsent = self._unsent, []
        return [piece for piece in pieces if piece]

    def may_end(self) -> bool:
        """Whether nothing of it is missing that its form tells of."""
        if self.head["type"] != "tool_use":
            return True
        try:
            return isinstance(orjson.loads("".join(self._arguments)), dict)
        except orjson.JSONDecodeError:
            return False


class BlockEvents:
    """Makes ``content_block_start``, ``content_block_delta`` and ``content_block_stop`` events of deltas."""

    def __init__(self) -> None:
        self._index = 0
        self._blocks: list[_Block] = []  # the first one is open, the others wait
        self.size = 0
        """Bytes of text, thoughts and arguments so far."""
        self.called = False
        """Whether a tool was called."""

    def delta(self, key: Hashable, head: Json, piece: str) -> Iterator[Json]:
        """The events of ``piece``, which belongs to the block ``key``; ``head`` begins it where it is new."""
        self.size += len(piece.encode())
        self.called |= head["type"] == "tool_use"
        block = next((block for block in self._blocks if block.key == key), None)
        if block is None:
            block = _Block(key, head)
            self._blocks.append(block)
        block.add(piece)
        while len(self._blocks) > 1 and self._blocks[0].may_end():
            yield from self._end_first()
        yield from self._send_first()

    def sign(self, signature: str) -> None:
        """Keep the signature of the thoughts, which is sent at their end."""
        for block in self._blocks:
            if block.head["type"] == "thinking":
                block.signature = signature

    def end(self) -> Iterator[Json]:
        """The events that end every block."""
        while self._blocks:
            yield from self._end_first()

    def _send_first(self) -> Iterator[Json]:
        block = self._blocks[0]
        if not block.begun:
            block.begun = True
            yield {"type": "content_block_start", "index": self._index, "content_block": block.head}
        for piece in block.take():
            kind, member = _DELTAS[block.head["type"]]
            yield self._delta({"type": kind, member: piece})

    def _end_first(self) -> Iterator[Json]:
        yield from self._send_first()
        block = self._blocks.pop(0)
        if block.signature:
            yield self._delta({"type": "signature_delta", "signature": block.signature})
        yield {"type": "content_block_stop", "index": self._index}
        self._index += 1

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}
