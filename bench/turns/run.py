"""``make bench``: cases R and F (design: a rule that replies; a rule that runs a flow with one backend call).

One run, one machine: every figure is given as a ratio to the bare endpoint measured in the same run. The subject
is pinned to one core, load and backend to another; a figure is called invalid when the load, not the subject,
was the busy one. ``--seconds N`` measures each case longer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from signalbox_local.one_process import OneProcess
from signalbox_local.ports import free_port
from signalbox_local.postgres import PostgresServer
from signalbox_local.processes import ManagedProcess
from signalbox_local.readiness import answers_http
from signalbox_local.stack import ServicesStack

HERE = Path(__file__).resolve().parent
CORES = sorted(os.sched_getaffinity(0))
SUBJECT_CORE, LOAD_CORE = CORES[0], CORES[-1]
CONNECTIONS = 16
CASES = {
    "R": ({"message": "what are your opening hours?"}, "from 9 to 17"),
    "F": ({"message": "where is my order 1042?"}, "is shipped"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured case. ``cpu_ms`` is CPU milliseconds per query, by process name."""

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_ms: Mapping[str, float]
    load_busy: float
    subject_busy: float

    @property
    def valid(self) -> bool:
        """Whether the subject was the saturated one."""
        return self.load_busy < 0.9 and self.subject_busy > 0.7


def cpu_seconds(processes: Mapping[str, list[int]]) -> dict[str, float]:
    """CPU used so far by groups of processes, with their children."""
    used: dict[str, float] = {}
    for name, pids in processes.items():
        total = 0.0
        for pid in pids:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for member in family:
                try:
                    times = member.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                total += times.user + times.system
        used[name] = total
    return used


def pin(pids: list[int], core: int) -> None:
    """Keep processes, with their threads and children, on one core."""
    for pid in pids:
        for member in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            for thread in member.threads():
                try:
                    os.sched_setaffinity(thread.id, {core})
                except ProcessLookupError:
                    continue


def measure(
    name: str, url: str, body: dict[str, Any], expect: str, processes: Mapping[str, list[int]], seconds: float
) -> Figure:
    """Put load on a subject and measure both."""
    plan = {
        "name": name,
        "url": f"{url}/api/v1/query",
        "body": body,
        "expect": expect,
        "connections": CONNECTIONS,
        "warm_up_s": min(2.0, seconds / 2),
        "seconds": seconds,
    }
    load = subprocess.Popen(
        [sys.executable, str(HERE / "load.py"), json.dumps(plan)], stdout=subprocess.PIPE, text=True
    )
    pin([load.pid], LOAD_CORE)
    if load.stdout is None:
        raise RuntimeError("the load has no output")
    load.stdout.readline()
    before = cpu_seconds(processes)
    output, _ = load.communicate(timeout=seconds * 4 + 60)
    after = cpu_seconds(processes)
    result = json.loads(output)
    if result["wrong"]:
        raise SystemExit(f"{name}: wrong answers, so no figure: {result['wrong']}")
    used = {key: after[key] - before[key] for key in after}
    figure = Figure(
        rps=result["rps"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        cpu_ms={key: value / result["count"] * 1000 for key, value in used.items()},
        load_busy=result["load_cpu_s"] / result["wall_s"],
        subject_busy=sum(used.values()) / result["wall_s"],
    )
    print(f"  {name:<28} {figure.rps:7.0f} RPS", flush=True)
    return figure


@contextmanager
def bare_endpoint(url: str, directory: Path) -> Iterator[tuple[str, list[int]]]:
    """The bare endpoint as a process."""
    port = free_port()
    process = ManagedProcess(
        "bare",
        [sys.executable, str(HERE / "bare.py"), str(port), url, str(directory)],
        log=directory / "bare.log",
        ready=answers_http(f"http://127.0.0.1:{port}/ready"),
    )
    process.start()
    try:
        pin([process.pid], SUBJECT_CORE)
        yield f"http://127.0.0.1:{port}", [process.pid]
    finally:
        process.stop()


@contextmanager
def backend(directory: Path) -> Iterator[int]:
    """The backend of case F as a process; gives its port."""
    port = free_port()
    process = ManagedProcess(
        "backend",
        [sys.executable, str(HERE / "backend.py"), str(port)],
        log=directory / "backend.log",
        ready=answers_http(f"http://127.0.0.1:{port}/"),
    )
    process.start()
    try:
        pin([process.pid], LOAD_CORE)
        yield port
    finally:
        process.stop()


def backend_ms(port: int, tries: int = 200) -> float:
    """What one call of the backend takes, median over a kept connection."""
    taken = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(tries):
            started = time.perf_counter()
            client.get("/orders/1042")
            taken.append(time.perf_counter() - started)
    return sorted(taken)[tries // 2] * 1000


def environment(port: int) -> dict[str, str]:
    """What the system must know to call the backend."""
    return {
        "SIGNALBOX_VARIABLES": json.dumps({"backend_url": f"http://127.0.0.1:{port}"}),
        "SIGNALBOX_OUTBOUND_ALLOW": json.dumps([f"127.0.0.1:{port}"]),
        "SIGNALBOX_LOG_LEVEL": "warning",
    }


def one_process_shape(directory: Path, port: int, seconds: float) -> dict[str, Figure]:
    """Cases in one process, and what it takes to start."""
    system = OneProcess(directory, arguments=[str(HERE)], env=environment(port))
    started = time.perf_counter()
    with system:
        first_s = time.perf_counter() - started
        system.process.stop()
        started = time.perf_counter()
        system.process.start()
        again_s = time.perf_counter() - started
        process = psutil.Process(system.process.pid)
        rss = process.memory_info().rss / 1e6
        print(f"  ready in {first_s:.2f} s, again in {again_s:.2f} s, {rss:.0f} MB resident", flush=True)
        pin([process.pid], SUBJECT_CORE)
        groups = {"signalbox": [process.pid]}
        return {
            case: measure(f"one process, case {case}", system.edge_url, body, expect, groups, seconds)
            for case, (body, expect) in CASES.items()
        }


def services_shape(directory: Path, port: int, seconds: float, postgres: PostgresServer) -> dict[str, Figure]:
    """Cases in services, each its own process, all on the subject's core."""
    with ServicesStack(directory, env=environment(port), postgres=postgres) as stack:
        stack.run_cli("publish", str(HERE / "workflow.yaml"), "--url", stack.edge_url)
        groups = {name: [process.pid] for name, process in stack.processes().items()}
        if postgres.process is not None:
            groups["postgres"] = [postgres.process.pid]
        for pids in groups.values():
            pin(pids, SUBJECT_CORE)
        return {
            case: measure(f"services, case {case}", stack.edge_url, body, expect, groups, seconds)
            for case, (body, expect) in CASES.items()
        }


def report(title: str, bare: Figure, cases: Mapping[str, Figure], called_ms: float) -> None:
    """Print the table of one shape."""
    print(f"\n{title}")
    print(
        f"{'case':<8}{'RPS':>8}{'of bare':>9}{'p50 ms':>9}{'x bare':>8}{'p99 ms':>9}  {'CPU ms per query':<20}"
    )
    for name, figure in {"bare": bare, **cases}.items():
        p50 = figure.p50_ms - (called_ms if name == "F" else 0.0)
        cpu = ", ".join(
            f"{key} {value:.2f}" for key, value in sorted(figure.cpu_ms.items(), key=lambda item: -item[1])
        )
        mark = "" if figure.valid else "  INVALID: the subject was not the saturated one"
        print(
            f"{name:<8}{figure.rps:>8.0f}{figure.rps / bare.rps:>9.2f}{p50:>9.2f}{p50 / bare.p50_ms:>8.1f}"
            f"{figure.p99_ms:>9.2f}  {cpu} (load {figure.load_busy:.0%}, subject {figure.subject_busy:.0%}){mark}"
        )


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description="Cases R and F in both shapes, against the bare endpoint.")
    parser.add_argument("--seconds", type=float, default=8.0, help="per case (default %(default)s)")
    seconds = parser.parse_args().seconds
    body, expect = CASES["R"]
    print(
        f"{CONNECTIONS} connections, {seconds:g} s a case; subject on core {SUBJECT_CORE}, load on {LOAD_CORE}"
    )
    with tempfile.TemporaryDirectory() as temporary, backend(Path(temporary)) as port:
        root = Path(temporary)
        called_ms = backend_ms(port)

        def bare(url: str, name: str) -> Figure:
            with bare_endpoint(url, root) as (address, pids):
                return measure(f"bare endpoint, {name}", address, body, expect, {"bare": pids}, seconds)

        sqlite = bare(f"sqlite:///{root / 'bare.db'}", "SQLite")
        one = one_process_shape(root / "one", port, seconds)
        with PostgresServer() as postgres:
            postgresql = bare(postgres.create_database("bare"), "PostgreSQL")
            services = services_shape(root / "services", port, seconds, postgres)
    print(f"\nCase F: a call of the backend takes {called_ms:.2f} ms, subtracted from its p50.")
    report("One process (SQLite, in memory)", sqlite, one, called_ms)
    report("Services (PostgreSQL, Redis, Traefik; all on one core)", postgresql, services, called_ms)


if __name__ == "__main__":
    main()
