"""The classifier of a snapshot as it is served: loaded from its artefact, never trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from signalbox.workflow.examples.features import Floats, views
from signalbox.workflow.examples.kernel import NearnessMap
from signalbox.workflow.examples.packing import ForeignData, pack, unpack
from signalbox.workflow.examples.vectors import Row, Vocabulary

FORMAT: Final = 2
"""Since 2 features are of simplified characters."""
_WIDEST: Final = 16_384
_VIEWS: Final = ("words", "characters")


class Encoding:
    """How vectors of an encoder become features: which encoder, its width, and the map of nearness."""

    def __init__(self, encoder: str, width: int, directions: int) -> None:
        if not (0 < width <= _WIDEST and 0 < directions <= _WIDEST):
            raise ForeignData("a map of vectors that is too wide")
        self.encoder = encoder
        """The encoder's identity."""
        self.size = (width, directions)
        self.nearness = NearnessMap(width, directions)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores are read, as chosen on held-out folds when the snapshot was built."""

    slope_margin: float
    slope_familiar: float
    offset: float
    reject: float
    """Below this familiarity a message is out of scope."""
    accept: float
    """From this score on a message is routed without asking a model."""

    def score(self, margin: float, familiar: float) -> float:
        """The probability, 0 to 1, that the best intent is right for a message that is in scope."""
        logit = self.slope_margin * margin + self.slope_familiar * familiar + self.offset
        return 1 / (1 + math.exp(-min(60.0, max(-60.0, logit))))


@dataclass(frozen=True, slots=True)
class Ranking:
    """What examples say about one message."""

    intents: tuple[str, ...]
    """The likeliest, best first."""
    scores: tuple[float, ...]
    """The calibrated probability of each, 0 to 1, that it is right."""
    in_scope: bool
    """Whether the message is enough like the examples of any intent."""
    accept: float
    """The score chosen at build from which the first is routed."""

    @property
    def score(self) -> float:
        """That of the first."""
        return self.scores[0]


class ExampleClassifier:
    """Ranks intents by what their examples taught. Immutable; safe to use from several threads."""

    def __init__(
        self,
        intents: Sequence[str],
        vocabulary: Vocabulary,
        weights: npt.NDArray[np.int8],
        scales: Floats,
        calibration: Calibration,
        encoding: Encoding | None = None,
    ) -> None:
        self.encoding = encoding
        self.intents = tuple(intents)
        self.calibration = calibration
        self._vocabulary = vocabulary
        self._weights = weights
        self._scales = scales
        self._dense = weights[len(vocabulary) :].astype(np.float32)

    @classmethod
    def quantised(
        cls,
        intents: Sequence[str],
        vocabulary: Vocabulary,
        weights: Floats,
        calibration: Calibration,
        encoding: Encoding | None = None,
    ) -> "ExampleClassifier":
        """A classifier of trained weights (features by intents), each kept as one byte."""
        scales = np.maximum(np.abs(weights).max(axis=0, initial=0), 1e-6).astype(np.float32) / np.float32(127)
        return cls(
            intents, vocabulary, np.rint(weights / scales).astype(np.int8), scales, calibration, encoding
        )

    @property
    def size(self) -> int:
        """Bytes in memory."""
        tables = sum(part.nbytes for part in (*self._vocabulary.hashes, *self._vocabulary.rarities))
        return self._weights.nbytes + self._dense.nbytes + self._scales.nbytes + tables

    @property
    def features(self) -> int:
        """How many features the examples have."""
        return len(self._vocabulary)

    def takes(self, vector: Sequence[float]) -> bool:
        """Whether a vector has as many numbers as those that the classifier was trained with."""
        return self.encoding is not None and len(vector) == self.encoding.size[0]

    def rank(self, text: str, vector: Sequence[float] | Floats | None = None, most: int = 5) -> Ranking:
        """The likeliest intents of a normalised text; ``vector`` is what the classifier's encoder makes of it."""
        row = self._vocabulary.row(views(text))
        scores = self._scores(row, vector)
        order = np.argsort(-scores, kind="stable")[:most]
        margin, familiar = signals(scores, row.coverage)
        first = self.calibration.score(margin, familiar)
        # The others lead by less than nothing; two that tie have the same score.
        behind = [
            self.calibration.score(
                float(scores[place] - scores[order[0]]), float(scores[place]) * row.coverage
            )
            for place in order[1:]
        ]
        return Ranking(
            tuple(self.intents[place] for place in order),
            (first, *(min(score, 1 - first) for score in behind)),
            familiar >= self.calibration.reject,
            self.calibration.accept,
        )

    def _scores(self, row: Row, vector: Sequence[float] | Floats | None) -> Floats:
        product: Floats = row.values @ self._weights[row.columns].astype(np.float32)
        if self.encoding is not None:
            if vector is None:
                raise ValueError("this classifier needs the vector of its encoder")
            product = product + self.encoding.nearness(np.asarray(vector, dtype=np.float32)) @ self._dense
        return product * self._scales

    def serialise(self) -> bytes:
        """Data (no code) from which ``load`` makes the same classifier."""
        rule = self.calibration
        facts: dict[str, Any] = {
            "format": FORMAT,
            "intents": list(self.intents),
            "unknown": self._vocabulary.unknown,
            "calibration": [rule.slope_margin, rule.slope_familiar, rule.offset, rule.reject, rule.accept],
        }
        if self.encoding is not None:
            facts["encoding"] = [self.encoding.encoder, *self.encoding.size]
        arrays: dict[str, npt.NDArray[Any]] = {"weights": self._weights, "scales": self._scales}
        for name, hashes, rarities in zip(
            _VIEWS, self._vocabulary.hashes, self._vocabulary.rarities, strict=True
        ):
            arrays[name] = hashes
            arrays[f"{name}_rarity"] = rarities
        return pack(facts, arrays)

    @classmethod
    def load(cls, data: bytes) -> "ExampleClassifier":
        """Make a classifier of what ``serialise`` returned. Raises ForeignData for any other bytes."""
        facts, arrays = unpack(data)
        try:
            if facts["format"] != FORMAT:
                raise ForeignData(f"format {facts['format']} is not {FORMAT}")
            intents = [str(intent) for intent in facts["intents"]]
            hashes = [arrays[name] for name in _VIEWS]
            rarities = [arrays[f"{name}_rarity"] for name in _VIEWS]
            vocabulary = Vocabulary(hashes, rarities, float(facts["unknown"]))
            calibration = Calibration(*map(float, facts["calibration"]))
            weights, scales = arrays["weights"], arrays["scales"]
            made = facts.get("encoding")
            encoding = None if made is None else Encoding(str(made[0]), int(made[1]), int(made[2]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ForeignData(f"these bytes are not a classifier of this release: {error}") from error
        features = len(vocabulary) + (0 if encoding is None else encoding.nearness.width)
        fits = weights.shape == (features, len(intents)) and scales.shape == (len(intents),)
        if not fits or any(len(left) != len(right) for left, right in zip(hashes, rarities, strict=True)):
            raise ForeignData("the parts of the classifier do not fit each other")
        return cls(intents, vocabulary, weights, scales, calibration, encoding)


def signals(scores: Floats, coverage: float) -> tuple[float, float]:
    """What calibration looks at: the lead of the best intent over the next, and how familiar the message is.

    Familiarity is the best score times the known share of the text: a message about something else either scores
    low everywhere, or scores by a few words that it shares with the examples among many that it does not.
    """
    if len(scores) == 1:
        return float(scores[0]), float(scores[0]) * coverage
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second), float(first) * coverage
