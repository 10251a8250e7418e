"""Labelled sentences in a folder: CSV with a header (text, then its label), or JSON of named parts.

A CSV file is one set; beside ``x_train.csv`` may stand ``x_test.csv``, else a fifth of it is held out. A JSON file
is an object of lists of [text, label]: ``train``, and ``test`` or ``val``; parts whose names begin with ``oos`` are
out of scope and are never trained on.
"""

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_OUT = 0.2
SEED = 7

Labelled = list[tuple[str, str]]


@dataclass(frozen=True)
class IntentSet:
    """One set: what is learned, what is asked, and what is about something else."""

    name: str
    train: Labelled
    test: Labelled
    out_of_scope: list[str]

    def few(self, per_intent: int, seed: int) -> Labelled:
        """So many examples of each intent, drawn with a seed."""
        generator = random.Random(seed)
        return [
            (text, label)
            for label, texts in sorted(_by_label(self.train).items())
            for text in generator.sample(texts, min(per_intent, len(texts)))
        ]


def read_folder(folder: Path) -> Iterator[IntentSet]:
    """The sets of a folder, by name; JSON files of another shape are passed over."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".csv" and not path.stem.endswith("_test"):
            yield _from_csv(path)
        elif path.suffix == ".json":
            parts = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(parts, dict) and "train" in parts:
                yield _from_parts(path.stem, parts)


def _from_csv(path: Path) -> IntentSet:
    name = path.stem.removesuffix("_train")
    test = path.with_name(f"{name}_test.csv")
    if test.exists():
        return IntentSet(name, _rows(path), _rows(test), [])
    return IntentSet(name, *_split(_rows(path)), [])


def _from_parts(name: str, parts: dict[str, list[list[str]]]) -> IntentSet:
    train = _pairs(parts["train"])
    strange = [text for part, pairs in sorted(parts.items()) if part.startswith("oos") for text, _ in pairs]
    if "oos_test" in parts:
        strange = [text for text, _ in parts["oos_test"]]
    for part in ("test", "val"):
        if part in parts:
            return IntentSet(name, train, _pairs(parts[part]), strange)
    return IntentSet(name, *_split(train), strange)


def _split(pairs: Labelled) -> tuple[Labelled, Labelled]:
    """The same fifth of each intent, every time."""
    generator = random.Random(SEED)
    train: Labelled = []
    test: Labelled = []
    for label, texts in sorted(_by_label(pairs).items()):
        generator.shuffle(texts)
        held = max(1, round(len(texts) * HELD_OUT))
        test += [(text, label) for text in texts[:held]]
        train += [(text, label) for text in texts[held:]]
    return train, test


def _rows(path: Path) -> Labelled:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        next(rows)
        return [(row[0], row[1]) for row in rows if len(row) > 1]


def _pairs(pairs: Iterable[list[str]]) -> Labelled:
    return [(text, label) for text, label in pairs]


def _by_label(pairs: Labelled) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for text, label in pairs:
        texts[label].append(text)
    return dict(texts)
