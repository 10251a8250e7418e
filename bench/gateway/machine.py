"""The two cores of a bench: the subject has one, whatever it needs to be measured has the other."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

CORES = sorted(os.sched_getaffinity(0))
SUBJECT_CORE, LOAD_CORE = CORES[0], CORES[-1]

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core, with every thread and child it will have."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pids: Iterable[int]) -> list[psutil.Process]:
    """Processes and all that they started."""
    found: list[psutil.Process] = []
    for pid in pids:
        process = psutil.Process(pid)
        found += [process, *process.children(recursive=True)]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU used so far by process trees."""
    total = 0.0
    for process in tree(pids):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of process trees; pages that several of them share count for each."""
    total = 0
    for process in tree(pids):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


@dataclass(frozen=True, slots=True)
class Moment:
    """CPU seconds used up to now by the subject, by its stores, and by everything on the two cores."""

    subject: float
    stores: float
    subject_core: float
    load_core: float

    @classmethod
    def now(cls, subject: Iterable[int], stores: Iterable[int]) -> "Moment":
        """Read all of it."""
        return cls(cpu_seconds(subject), cpu_seconds(stores), _busy(SUBJECT_CORE), _busy(LOAD_CORE))


def _busy(core: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, interrupts, soft_interrupts, *_ = map(int, fields)
            return (user + nice + system + interrupts + soft_interrupts) / _TICKS
    raise RuntimeError(f"/proc/stat has no line for core {core}")
