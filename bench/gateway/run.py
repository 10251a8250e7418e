"""``make bench-gateway``: our gateway beside nginx, LiteLLM, Portkey and TensorZero, in one run on two cores.

Each subject in turn has one core; the load, the provider, PostgreSQL and Redis have another. "direct" is the load on
the provider without anything between, whose times are subtracted from a subject's: what is left is what the subject
adds. A figure is called invalid when the subject was not the saturated one, and when foreign processes took its core.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loads import LOADS, QUICK_LOADS, Figure, Load, Missing, Subject, measure
from machine import CORES, LOAD_CORE, SUBJECT_CORE, on_core
from ours import NAME, gateway
from peers import litellm, litellm_redis, nginx, portkey, tensorzero
from place import Place, Starter
from profiling import sampled
from report import DIRECT, print_load
from targets import targets
from tools import cache_directory, command_of

from signalbox_local.errors import LocalError
from signalbox_local.ports import free_port
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import accepts_tcp

SUBJECTS: Mapping[str, Starter] = {
    "nginx": nginx,
    NAME: gateway,
    "litellm": litellm,
    "litellm-redis": litellm_redis,
    "portkey": portkey,
    "tensorzero": tensorzero,
}

_WARM_UP_CONNECTIONS = 16


@contextmanager
def provider(directory: Path, command: Sequence[str]) -> Iterator[int]:
    """The provider as a process on the load's core; gives its port."""
    port = free_port()
    process = ManagedProcess(
        "provider", [*command, str(port)], log=directory / "provider.log", ready=accepts_tcp(port)
    )
    with on_core(LOAD_CORE), process:
        yield port


@dataclass(frozen=True, slots=True)
class Result:
    """What one subject showed: its figures, and sentences about what was wrong in its books."""

    subject: Subject
    figures: dict[Load, Figure] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def measure_all(result: Result, loads: Sequence[Load], command: Sequence[str], seconds: float) -> None:
    """Put every load on one subject, and look into its books."""
    subject = result.subject
    answered = sent = 1
    # What is loaded, compiled or connected at the first calls of a kind belongs to no load.
    warm_up = {load.chunks > 0: load for load in loads if load.connections <= _WARM_UP_CONNECTIONS}
    for number, load in enumerate((*warm_up.values(), *loads)):
        figure = measure(command, subject, load, seconds)
        answered += figure.answered
        sent += figure.answered + figure.errors + load.connections
        if number >= len(warm_up):
            result.figures[load] = figure
            print(f"  {subject.name:<15}{load.title:<36}{figure.rps:>8.0f} RPS", flush=True)
    result.complaints.extend(subject.check(answered, sent))
    for sentence in result.complaints:
        print(f"  {subject.name}: {sentence}")


def profiled(subject: Subject, output: Path | None) -> AbstractContextManager[None]:
    """Samples our gateway meanwhile, if the caller wants to see that."""
    if output is None or subject.name != NAME:
        return nullcontext()
    return sampled(subject.pids[0], output)


def arguments() -> argparse.Namespace:
    """What the caller wants."""
    parser = argparse.ArgumentParser(description="Our gateway beside others, in one run on two cores.")
    parser.add_argument("--seconds", type=float, default=4.0, help="per load (default %(default)s)")
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, of: %(default)s")
    parser.add_argument(
        "--loads", default="", help="only loads whose title contains one of these, by semicolon"
    )
    parser.add_argument("--quick", action="store_true", help="half the loads, 2 s each")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    parser.add_argument("--profile", type=Path, help="sample our gateway, and write the folded stacks here")
    wanted = parser.parse_args()
    wanted.only = [name for name in wanted.only.split(",") if name]
    if unknown := set(wanted.only) - set(SUBJECTS):
        parser.error(f"no subject is named {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    return wanted


def loads_of(wanted: argparse.Namespace) -> list[Load]:
    """The loads that the caller wants."""
    parts = [part.strip() for part in wanted.loads.split(";") if part.strip()]
    candidates = QUICK_LOADS if wanted.quick else LOADS
    return [load for load in candidates if not parts or any(part in load.title for part in parts)]


def main() -> None:
    """Measure everything and print it."""
    wanted = arguments()
    if SUBJECT_CORE == LOAD_CORE:
        sys.exit("The bench needs two cores: one for the subject, one for the load.")
    loads, seconds = loads_of(wanted), 2.0 if wanted.quick else wanted.seconds
    cache = cache_directory()
    load_command, provider_command = command_of("load", cache), command_of("provider", cache)
    # The bench itself must not take time from a subject.
    os.sched_setaffinity(0, {LOAD_CORE})
    results: dict[str, Result] = {}
    print(
        f"{seconds:g} s a load; subject on core {SUBJECT_CORE}, load, provider and stores on core {LOAD_CORE} "
        f"of {len(CORES)}; load and provider: {Path(load_command[-1]).name}, {Path(provider_command[-1]).name}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="sb-bench-") as temporary,
        provider(Path(temporary), provider_command) as port,
    ):
        place = Place(Path(temporary), cache, port, wanted.profile and wanted.profile.absolute())
        results[DIRECT] = Result(Subject(DIRECT, port))
        measure_all(results[DIRECT], loads, load_command, seconds)
        for name in wanted.only:
            try:
                with SUBJECTS[name](place) as subject:
                    print(f"  {name}: first right answer {subject.ready_s:.2f} s after its start", flush=True)
                    results[name] = Result(subject)
                    with profiled(subject, wanted.profile):
                        measure_all(results[name], loads, load_command, seconds)
            except (Missing, LocalError) as error:
                first, *rest = str(error).splitlines()
                print(f"  {name} is left out: {first}", *rest[-5:], sep="\n    ", flush=True)
    tell(results, loads, wanted.json)


def tell(results: Mapping[str, Result], loads: Sequence[Load], file: Path | None) -> None:
    """Print the tables and the targets, and write everything to the file."""
    figures = {name: result.figures for name, result in results.items()}
    for load in loads:
        print_load(load, figures)
    if NAME in results:
        print("\nTargets that this run can judge")
        for target in targets(figures, results[NAME].subject):
            print(f"  {target}")
    if file is None:
        return
    told = {
        name: {
            "complaints": result.complaints,
            "loads": {load.title: asdict(figure) for load, figure in result.figures.items()},
        }
        for name, result in results.items()
    }
    file.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
