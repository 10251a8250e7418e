"""Rules: what matching a message costs that the process has never seen, at 100, 1,000 and 10,000 rules.

    make bench-rules DATA=folder

``folder`` holds sentences with labels: CSV with the columns ``text`` and ``category``, or JSON whose values are
lists of ``[sentence, label]``. Rules are made of the words of one half of the sentences, as people write them
(phrases, alternatives, optional words, gaps, numbers, keywords), an intent a label; the sentences of the other half
are the messages, each sent once, to a process that has just loaded the snapshot. The measured stage is all
of it: normalise, match, choose, captures and parameters.
"""

import argparse
import asyncio
import csv
import hashlib
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from signalbox.common.rules import DEFAULT_MEMORY, Re2Engine, ServingEngine, normalise
from signalbox.contracts.admin import BuildRequest, SnapshotDocument
from signalbox.workflow.build import Builder
from signalbox.workflow.snapshot import SnapshotCompiler

_SIZES = (100, 1_000, 10_000)
_MESSAGES = 10_000
_COMMON = 100
"""So many of the most frequent words tell nothing of what a message is about."""
_ENGINES = {"database": ServingEngine, "RE2 set": Re2Engine}


def sentences(folder: Path) -> list[tuple[str, str]]:
    """All different sentences of a folder, with their labels, in a fixed random order."""
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                found.update((row["text"], row["category"]) for row in csv.DictReader(file))
        elif path.suffix == ".json":
            stored = json.loads(path.read_text())
            lists = stored.values() if isinstance(stored, dict) else []
            found.update((entry[0], entry[1]) for part in lists for entry in part if len(entry) == 2)
    listed = sorted(found.items())
    random.Random(1).shuffle(listed)
    return listed


def document(known: list[tuple[str, str]], count: int, telling: int = 2) -> dict[str, Any]:
    """A workflow of ``count`` rules made of labelled sentences, with so many telling words each at least."""
    rng = random.Random(7)
    by_label: dict[str, list[list[str]]] = {}
    for text, label in known:
        by_label.setdefault(label, []).append(re.findall(r"[a-z0-9']+", text.lower()))
    frequency = Counter(word for texts in by_label.values() for words in texts for word in set(words))
    common = {word for word, _ in frequency.most_common(_COMMON)}
    intents: dict[str, dict[str, list[str]]] = {label: {"patterns": [], "keywords": []} for label in by_label}
    written: set[str] = set()
    while len(written) < count:
        label = rng.choice(sorted(by_label))
        kind, rule = _rule(rng, by_label[label], common, telling)
        if rule and rule not in written:
            written.add(rule)
            intents[label][kind].append(rule)
    return {
        "schema_version": "1",
        "workflow_id": "bench",
        "name": "Rules",
        "languages": ["en"],
        "intents": [
            {"id": re.sub(r"\W", "-", label), "when": when, "then": {"reply": "Yes."}}
            for label, when in sorted(intents.items())
            if when["patterns"] or when["keywords"]
        ],
    }


def _rule(rng: random.Random, texts: list[list[str]], common: set[str], least: int) -> tuple[str, str]:
    """A rule of some words of one sentence; empty where they make none."""
    words = rng.choice(texts)
    start = rng.randrange(len(words)) if words else 0
    phrase = words[start : start + rng.choice((2, 3, 3, 4))]
    telling = [word for word in phrase if word not in common]
    later = [word for word in words[start + len(phrase) :] if word not in common]
    if len(phrase) < 2 or len(telling) < least:
        return "patterns", ""
    plain = " ".join(phrase)
    other = rng.choice(rng.choice(texts) or [""])
    match rng.randrange(7):
        case 0:
            return "patterns", rf"\b{plain}\b"
        case 1 if later and other not in common:
            return "patterns", rf"\b(?:{telling[0]}|{other}) .*\b{later[0]}s?\b"
        case 2:
            return "patterns", rf"\b{phrase[0]} (?:the |my |a )?{' '.join(phrase[1:])}"
        case 3:
            return "patterns", rf"^{words[0]} .*\b{plain}\b"
        case 4:
            return "patterns", rf"\b{plain}\b.{{0,20}}\b#?(?P<number>\d{{3,8}})\b"
        case _:
            return "keywords", plain


def measure(folder: Path, engine: str, path: Path) -> dict[str, Any]:
    """Load a snapshot and match every message once; runs in a process of its own."""
    half = sentences(folder)
    messages = [text for text, _ in half[len(half) // 2 :]][:_MESSAGES]
    # What reads the document is imported and warmed before the clock starts, as in a process that serves.
    warm = SnapshotDocument(
        config_hash="0" * 64, tenant="bench", document=json.dumps(document(half[:500], 5))
    )
    SnapshotCompiler(Re2Engine(), {})(warm)
    fetched = SnapshotDocument.model_validate_json(path.read_bytes())
    memory = psutil.Process().memory_info().rss
    started = time.perf_counter()
    rules = SnapshotCompiler(_ENGINES[engine](DEFAULT_MEMORY), {})(fetched).rules
    ready = time.perf_counter() - started
    walls, cpus, fired = [], [], 0
    for message in messages:
        # The clock of the processor does not run while other processes have it.
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        hit = rules.match(normalise(message))
        cpus.append(time.thread_time_ns() - cpu)
        walls.append(time.perf_counter_ns() - wall)
        fired += hit is not None
    return {
        "ready_ms": ready * 1e3,
        "wall": _figures(walls),
        "cpu": _figures(cpus),
        "fired": fired / len(walls),
        "memory_mb": (psutil.Process().memory_info().rss - memory) / 1e6,
    }


def _figures(nanoseconds: list[int]) -> list[float]:
    """Mean, p50, p99 and worst, in microseconds."""
    ordered = sorted(nanoseconds)
    picked = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
    return [statistics.fmean(ordered) / 1e3, *(value / 1e3 for value in picked)]


async def build(known: list[tuple[str, str]], count: int, telling: int) -> tuple[SnapshotDocument, float]:
    """The snapshot of ``count`` rules as Admin hands it out, and the seconds that building it took."""
    text = json.dumps(document(known, count, telling))
    config_hash = hashlib.sha256(text.encode()).hexdigest()
    started = time.perf_counter()
    reply = await Builder(DEFAULT_MEMORY, 600).build(
        BuildRequest(tenant="bench", config_hash=config_hash, document=text)
    )
    taken = time.perf_counter() - started
    for problem in (*reply.errors, *reply.warnings):
        print(f"  {problem.code}: {problem.detail}")
    made = SnapshotDocument(config_hash=config_hash, tenant="bench", document=text, artefacts=reply.artefacts)
    return made, taken


def report(folder: Path, place: Path, telling: int) -> Iterator[str]:
    """The lines of the table."""
    listed = sentences(folder)
    known = listed[: len(listed) // 2]
    yield f"{len(listed)} sentences; microseconds a message, {_MESSAGES} at most, each sent once to a new process"
    yield f"{'':>17} {'wall clock':^33}   {'CPU':^33}"
    names = "".join(f"{name:>9}" for name in ("mean", "p50", "p99", "worst"))
    yield f"{'rules':>6} {'engine':<9} {names}  {names}  {'fired':>6} {'ready ms':>8} {'MB':>6}"
    for count in _SIZES:
        made, taken = asyncio.run(build(known, count, telling))
        path = place / f"{count}.json"
        path.write_text(made.model_dump_json())
        for engine in _ENGINES:
            done = subprocess.run(
                [sys.executable, __file__, str(folder), "--measure", engine, str(path)],
                check=True,
                stdout=subprocess.PIPE,
            )
            got = json.loads(done.stdout)
            wall, cpu = ("".join(f"{value:9.1f}" for value in got[kind]) for kind in ("wall", "cpu"))
            yield (
                f"{count:>6} {engine:<9} {wall}  {cpu}  {got['fired']:6.0%} {got['ready_ms']:8.0f} "
                f"{got['memory_mb']:6.1f}"
            )
        artefact = made.artefacts[0]
        yield (
            f"{'':>6}  built by {artefact.builder} in {taken:.1f} s; the artefact has "
            f"{len(artefact.data_base64) * 3 // 4 // 1024} KiB"
        )


def main() -> None:
    """Print the table, or measure one line of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "SNAPSHOT"))
    parser.add_argument(
        "--telling",
        type=int,
        default=2,
        help="words of a rule that are not common ones; 1: many rules fit each message",
    )
    parser.add_argument("--place", type=Path, default=Path(".signalbox/bench-rules"))
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.folder, given.measure[0], Path(given.measure[1]))))
        return
    given.place.mkdir(parents=True, exist_ok=True)
    for line in report(given.folder, given.place, given.telling):
        print(line, flush=True)


if __name__ == "__main__":
    main()
