"""``python -m replay DATA``: play recorded conversations, and print how many pass."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from replay.backend import RetailBackend
from replay.playing import Played, Stage, documents
from replay.provider import MODEL, RecordedModel, RecordedProvider
from replay.recordings import DataError, Recording, database_of, recordings_of
from signalbox_local import LocalError, LocalSystem, OneProcess, ServicesStack

_SHOWN = 500


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m replay",
        description="Run recorded conversations through Workflow, Skills and Tools, and print how many pass: every "
        "tool result before the first write equals the recorded one as JSON, every write is carried out exactly once.",
    )
    parser.add_argument(
        "data", type=Path, help="folder with retail_db.json and files of recorded conversations"
    )
    parser.add_argument(
        "--shape",
        choices=("services", "one_process"),
        default="services",
        help="six services on PostgreSQL and Redis behind Traefik (default), or one process",
    )
    parser.add_argument("--at-once", type=int, default=4, help="conversations at once (default %(default)s)")
    parser.add_argument(
        "--verbose", action="store_true", help="print what differs after the first write, too"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play them; the exit status is 0 where all pass, 1 where not, 2 for a folder that cannot be used."""
    options = parse(arguments)
    try:
        recordings, data = recordings_of(options.data), database_of(options.data)
    except (DataError, OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    model = RecordedModel()
    with RetailBackend(data) as backend, RecordedProvider(model) as provider:
        workflows = documents(recordings, backend.url)
        system = describe(options.shape, provider.base_url)
        try:
            with system:
                publish(system, workflows.values())
                begun = time.monotonic()
                stage = Stage(system.edge_url, model, backend, data, workflows)
                played = []
                for one in stage.play_all(recordings, options.at_once):
                    played.append(one)
                    tell(one, verbose=options.verbose)
        except LocalError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    took = time.monotonic() - begun
    print(f"{took:.1f} s in shape {options.shape}, {begun - started:.1f} s more to start")
    return summarise(played)


def describe(shape: str, provider_url: str) -> LocalSystem:
    """A Signalbox whose model is the recording, and that may call loopback."""
    env = {
        "OPENAI_BASE_URL": provider_url,
        "OPENAI_API_KEY": "recorded",
        "SIGNALBOX_MODEL": MODEL,
        "SIGNALBOX_OLLAMA_URL": "",
        "SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]',
    }
    return OneProcess(env=env) if shape == "one_process" else ServicesStack(env=env, workers=0)


def publish(system: LocalSystem, workflows: Iterable[Mapping[str, Any]]) -> None:
    """Publish each workflow, as an operator would."""
    for document in workflows:
        file = system.directory / f"{document['workflow_id']}.json"
        file.write_text(json.dumps(document))
        system.run_cli("publish", str(file), "--url", system.edge_url)


def tell(played: Played, *, verbose: bool) -> None:
    """Print one conversation."""
    recording: Recording = played.recording
    verdict = "FAIL" if played.problems else "pass"
    print(
        f"{verdict}  {recording.id}: {len(recording.turns)} turns, {played.reads[1]} results before a write, "
        f"{played.writes[1]} writes",
        flush=True,
    )
    for line in [*played.problems, *(played.later if verbose else [])]:
        print(f"      {line[:_SHOWN]}", flush=True)


def summarise(played: Sequence[Played]) -> int:
    """Print the numbers, the one that counts last; gives the exit status."""
    reads, results, writes = (
        [sum(getattr(one, name)[place] for one in played) for place in (0, 1)]
        for name in ("reads", "results", "writes")
    )
    judged = [one.right_end for one in played if one.right_end is not None]
    passed = sum(not one.problems for one in played)
    print(f"{reads[0]} of {reads[1]} tool results before the first write equal the recorded ones")
    print(f"{results[0]} of {results[1]} tool results in all")
    print(f"{writes[0]} of {writes[1]} writes reached the shop exactly once, in order, and ended as recorded")
    print(f"{sum(judged)} of {len(judged)} databases end as the recordings' judge found them")
    print(f"{passed} of {len(played)} conversations pass")
    return 0 if passed == len(played) else 1


if __name__ == "__main__":
    sys.exit(main())
