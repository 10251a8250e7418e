"""Sparse matrices in numpy alone: rows of features by column, multiplied with dense matrices in both directions.

Rows with about as many entries are padded to one width and multiplied as a batch: a gather and a product of
matrices, which is within a factor of two of what compiled sparse libraries do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_GATHERED = 2_000_000
"""Numbers that one step may gather: 8 MB, which caches mostly hold."""
_FEW = 100_000
"""Below so many entries a step costs more than what is padded: rows of more different lengths share one."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one width: their numbers, and by row the columns and values (0 where padded)."""

    rows: Ints
    columns: Ints
    values: Floats


class SparseMatrix:
    """An immutable matrix of ``shape`` from its entries by row: ``starts`` bounds each row's part of the others."""

    def __init__(self, starts: Ints, columns: Ints, values: Floats, width: int) -> None:
        self.shape = (len(starts) - 1, width)
        self.starts, self.columns, self.values = starts, columns, values
        self._forward = _groups(starts, columns, values)
        order = np.argsort(columns, kind="stable")
        rows = np.repeat(np.arange(self.shape[0]), np.diff(starts))[order]
        bounds = np.searchsorted(columns[order], np.arange(width + 1))
        self._backward = _groups(bounds, rows, values[order])

    def dot(self, dense: Floats) -> Floats:
        """``self @ dense``."""
        return _product(self._forward, dense, self.shape[0])

    def transposed_dot(self, dense: Floats) -> Floats:
        """``self.T @ dense``."""
        return _product(self._backward, dense, self.shape[1])


class Features:
    """What a model sees of texts: sparse columns, then dense ones where there are any."""

    def __init__(self, sparse: SparseMatrix, dense: Floats | None) -> None:
        self._sparse = sparse
        self._dense = dense

    def dot(self, weights: Floats) -> Floats:
        """``self @ weights``."""
        width = self._sparse.shape[1]
        product = self._sparse.dot(weights[:width])
        return product if self._dense is None else product + self._dense @ weights[width:]

    def transposed_dot(self, values: Floats) -> Floats:
        """``self.T @ values``."""
        product = self._sparse.transposed_dot(values)
        return product if self._dense is None else np.vstack([product, self._dense.T @ values])


def _groups(starts: Ints, columns: Ints, values: Floats) -> list[_Group]:
    lengths = np.diff(starts)
    groups = []
    for low, high in _widths(int(lengths.max(initial=0)), 2.0 if len(values) < _FEW else 1.25):
        rows = np.flatnonzero((lengths > low) & (lengths <= high))
        if len(rows) == 0:
            continue
        offsets = np.arange(high)
        real = offsets < lengths[rows][:, None]
        positions = np.where(real, starts[rows][:, None] + offsets, 0)
        groups.append(
            _Group(rows, np.where(real, columns[positions], 0), np.where(real, values[positions], 0))
        )
    return groups


def _widths(longest: int, growth: float) -> Iterator[tuple[int, int]]:
    """Bounds of widths, each so many times the one before."""
    low = 0
    while low < longest:
        high = max(low + 1, int(low * growth))
        yield low, high
        low = high


def _product(groups: Sequence[_Group], dense: Floats, rows: int) -> Floats:
    result = np.zeros((rows, dense.shape[1]), dtype=np.float32)
    for group in groups:
        step = max(1, _GATHERED // (group.columns.shape[1] * dense.shape[1]))
        for start in range(0, len(group.rows), step):
            part = slice(start, start + step)
            gathered = dense[group.columns[part]]
            result[group.rows[part]] = np.matmul(group.values[part][:, None, :], gathered)[:, 0]
    return result
