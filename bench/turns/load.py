"""A load generator that costs little: raw HTTP/1.1 on kept connections, requests rendered beforehand.

Run as a process of its own: ``python bench/turns/load.py PLAN`` with a JSON plan on the command line; prints a
JSON result. Each connection sends its own list of bodies in turn and waits for each answer.
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One kept connection."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        self._head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())])
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Send one body; returns status and answer."""
        if self._reader is None or self._writer is None:
            raise RuntimeError("open the connection first")
        self._writer.write(f"{self._head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return int(head[9:12]), await self._reader.readexactly(length)


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry the plan out: warm up, then measure for a number of seconds."""
    connections = [Connection(plan["url"], plan.get("headers", {})) for _ in range(plan["connections"])]
    for connection in connections:
        await connection.open()
    latencies: list[float] = []
    wrong: list[str] = []
    expected = plan["expect"].encode()

    async def drive(index: int, until: float, *, counted: bool) -> None:
        body = json.dumps({**plan["body"], "session_id": f"bench-{plan['name']}-{index}"}).encode()
        while time.perf_counter() < until:
            started = time.perf_counter()
            status, answer = await connections[index].post(body)
            if counted:
                latencies.append(time.perf_counter() - started)
            if status != 200 or expected not in answer:
                wrong.append(f"{status} {answer[:300]!r}")
                return

    async def phase(seconds: float, *, counted: bool) -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(drive(index, until, counted=counted) for index in range(len(connections))))

    await phase(plan["warm_up_s"], counted=False)
    print("measuring", flush=True)
    used, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await phase(plan["seconds"], counted=True)
    wall = time.perf_counter() - started
    now = resource.getrusage(resource.RUSAGE_SELF)
    latencies.sort()
    count = len(latencies)
    return {
        "count": count,
        "wall_s": wall,
        "rps": count / wall,
        "p50_ms": latencies[count // 2] * 1000 if count else 0.0,
        "p99_ms": latencies[min(count - 1, count * 99 // 100)] * 1000 if count else 0.0,
        "load_cpu_s": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        "wrong": wrong[:3],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
