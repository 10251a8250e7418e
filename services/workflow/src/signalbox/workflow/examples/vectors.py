"""From the views of a text to a row of a matrix: known features, weighted by how rare they are, of length one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from signalbox.workflow.examples.features import Floats, Hashes, View

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """One text: the numbers of its known features, their values, and how much of the text they are."""

    columns: Ints
    values: Floats
    coverage: float
    """0 to 1: the share of the text's weight in known features, over all views."""


class Vocabulary:
    """The features of the examples, by view: hashes, ascending, and their inverse document frequencies."""

    def __init__(self, hashes: Sequence[Hashes], rarities: Sequence[Floats], unknown: float) -> None:
        self.hashes = list(hashes)
        self.rarities = list(rarities)
        self.unknown = unknown
        """The weight of a feature that no example has."""
        self._starts = np.cumsum([0, *(len(part) for part in hashes)])

    @classmethod
    def of(cls, texts: Sequence[tuple[View, ...]], at_least: int) -> "Vocabulary":
        """The vocabulary of these texts: features that ``at_least`` so many of them have."""
        hashes, rarities = [], []
        for views in zip(*texts, strict=True):
            found, counts = np.unique(np.concatenate([view.hashes for view in views]), return_counts=True)
            often = counts >= at_least
            hashes.append(found[often])
            rarities.append((1 + np.log((1 + len(texts)) / (1 + counts[often]))).astype(np.float32))
        return cls(hashes, rarities, float(1 + np.log(1 + len(texts))))

    def __len__(self) -> int:
        """How many features there are."""
        return int(self._starts[-1])

    def row(self, text: tuple[View, ...]) -> Row:
        """A text by its known features; each view has length one."""
        columns, values, coverage = [], [], 1.0
        for number, view in enumerate(text):
            table = self.hashes[number]
            places = np.minimum(np.searchsorted(table, view.hashes), max(0, len(table) - 1))
            known = table[places] == view.hashes if len(table) else np.zeros(len(places), dtype=bool)
            places = places[known]
            weights = view.weights[known] * self.rarities[number][places]
            strangers = view.weights[~known] * self.unknown
            inside, outside = float(weights @ weights), float(strangers @ strangers)
            if inside > 0:
                weights = weights * np.float32(inside**-0.5)
            columns.append(places + self._starts[number])
            values.append(weights)
            coverage *= (inside / (inside + outside)) ** 0.5 if inside > 0 else 0.0
        return Row(np.concatenate(columns), np.concatenate(values), coverage)
