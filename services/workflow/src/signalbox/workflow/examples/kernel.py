"""Nearness of sentence vectors as features: random Fourier features of a Gaussian kernel.

A linear model over them is one over ``exp(-|x - y|^2)``, which tells intents apart that lie between each other in the
encoder's space; no training sentence has to be kept (Rahimi and Recht, 2007; orthogonal as in Yu et al., 2016).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_SEED: Final = 20_260
_WEIGHT: Final = 12.0
"""How much nearness counts beside the two lexical views, each of which counts 1."""
_SHARPNESS: Final = 2.0


class NearnessMap:
    """Maps vectors of a width to ``2 * count`` features. The same for everybody: it is drawn with a fixed seed."""

    def __init__(self, width: int, count: int) -> None:
        generator = np.random.default_rng(_SEED)
        blocks = []
        for _ in range(0, count, width):
            turned, _ = np.linalg.qr(generator.normal(size=(width, width)))
            lengths = np.linalg.norm(generator.normal(size=(width, width)), axis=1)
            blocks.append(turned * lengths[:, None])
        self._directions = (np.vstack(blocks)[:count].T * _SHARPNESS**0.5).astype(np.float32)
        self._scale = np.float32((_WEIGHT / count) ** 0.5)

    @property
    def width(self) -> int:
        """How many features there are."""
        return 2 * len(self._directions.T)

    def __call__(self, vectors: Floats) -> Floats:
        """The features of vectors, by row; a vector of zeros, of which nothing is known, has none."""
        angles = vectors @ self._directions
        known = (np.abs(vectors).max(axis=-1, keepdims=True) > 0).astype(np.float32)
        features: Floats = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) * (known * self._scale)
        return features
