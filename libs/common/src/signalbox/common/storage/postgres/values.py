"""Values to and from PostgreSQL's text format (bytes travel as they are).

The types are those of `Statement`; sums of integers (``numeric``) come back as int, so that both databases
answer alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg.pq import Format
from psycopg.pq.abc import PGresult

from signalbox.common.storage.errors import NotStorable

# OIDs of PostgreSQL's built-in types: src/include/catalog/pg_type.dat.
_BOOL, _BYTEA, _INT8, _INT2, _INT4, _FLOAT4, _FLOAT8, _NUMERIC = 16, 17, 20, 21, 23, 700, 701, 1700


def encode(value: Any) -> bytes | None:
    """The value as PostgreSQL's text format has it; lists as an array literal.

    Raises NotStorable for text that no column can hold, TypeError for a type that statements do not take.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _encode_text(value)
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return repr(value).encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, (list, tuple)):
        return _encode_plain_texts(value) or b"{%b}" % b",".join(
            _encode_element(element) for element in value
        )
    raise TypeError(f"values of type {type(value).__name__} are not stored; convert them to text or a number")


def encode_all(values: Sequence[Any]) -> tuple[list[bytes | None], list[Format] | None]:
    """All parameters of a statement, and their formats when any of them is binary."""
    encoded = [encode(value) for value in values]
    for value in values:
        if isinstance(value, bytes):
            return encoded, [Format.BINARY if isinstance(each, bytes) else Format.TEXT for each in values]
    return encoded, None


def _encode_text(value: str) -> bytes:
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise NotStorable("Text must be valid Unicode; it holds half of a surrogate pair.") from None
    if b"\0" in encoded:
        raise NotStorable("Text must not hold the NUL character (U+0000).")
    return encoded


def _encode_plain_texts(values: Sequence[Any]) -> bytes | None:
    """A list of ids and the like, which need no escapes, at once; None for any other."""
    try:
        joined: str = '","'.join(values)
    except TypeError:
        return None
    plain = joined.isascii() and "\\" not in joined and "\0" not in joined
    if not plain or not values or joined.count('"') != 2 * (len(values) - 1):
        return None
    return b'{"%b"}' % joined.encode("ascii")


def _encode_element(value: Any) -> bytes:
    if isinstance(value, (bytes, list, tuple)):
        raise TypeError(f"a list of {type(value).__name__} cannot be a parameter")
    encoded = encode(value)
    if encoded is None:
        return b"NULL"
    return b'"%b"' % encoded.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _decode_bytes(value: bytes) -> bytes:
    return bytes.fromhex(value[2:].decode("ascii"))


def _decode_numeric(value: bytes) -> int | float:
    return int(value) if value.lstrip(b"-").isdigit() else float(value)


def _decode_bool(value: bytes) -> int:
    # SQLite has no booleans; both databases answer 0 or 1.
    return 1 if value == b"t" else 0


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    _BOOL: _decode_bool,
    _BYTEA: _decode_bytes,
    _INT8: int,
    _INT2: int,
    _INT4: int,
    _FLOAT4: float,
    _FLOAT8: float,
    _NUMERIC: _decode_numeric,
}


def decode_rows(result: PGresult) -> list[dict[str, Any]]:
    """The rows of a result in text format, as dictionaries by column name; unknown types as text."""
    count = result.ntuples
    if not count:
        return []
    columns = [
        (index, (result.fname(index) or b"").decode(), _DECODERS.get(result.ftype(index), bytes.decode))
        for index in range(result.nfields)
    ]
    get = result.get_value
    rows: list[dict[str, Any]] = []
    for number in range(count):
        row: dict[str, Any] = {}
        for index, name, decode in columns:
            value = get(number, index)
            row[name] = None if value is None else decode(value)
        rows.append(row)
    return rows
