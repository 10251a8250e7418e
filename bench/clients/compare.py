"""Compares HTTP clients for the calls between services, and the ways to call an application in one process.

    python bench/clients/compare.py [--quick]

httpx2 and pyreqwest are not dependencies of Signalbox; they are measured when installed, for example with
``uv run --with httpx2 --with pyreqwest python bench/clients/compare.py``. The server runs in a process of its
own on one core, each measurement in a fresh process on another. Rounds are interleaved and the least CPU
counts: other work on the machine only ever adds to it. docs/adr/0002-http-client.md draws the conclusions.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLIENTS = ("httpx", "httpx2", "aiohttp", "pyreqwest")
ROWS = (*CLIENTS, "ServiceHop", "floor")
LIMIT_SECONDS = 120


def say(text: str) -> None:
    """Progress, beside the result."""
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


def version(name: str) -> str | None:
    """The installed version of a client; ours and the floor need none."""
    if name in ("ServiceHop", "floor"):
        return ""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def on_core(number: int) -> list[str]:
    """A command prefix that keeps a process on one core, where there are several (Linux's taskset)."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[number % len(cores)])] if len(cores) > 1 else []


def measure(*arguments: str) -> Any:
    """One measurement in a fresh process on the first core: its last line, or None if there is none."""
    done = subprocess.run(
        [*on_core(0), sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        say(f"exit code {done.returncode} from {' '.join(arguments[1:3])}: {done.stderr.strip()[:200]}")
    return json.loads(lines[-1]) if lines else None


@contextmanager
def server() -> Iterator[str]:
    """The benchmark's server on the second core; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*on_core(1), sys.executable, str(HERE / "server.py"), str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def rounds(names: list[str], base: str, what: str, loop: str, calls: int, times: int) -> dict[str, float]:
    """CPU microseconds per call of each client: the least of `times` interleaved rounds."""
    best: dict[str, float] = {}
    for number in range(times):
        for name in names:
            found = measure(
                str(HERE / "worker.py"), what, name, base, "--loop", loop, "--calls", str(scaled(name, calls))
            )
            if found:
                best[name] = min(best.get(name, 1e9), found["cpu_us"])
                say(f"{what} on {loop}, round {number + 1}/{times}: {name} {found['cpu_us']:.0f} us")
    return best


def scaled(name: str, calls: int) -> int:
    """Fewer calls for the slow clients, so that every row takes about as long."""
    return calls // 4 if name.startswith("httpx") else calls


def table(title: str, rows: Mapping[str, Mapping[str, float]], reference: str) -> None:
    """Prints columns of microseconds and, beside each, the ratio to the reference row."""
    columns = list(next(iter(rows.values())))
    print(f"\n{title}")
    print(f"{'':22}" + "".join(f"{column:>26}" for column in columns))
    for name, row in rows.items():
        cells = ""
        for column in columns:
            mine, other = row.get(column), rows[reference].get(column)
            cells += f"{mine:>17.0f} us {mine / other:>5.2f}x" if mine and other else f"{'-':>26}"
        print(f"{name + ' ' + (version(name) or ''):22}{cells}")


def behaviour(names: list[str], base: str) -> None:
    """Prints what each client does when things go wrong."""
    print("\nbehaviour")
    for name in names:
        say(f"behaviour: {name}")
        found = measure(str(HERE / "worker.py"), "behaviour", name, base)
        if not found:
            continue
        cancelled, timed_out = found["cancellation"], found["timeout"]
        seen = cancelled["server_ms"]
        pinning = found["pinning"]
        print(f"{name}")
        closed = f"after {seen:.1f} ms" if seen is not None else "not within 3 s"
        print(f"  cancel: task ends after {cancelled['task_ms']:.1f} ms, connections close {closed}")
        print(f"  timeout of 200 ms: {timed_out['raises']} after {timed_out['after_ms']:.0f} ms")
        print(f"  kept connection closed by the server: GET {found['stale_get']}, POST {found['stale_post']}")
        if pinning:
            print(f"  pinned address: Host kept {pinning['host']}, SNI kept {pinning['sni']}")


def in_process(calls: int) -> None:
    """Prints the costs of calls within a process."""
    say("in process")
    found = measure(str(HERE / "in_process.py"), str(calls))
    if not found:
        return
    print("\nin one process, CPU per call")
    for name, micros in found.items():
        print(f"{name:34}{micros:>10.1f} us")


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls: to see that it works")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    times = 1 if options.quick else 4
    names = [name for name in ROWS if version(name) is not None]
    for name in ROWS:
        if name not in names:
            print(f"{name} is not installed and left out (see --help)")
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"Python {platform.python_version()}, {machine}, 8 calls in flight")
    streaming = [name for name in names if name != "floor"]
    with server() as base:
        fast = rounds(names, base, "json", "uvloop", 8000 // scale, times)
        plain = rounds(names, base, "json", "asyncio", 8000 // scale, times)
        streamed = rounds(streaming, base, "stream", "uvloop", 600 // scale, times)
        rows = {
            name: {
                "JSON POST, uvloop": fast.get(name, 0.0),
                "JSON POST, asyncio": plain.get(name, 0.0),
                "60-chunk stream, uvloop": streamed.get(name, 0.0),
            }
            for name in names
        }
        table("client CPU per call, and ratio to aiohttp", rows, "aiohttp")
        behaviour(streaming, base)
    in_process(5000 // scale)


if __name__ == "__main__":
    main()
