"""How well intents are told apart: a table for every set of sentences in a folder.

``make bench-intents DATA=folder`` trains on each set with all examples and with ten per intent, and asks what was
held out. Shares are in percent; times are CPU time of one thread.
"""

import argparse
import statistics
import time
from pathlib import Path

from sets import IntentSet, Labelled, read_folder

from signalbox.common.rules import normalise
from signalbox.workflow.examples.classifier import ExampleClassifier, Ranking
from signalbox.workflow.examples.encoder import Encoder
from signalbox.workflow.examples.training import IntentExamples, train

FEW = 10
DRAWS = 3
COLUMNS = (
    "set",
    "accuracy",
    "in scope kept",
    "out of scope found",
    "µs a message",
    "p99",
    "memory MB",
    "artefact MB",
    "training s",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="a part of the name of the sets to try")
    parser.add_argument("--encoder", type=Path, help="an ONNX file of a sentence encoder")
    parser.add_argument("--examples", choices=("few", "all", "both"), default="both")
    options = parser.parse_args()
    encoder = None if options.encoder is None else Encoder(options.encoder)
    how = "by words" if encoder is None else "with an encoder"
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS), flush=True)
    for found in read_folder(options.folder):
        if options.only not in found.name:
            continue
        if options.examples != "all":
            few = [_measure(found, found.few(FEW, seed), encoder) for seed in range(DRAWS)]
            _print(f"{found.name}, {FEW} per intent, {how}", few)
        if options.examples != "few":
            _print(f"{found.name}, all examples, {how}", [_measure(found, found.train, encoder)])


def _measure(found: IntentSet, examples: Labelled, encoder: Encoder | None) -> tuple[float | None, ...]:
    started = time.process_time()
    trained = train(_lessons(examples), encoder)
    took = time.process_time() - started
    data = trained.classifier.serialise()
    classifier = ExampleClassifier.load(data)
    right = kept = 0
    times = []
    for text, label in found.test:
        before = time.thread_time_ns()
        ranking = _ranked(classifier, text, encoder)
        times.append((time.thread_time_ns() - before) / 1000)
        right += ranking.intents[0] == label
        kept += ranking.in_scope
    strange = [not _ranked(classifier, text, encoder).in_scope for text in found.out_of_scope]
    return (
        100 * right / len(found.test),
        100 * kept / len(found.test),
        100 * sum(strange) / len(strange) if strange else None,
        statistics.mean(times),
        sorted(times)[len(times) * 99 // 100],
        classifier.size / 1e6,
        len(data) / 1e6,
        took,
    )


def _ranked(classifier: ExampleClassifier, text: str, encoder: Encoder | None) -> Ranking:
    """What serving a message computes, from its text on."""
    plain = normalise(text)
    return classifier.rank(plain, None if encoder is None else encoder.encode([plain])[0])


def _lessons(examples: Labelled) -> list[IntentExamples]:
    texts: dict[str, list[str]] = {}
    for text, label in examples:
        texts.setdefault(label, []).append(normalise(text))
    return [IntentExamples(label, tuple(own)) for label, own in sorted(texts.items())]


def _print(name: str, runs: list[tuple[float | None, ...]]) -> None:
    cells = []
    for values in zip(*runs, strict=True):
        numbers = [value for value in values if value is not None]
        cells.append(f"{statistics.mean(numbers):.1f}" if numbers else "-")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
