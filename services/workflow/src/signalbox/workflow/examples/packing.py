"""A data-only container of arrays: a name of the format, a header in JSON, and the compressed numbers.

Nothing in it is code, and nothing is made of it but arrays of the kinds listed here (so no pickle, and not
numpy's own format, which may contain one).
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MAGIC: Final = b"SBEXMPL1"
_KINDS: Final = {"i1": "|i1", "u4": "<u4", "f4": "<f4"}
_MOST_BYTES: Final = 1 << 30


class ForeignData(ValueError):
    """These bytes are not what ``pack`` returned."""


def pack(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Facts (JSON) and arrays of bytes, uint32 or float32 as bytes; the same for the same content."""
    parts = []
    listed = []
    for name, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        parts.append(np.ascontiguousarray(array, dtype=_KINDS[kind]).tobytes())
        listed.append({"name": name, "kind": kind, "shape": list(array.shape)})
    header = json.dumps({"facts": dict(facts), "arrays": listed}, ensure_ascii=False, sort_keys=True).encode()
    return _MAGIC + len(header).to_bytes(4, "little") + header + zlib.compress(b"".join(parts), 6)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The facts and arrays of what ``pack`` returned. Raises ForeignData for any other bytes."""
    try:
        return _unpack(data)
    except (KeyError, TypeError, AttributeError, ValueError, zlib.error) as error:
        raise ForeignData(f"these bytes are not a classifier of this release: {error}") from error


def _unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    start = len(_MAGIC) + 4
    if data[: len(_MAGIC)] != _MAGIC:
        raise ForeignData("another format")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = json.loads(data[start:end])
    shapes = [
        (entry["name"], _KINDS[entry["kind"]], tuple(map(int, entry["shape"]))) for entry in header["arrays"]
    ]
    if any(size < 0 for _, _, shape in shapes for size in shape):
        raise ForeignData("a negative size")
    sizes = [int(np.dtype(kind).itemsize * np.prod(shape, dtype=object)) for _, kind, shape in shapes]
    if sum(sizes) > _MOST_BYTES:
        raise ForeignData("more than a gigabyte of numbers")
    unpacker = zlib.decompressobj()
    body = unpacker.decompress(data[end:], sum(sizes) + 1)
    if len(body) != sum(sizes) or not unpacker.eof:
        raise ForeignData("numbers are missing, or there are too many")
    arrays: dict[str, Array] = {}
    offset = 0
    for (name, kind, shape), size in zip(shapes, sizes, strict=True):
        arrays[name] = np.frombuffer(
            body, dtype=kind, count=size // np.dtype(kind).itemsize, offset=offset
        ).reshape(shape)
        offset += size
    return dict(header["facts"]), arrays
