"""Training: from each intent's examples to a classifier, its thresholds and a report on held-out folds.

Runs in a process of its own when a snapshot is built. The same examples give the same bytes (on one kind of
processor, with one thread).
"""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from signalbox.workflow.examples import softmax
from signalbox.workflow.examples.background import STRANGERS
from signalbox.workflow.examples.calibration import calibrate, reject_below
from signalbox.workflow.examples.classifier import Encoding, ExampleClassifier, signals
from signalbox.workflow.examples.features import Floats, View, views
from signalbox.workflow.examples.report import HeldOut, Report, report_of
from signalbox.workflow.examples.sparse import Features, SparseMatrix
from signalbox.workflow.examples.texts import hints
from signalbox.workflow.examples.vectors import Row, Vocabulary

Ints = npt.NDArray[np.int64]

_STRENGTH: Final = 40.0
_STRENGTH_ENCODED: Final = 20.0
_DIRECTIONS: Final = 1536
"""Of sentence vectors: four for each of their 384 numbers."""
_ITERATIONS: Final = 40
_REFINED: Final = 12
"""Steps of a model of a fold, which begins at the model of all examples less the fold's own part."""
_FOLDS: Final = 5
_MANY: Final = 6_000
"""From so many examples on two folds are held out, not all five: they say as much, in less than half the time."""
_RARE_FROM: Final = 2_000
"""From so many examples on a feature that only one of them has is left out."""


@dataclass(frozen=True, slots=True)
class IntentExamples:
    """What there is to learn one intent from: normalised sentences, and its description (may be empty)."""

    id: str
    examples: tuple[str, ...]
    description: str = ""


class SentenceEncoder(Protocol):
    """Makes a vector of length one of each text; zeros where it cannot."""

    @property
    def identity(self) -> str:
        """Tells it from others: a classifier works with the encoder that it was trained with."""
        ...

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors, by row."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """A classifier, and how it does on examples that it had not seen."""

    classifier: ExampleClassifier
    report: Report


@dataclass(frozen=True, slots=True)
class _Set:
    """Texts with their intents (as numbers); the first ``real`` are examples, the rest ids and descriptions."""

    texts: list[str]
    views: list[tuple[View, ...]]
    dense: Floats | None
    labels: Ints
    real: int
    folds: Ints
    """By example, the fold that it is held out in; -1 for never (the only one of its intent, or no example)."""

    def take(self, rows: Ints) -> "_Texts":
        dense = None if self.dense is None else self.dense[rows]
        return _Texts([self.views[row] for row in rows], dense)


@dataclass(frozen=True, slots=True)
class _Texts:
    views: list[tuple[View, ...]]
    dense: Floats | None

    def rows(self, vocabulary: Vocabulary) -> tuple[Features, list[Row]]:
        rows = [vocabulary.row(text) for text in self.views]
        return Features(_matrix(rows, len(vocabulary)), self.dense), rows


@dataclass(frozen=True, slots=True)
class _Model:
    vocabulary: Vocabulary
    weights: Floats
    coefficients: Floats

    def scores(self, texts: _Texts) -> tuple[Floats, list[Row]]:
        features, rows = texts.rows(self.vocabulary)
        return features.dot(self.weights), rows


def train(intents: Sequence[IntentExamples], encoder: SentenceEncoder | None = None) -> Trained:
    """Learn to tell these intents apart, by words alone or by an encoder's vectors too.

    Intents without an example take no part.

    Raises:
        ValueError: fewer than two intents have examples.
    """
    started = time.monotonic()
    given = [intent for intent in intents if any(text.strip() for text in intent.examples)]
    if len(given) < 2:
        raise ValueError("a classifier needs two intents with examples")
    reader = _Reader(encoder)
    data = _gather(given, reader)
    everything = np.arange(len(data.labels))
    model = _fit(data, everything, len(given))
    held = _hold_out(data, model, [intent.id for intent in given])
    calibration = calibrate(held, _signals(model, reader.read(list(STRANGERS))))
    classifier = ExampleClassifier.quantised(
        [intent.id for intent in given], model.vocabulary, model.weights, calibration, reader.encoding
    )
    recall = _left_out_recall(data, model, len(given))
    report = report_of(held, classifier, data.real, recall)
    return Trained(classifier, replace(report, seconds=round(time.monotonic() - started, 2)))


class _Reader:
    """Reads texts as a model sees them."""

    def __init__(self, encoder: SentenceEncoder | None) -> None:
        self._encoder = encoder
        self.encoding: Encoding | None = None
        if encoder is not None:
            self.encoding = Encoding(encoder.identity, encoder.width, _DIRECTIONS)

    def read(self, texts: list[str]) -> _Texts:
        dense = None
        if self._encoder is not None and self.encoding is not None:
            dense = self.encoding.nearness(self._encoder.encode(texts))
        return _Texts([views(text) for text in texts], dense)


def _gather(intents: Sequence[IntentExamples], reader: _Reader) -> _Set:
    texts: list[str] = []
    labels: list[int] = []
    folds: list[int] = []
    for number, intent in enumerate(intents):
        own = sorted(
            {text for text in intent.examples if text.strip()},
            key=lambda text: (zlib.crc32(text.encode()), text),
        )
        texts += own
        labels += [number] * len(own)
        # Intents begin at different folds, or the first fold would get one of each small intent.
        folds += [(place + number) % _FOLDS if len(own) > 1 else -1 for place in range(len(own))]
    real = len(texts)
    for number, intent in enumerate(intents):
        told = hints(intent.id, intent.description)
        texts += told
        labels += [number] * len(told)
        folds += [-1] * len(told)
    read = reader.read(texts)
    return _Set(texts, read.views, read.dense, np.array(labels), real, np.array(folds))


def _fit(
    data: _Set, rows: Ints, classes: int, start: Floats | None = None, kept: Ints | None = None
) -> _Model:
    """A model of some of the texts; ``kept`` are the intents that it may name, all by default."""
    texts = data.take(rows)
    vocabulary = Vocabulary.of(texts.views, 2 if data.real >= _RARE_FROM else 1)
    features, _ = texts.rows(vocabulary)
    numbers = np.arange(classes) if kept is None else kept
    targets = (data.labels[rows][:, None] == numbers[None, :]).astype(np.float32)
    iterations = _ITERATIONS if start is None else _REFINED
    strength = _STRENGTH if texts.dense is None else _STRENGTH_ENCODED
    coefficients = softmax.fit(features, targets, strength, iterations, start)
    return _Model(vocabulary, features.transposed_dot(coefficients), coefficients)


def _hold_out(data: _Set, model: _Model, names: Sequence[str]) -> list[HeldOut]:
    """What models that had not seen an example say about it."""
    held = []
    for fold in range(_FOLDS if data.real < _MANY else 2):
        rest = np.flatnonzero(data.folds != fold)
        out = np.flatnonzero(data.folds == fold)
        if len(out) == 0:
            continue
        part = _fit(data, rest, len(names), model.coefficients[rest])
        scores, rows = part.scores(data.take(out))
        for place, line, row in zip(out, scores, rows, strict=True):
            margin, familiar = signals(line, row.coverage)
            best = int(line.argmax())
            held.append(HeldOut(data.texts[place], names[data.labels[place]], names[best], margin, familiar))
    return held


def _left_out_recall(data: _Set, model: _Model, classes: int) -> float | None:
    """The share of messages about intents that a model does not know which it rejects.

    One in five intents is left out; the threshold is chosen as for the real model, on a fold of the others.
    """
    left = np.arange(0, classes, _FOLDS)
    kept = np.setdiff1d(np.arange(classes), left)
    if len(kept) < 2:
        return None
    known = np.isin(data.labels, kept)
    rest = np.flatnonzero(known & (data.folds != 0))
    part = _fit(data, rest, classes, model.coefficients[rest][:, kept], kept)
    inside = _familiar(part, data, np.flatnonzero(known & (data.folds == 0)))
    outside = _familiar(part, data, np.flatnonzero(~known & (np.arange(len(known)) < data.real)))
    if len(inside) == 0 or len(outside) == 0:
        return None
    return float((outside < reject_below(inside)).mean())


def _signals(model: _Model, texts: _Texts) -> list[tuple[float, float]]:
    scores, rows = model.scores(texts)
    return [signals(line, row.coverage) for line, row in zip(scores, rows, strict=True)]


def _familiar(model: _Model, data: _Set, places: Ints) -> Floats:
    pairs = _signals(model, data.take(places))
    return np.array([familiar for _, familiar in pairs], dtype=np.float32)


def _matrix(rows: Sequence[Row], width: int) -> SparseMatrix:
    starts = np.cumsum([0, *(len(row.columns) for row in rows)])
    return SparseMatrix(
        starts,
        np.concatenate([row.columns for row in rows]) if rows else np.empty(0, dtype=np.int64),
        np.concatenate([row.values for row in rows]) if rows else np.empty(0, dtype=np.float32),
        width,
    )
