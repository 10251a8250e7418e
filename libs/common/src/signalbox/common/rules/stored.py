"""The bytes that a set of rules is kept in: its rules and, after them, what an engine compiled them to."""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from signalbox.common.record import record

_FORMAT = "signalbox-rules/3"
"""Since 3 rules are in simplified characters."""
_SPEED = 6


@record
class StoredRules:
    """Rules as columns of a RuleTable, and a compiled database where one was built.

    Serialised: one line of JSON about what follows, then the rules as JSON, then the database, both compressed.
    """

    columns: Sequence[list[Any]]
    builder: str = ""
    """What made the database, with its version."""
    platform: str = ""
    trusts: Sequence[int] = ()
    """By rule: on which texts the database is trusted (Trust); -1 for rules that it does not hold."""
    size: int = 0
    """Bytes of the database."""
    packed: bytes = b""

    def to_bytes(self) -> bytes:
        """The serialised form."""
        table = pack(orjson.dumps([*self.columns, self.trusts]))
        head = {
            "format": _FORMAT,
            "table": len(table),
            "builder": self.builder,
            "platform": self.platform,
            "size": self.size,
            "sha256": hashlib.sha256(table + self.packed).hexdigest(),
        }
        return b"\n".join((orjson.dumps(head), table + self.packed))

    @classmethod
    def from_bytes(cls, data: bytes) -> "StoredRules":
        """Read it. Raises ValueError for anything else, damage included."""
        line, _, body = data.partition(b"\n")
        head = orjson.loads(line)
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise ValueError("these are not rules serialised by this release")
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            raise ValueError("the compiled rules are damaged")
        split = head["table"]
        *columns, trusts = orjson.loads(zlib.decompress(body[:split]))
        return cls(columns, head["builder"], head["platform"], trusts, head["size"], body[split:])

    def database(self) -> bytes:
        """The database, unpacked. Raises ValueError where it is not of its size."""
        unpacking = zlib.decompressobj()
        try:
            data = unpacking.decompress(self.packed, self.size)
        except zlib.error as error:
            raise ValueError("the compiled rules are damaged") from error
        if len(data) != self.size:
            raise ValueError("the compiled rules are damaged")
        return data


def pack(data: bytes) -> bytes:
    """A database, which is mostly zeros, or other data, compressed."""
    return zlib.compress(data, _SPEED)
