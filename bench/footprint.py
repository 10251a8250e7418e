"""What one process takes while nothing happens: to start, for each session that is idle, for each stream that is open.

A session is one that has had one turn. A stream is a turn under way whose client waits: its flow has called a backend
that does not answer yet. Memory is resident memory of the serving process, before and after; disk is what the files of
SQLite grow by.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from signalbox_local import OneProcess

_AT_ONCE = 16
_KIB = 1024
_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{"ok":true}'


class Gate:
    """A backend that answers nobody until it is opened."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._arrived = 0
        self._news = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, which ends its connection."""
        await reader.readuntil(b"\r\n\r\n")
        async with self._news:
            self._arrived += 1
            self._news.notify_all()
        await self._opened.wait()
        writer.write(_ANSWER)
        writer.close()

    async def have_come(self, number: int) -> None:
        """Return when so many requests wait here."""
        async with self._news:
            await self._news.wait_for(lambda: self._arrived >= number)

    def open(self) -> None:
        """Answer everybody."""
        self._opened.set()


def document(backend: str) -> dict[str, Any]:
    """A workflow with a rule that replies, and one whose flow calls the backend."""
    return {
        "schema_version": "1",
        "workflow_id": "footprint",
        "name": "Footprint",
        "languages": ["en"],
        "intents": [
            {"id": "hello", "when": {"patterns": ["^hello$"]}, "then": {"reply": "Hello to you."}},
            {"id": "wait", "when": {"patterns": ["^wait$"]}, "then": {"flow": "wait"}},
        ],
        "flows": [
            {
                "id": "wait",
                "steps": [
                    {"type": "call", "tool": "gate", "save_as": "came"},
                    {"type": "reply", "text": "It came."},
                ],
            }
        ],
        "tools": [
            {
                "id": "gate",
                "description": "Waits.",
                "request": {"url": f"{backend}/gate"},
                "timeout_ms": 120_000,
                "retry": {"attempts": 1},
            }
        ],
    }


class Subject:
    """The process that is looked at."""

    def __init__(self, system: OneProcess) -> None:
        self._system = system

    @property
    def memory_kib(self) -> float:
        """Resident memory."""
        return psutil.Process(self._system.process.pid).memory_info().rss / _KIB

    @property
    def cpu_s(self) -> float:
        """Processor time since the start of the process."""
        times = psutil.Process(self._system.process.pid).cpu_times()
        return times.user + times.system

    @property
    def descriptors(self) -> int:
        """Open files and connections."""
        return psutil.Process(self._system.process.pid).num_fds()

    @property
    def disk_kib(self) -> float:
        """Size of the databases, with what is not checkpointed yet."""
        return sum(file.stat().st_size for file in self._system.data.glob("*.db*")) / _KIB


async def _ask(client: aiohttp.ClientSession, name: str, number: int) -> None:
    body = {"session_id": f"{name}-{number}", "workflow_id": "footprint", "message": "hello"}
    async with client.post("/api/v1/query", json=body) as answer:
        answer.raise_for_status()
        await answer.read()


async def _some_at_once(work: Iterable[Awaitable[None]]) -> None:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Awaitable[None]) -> None:
        async with turns:
            await task

    await asyncio.gather(*map(one, work))


async def sessions(subject: Subject, client: aiohttp.ClientSession, count: int) -> dict[str, float]:
    """What a session that is idle takes: KiB of memory and of disk."""
    await _some_at_once(_ask(client, "warm", number) for number in range(500))
    memory, disk = subject.memory_kib, subject.disk_kib
    await _some_at_once(_ask(client, "idle", number) for number in range(count))
    return {
        "memory of an idle session, KiB": (subject.memory_kib - memory) / count,
        "disk of an idle session, KiB": (subject.disk_kib - disk) / count,
    }


@asynccontextmanager
async def _stream(client: aiohttp.ClientSession, number: int) -> AsyncIterator[aiohttp.ClientResponse]:
    body = {"session_id": f"stream-{number}", "workflow_id": "footprint", "message": "wait"}
    async with client.post("/api/v1/query/stream", json=body) as answer:
        answer.raise_for_status()
        yield answer


async def streams(
    subject: Subject, client: aiohttp.ClientSession, gate: Gate, count: int
) -> dict[str, float]:
    """What a stream takes while its turn waits for a backend: KiB of memory, and descriptors."""
    memory, descriptors = subject.memory_kib, subject.descriptors
    async with AsyncExitStack() as opened:
        answers = await asyncio.gather(
            *(opened.enter_async_context(_stream(client, number)) for number in range(count))
        )
        await gate.have_come(count)
        found = {
            "memory of an open stream, KiB": (subject.memory_kib - memory) / count,
            "descriptors of an open stream": (subject.descriptors - descriptors) / count,
        }
        gate.open()
        ends = await asyncio.gather(*(answer.text() for answer in answers))
    whole = sum("It came." in text for text in ends)
    assert whole == count, f"{count - whole} of {count} streams did not end whole"
    return found


async def measure(system: OneProcess, idle: int, opened: int) -> dict[str, float]:
    """All figures but those of the start."""
    subject, gate = Subject(system), Gate()
    server = await asyncio.start_server(gate.answer, "127.0.0.1", 0, backlog=opened)
    backend = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    connector = aiohttp.TCPConnector(limit=0)
    limits = aiohttp.ClientTimeout(total=120)
    async with server, aiohttp.ClientSession(system.edge_url, connector=connector, timeout=limits) as client:
        async with client.post("/admin/api/v1/publish", json={"document": document(backend)}) as answer:
            assert answer.status == 200, await answer.text()
        found = await sessions(subject, client, idle)
        return found | await streams(subject, client, gate, opened)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        env = {"SIGNALBOX_OUTBOUND_ALLOW": '["127.0.0.1"]', "SIGNALBOX_OLLAMA_URL": ""}
        system = OneProcess(Path(directory), env=env)
        try:
            system.start(120)
            first = Subject(system).cpu_s
            system.restart(120)
            subject = Subject(system)
            figures = {
                "processor time of a first start, s": first,
                "processor time of a start, s": subject.cpu_s,
                "memory when ready, KiB": subject.memory_kib,
                **asyncio.run(measure(system, given.sessions, given.streams)),
            }
        finally:
            system.stop()
    print(f"{given.sessions} sessions of one turn, then {given.streams} streams at once")
    for name, figure in figures.items():
        print(f"{name:>36} {figure:12.2f}")


if __name__ == "__main__":
    main()
