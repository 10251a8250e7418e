"""Vectors of texts, and which of many is nearest to one, without a numeric library.

A vector is kept as 32-bit floats of length 1, with the signs of its numbers as the bits of one integer. Vectors that
point the same way have the same signs nearly everywhere, and counting the bits in which two integers differ takes a
hundredth of the time of a product; so signs choose a few, and products decide among those. What signs miss is a call
that a model answers, and no wrong answer.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul

COMPARED = 16
"""How many vectors, of those with the likest signs, are compared exactly."""

_SIZE_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A direction: ``numbers`` have length 1, and bit ``i`` of ``signs`` says that number ``i`` is above zero."""

    numbers: "array[float]"
    signs: int

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Vector | None":
        """The direction of ``numbers``; None when they have none, or are not finite."""
        length = math.sqrt(sum(map(mul, numbers, numbers)))
        if not length or not math.isfinite(length):
            return None
        bits = "".join("1" if number > 0 else "0" for number in reversed(numbers))
        return cls(array("f", [number / length for number in numbers]), int(bits, 2))

    @classmethod
    def read(cls, written: bytes) -> "Vector":
        """From what ``written`` gave. Raises ValueError for anything else."""
        size = int.from_bytes(written[:_SIZE_BYTES], "big")
        signs = int.from_bytes(written[_SIZE_BYTES : _SIZE_BYTES + size], "big")
        return cls(array("f", written[_SIZE_BYTES + size :]), signs)

    def written(self) -> bytes:
        """As bytes: the signs with their size, then 32-bit floats in this machine's order."""
        signs = self.signs.to_bytes((len(self.numbers) + 7) // 8, "big")
        return len(signs).to_bytes(_SIZE_BYTES, "big") + signs + self.numbers.tobytes()

    def cosine(self, other: "Vector") -> float:
        """How alike two directions are: 1 for the same one, 0 for unrelated ones and for those of other spaces."""
        if len(self.numbers) != len(other.numbers):
            return 0.0
        return float(sum(map(mul, self.numbers, other.numbers)))


def nearest(to: Vector, among: Iterable[tuple[Vector, str]]) -> tuple[float, str] | None:
    """The likest of some named vectors: its cosine and name."""
    signs = to.signs
    chosen = sorted(among, key=lambda item: (item[0].signs ^ signs).bit_count())[:COMPARED]
    return max(((to.cosine(vector), name) for vector, name in chosen), default=None)
