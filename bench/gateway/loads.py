"""What is asked of every subject, and how it is measured."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from machine import LOAD_CORE, Moment, cpu_seconds, on_core, resident_mb

from signalbox_local.ports import HOST

_END_S = 10.0
_REST_S, _REST_AT_MOST_S, _AT_REST = 0.5, 20.0, 0.1
PROMPT = "where is my order 1042?"


class Missing(Exception):
    """A subject, or a figure of it, cannot be had; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one kind over a number of connections. ``chunks`` is 0 for a plain answer."""

    delay_ms: int
    chunks: int
    connections: int

    @property
    def model(self) -> str:
        """The model whose name tells the provider what to answer."""
        return f"bench-{self.delay_ms}-{self.chunks}" if self.chunks else f"bench-{self.delay_ms}"

    @property
    def kind(self) -> str:
        """The load without its connections."""
        return f"streamed, {self.chunks} chunks" if self.chunks else f"plain, {self.delay_ms} ms"

    @property
    def title(self) -> str:
        """How tables call it."""
        return f"{self.kind}, {self.connections} connection{'s' if self.connections > 1 else ''}"

    @property
    def saturates(self) -> bool:
        """Whether it is meant to keep a subject busy all the time; else only its latency is compared."""
        return self.connections > 1 and self.delay_ms == 0


LOADS = (
    *(Load(0, 0, connections) for connections in (1, 16, 64)),
    *(Load(60, 0, connections) for connections in (1, 16, 64)),
    *(Load(0, 60, connections) for connections in (1, 16, 64)),
    Load(0, 20, 16),
)
QUICK_LOADS = (Load(0, 0, 1), Load(0, 0, 16), Load(60, 0, 16), Load(0, 60, 1), Load(0, 20, 16))
MODELS = sorted({load.model for load in LOADS})


@dataclass(frozen=True, slots=True)
class Subject:
    """A running gateway.

    ``pids`` are the roots of its process trees, ``stores`` those of the servers that it uses. ``model_prefix`` is what
    stands before a model's name there. ``ready_s`` is the time from its start to its first right answer.
    """

    name: str
    port: int
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    model_prefix: str = ""
    pids: Sequence[int] = ()
    stores: Sequence[int] = ()
    ready_s: float = 0.0
    check: Callable[[int, int], list[str]] = lambda _answered, _sent: []
    """What was wrong after calls of which so many were answered and at most so many sent, in sentences."""

    def request(self, load: Load) -> bytes:
        """One call as it goes over the wire."""
        body: dict[str, Any] = {
            "model": self.model_prefix + load.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 100,
        }
        if load.chunks:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        content = json.dumps(body, separators=(",", ":"))
        headers = {
            "host": f"{HOST}:{self.port}",
            "content-type": "application/json",
            "content-length": str(len(content)),
            **self.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n{content}".encode()


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured load. Times are milliseconds, CPU seconds; ``first`` is the time to the first token.

    ``others`` that foreign processes had that core, ``load_busy`` that the load's core was busy.
    """

    count: int
    answered: int
    rps: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    cpu_s: float
    stores_cpu_s: float
    rss_mb: float
    busy: float
    others: float
    load_busy: float
    errors: int
    first_error: str

    @property
    def per_core(self) -> float:
        """Calls for each CPU second of the subject: its RPS on a core of its own, whatever else ran on it."""
        return self.count / self.cpu_s if self.cpu_s else 0.0

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds of the subject for 1,000 calls."""
        return self.cpu_s / self.count * 1000 if self.count else float("inf")

    @property
    def stores_cpu_per_1000(self) -> float:
        """CPU seconds of the subject's stores for 1,000 calls."""
        return self.stores_cpu_s / self.count * 1000 if self.count else float("inf")

    @property
    def saturated(self) -> bool:
        """Whether the subject, not the load, was the limit: it used what its core had to give."""
        return self.busy > 0.9 * (1 - self.others)

    @property
    def disturbed(self) -> bool:
        """Whether foreign processes took a noticeable part of the subject's core."""
        return self.others > 0.05


def let_rest(subject: Subject) -> None:
    """Wait until the subject has done what the last load left it to do, for a while at most."""
    deadline = time.monotonic() + _REST_AT_MOST_S
    while subject.pids and time.monotonic() < deadline:
        before = cpu_seconds(subject.pids)
        time.sleep(_REST_S)
        if cpu_seconds(subject.pids) - before < _AT_REST * _REST_S:
            return


def measure(command: Sequence[str], subject: Subject, load: Load, seconds: float) -> Figure:
    """Put the load on the subject, once it has nothing to do; ``command`` is the load's.

    Raises:
        Missing: the load ended early, as it does when it cannot connect.
    """
    let_rest(subject)
    arguments = [subject.port, load.connections, min(1.0, seconds / 2), seconds, max(1, load.chunks)]
    with on_core(LOAD_CORE):
        process = subprocess.Popen(
            [*command, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the load has no pipes")
    process.stdin.write(subject.request(load))
    process.stdin.close()
    process.stdout.readline()
    before = Moment.now(subject.pids, subject.stores)
    line = process.stdout.readline()
    after = Moment.now(subject.pids, subject.stores)
    if process.wait(_END_S) or not line:
        raise Missing(f"the load on {subject.name} ended early: {load.title}")
    told = json.loads(line)
    wall_s = told["wall_s"]
    used = after.subject - before.subject
    return Figure(
        count=told["count"],
        answered=told["answered"],
        rps=told["count"] / wall_s,
        p50_ms=told["p50_us"] / 1000,
        p99_ms=told["p99_us"] / 1000,
        first_p50_ms=told["first_p50_us"] / 1000,
        first_p99_ms=told["first_p99_us"] / 1000,
        cpu_s=used,
        stores_cpu_s=after.stores - before.stores,
        rss_mb=resident_mb(subject.pids),
        busy=used / wall_s,
        others=max(0.0, (after.subject_core - before.subject_core - used) / wall_s),
        load_busy=(after.load_core - before.load_core) / wall_s,
        errors=told["errors"],
        first_error=told["first_error"],
    )
