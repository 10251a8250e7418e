"""Vectors that were made elsewhere, as training reads them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from signalbox.workflow.examples.features import Floats


class GivenVectors:
    """An encoder of texts whose vectors are known."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Read what was given.

        It has the encoder's ``identity``, the ``texts``, and their ``vectors``: 32-bit floats, row by row, in base64.
        """
        self.identity: str = given["identity"]
        texts: list[str] = given["texts"]
        self._places = {text: place for place, text in enumerate(texts)}
        numbers = np.frombuffer(base64.b64decode(given["vectors"]), dtype="<f4")
        self._vectors: Floats = numbers.reshape(len(texts), -1)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self._vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """A vector for each text. Raises KeyError for one that was not given."""
        rows: Floats = self._vectors[[self._places[text] for text in texts]]
        return rows
