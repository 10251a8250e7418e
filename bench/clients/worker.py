"""Measures one client in a process of its own; `compare.py` starts it and reads one JSON line from it.

CPU is `resource.getrusage` of this process (all threads, user and system) around the calls, so that a client
that works on a thread of its own pays for it here.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable

import adapters

IN_FLIGHT = 8
BODY = json.dumps(
    {"session_id": "s-1", "message": "where is my order 1042?", "metadata": {"channel": "web"}}
).encode()


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measured(call: Callable[[], Awaitable[object]], calls: int) -> tuple[float, float]:
    """CPU and wall microseconds per call of `calls` calls, 8 in flight."""
    left = calls

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    cpu, wall = cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    return (cpu_seconds() - cpu) / calls * 1e6, (time.perf_counter() - wall) / calls * 1e6


async def json_calls(client: adapters.Adapter, base: str, calls: int) -> dict[str, float]:
    """Small JSON POSTs; the answer must be the body."""

    async def call() -> None:
        if await client.post(f"{base}/echo", BODY) != BODY:
            raise RuntimeError("the echo differs")

    await measured(call, max(200, calls // 5))
    cpu, wall = await measured(call, calls)
    return {"cpu_us": cpu, "wall_us": wall}


async def streams(client: adapters.Adapter, base: str, calls: int) -> dict[str, float]:
    """Streams of 60 chunks, read as they come; every byte must arrive."""
    seen: set[int] = set()

    async def call() -> None:
        size = 0
        async for chunk in client.stream(f"{base}/stream"):
            size += len(chunk)
        seen.add(size)

    await measured(call, 20)
    cpu, wall = await measured(call, calls)
    if len(seen) != 1:
        raise RuntimeError(f"streams of different sizes: {seen}")
    return {"cpu_us": cpu, "wall_us": wall}


async def cancellation(client: adapters.Adapter, base: str) -> dict[str, object]:
    """Cancel eight waiting calls: how long until they end, and until the server sees their connections go."""
    before = json.loads(await client.get(f"{base}/hung"))["left"]
    tasks = [asyncio.create_task(client.get(f"{base}/hang")) for _ in range(8)]
    await asyncio.sleep(0.3)
    start = time.monotonic()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    ended = time.monotonic() - start
    while time.monotonic() - start < 3:
        state = json.loads(await client.get(f"{base}/hung"))
        if state["left"] - before == len(tasks):
            return {"task_ms": ended * 1e3, "server_ms": (state["left_at"] - start) * 1e3}
        await asyncio.sleep(0.01)
    return {"task_ms": ended * 1e3, "server_ms": None}


async def timeout(client: adapters.Adapter, base: str) -> dict[str, object]:
    """A timeout of 200 ms on one request: after how long it fires, and as what."""
    start = time.monotonic()
    try:
        await client.get(f"{base}/hang", seconds=0.2)
    except Exception as error:  # noqa: BLE001  (what it raises is the finding)
        name = f"{type(error).__name__}{' (TimeoutError)' if isinstance(error, TimeoutError) else ''}"
        return {"after_ms": (time.monotonic() - start) * 1e3, "raises": name}
    return {"after_ms": None, "raises": None}


async def stale(client: adapters.Adapter, method: str) -> str:
    """A kept connection that the server closes as the second request arrives: retried, or which error."""
    served: dict[int, int] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await _read_request(reader):
            served[id(writer)] = served.get(id(writer), 0) + 1
            if served[id(writer)] == 2:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        for _ in range(2):
            await (client.get(base) if method == "GET" else client.post(base, b"{}"))
    except Exception as error:  # noqa: BLE001  (what it raises is the finding)
        return type(error).__name__
    finally:
        server.close()
    return "retried"


async def _read_request(reader: asyncio.StreamReader) -> bool:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
    except asyncio.IncompleteReadError:
        return False
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
    return True


async def pinning(name: str) -> dict[str, object]:
    """A name that does not resolve, pinned to 127.0.0.1: is it in Host, and in the TLS greeting (SNI)?"""
    received: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found: dict[str, object] = {}
    for key, scheme in (("host", "http"), ("sni", "https")):
        received.clear()
        await adapters.pinned(name, f"{scheme}://api.example.test:{port}/", "127.0.0.1", port)
        found[key] = any(b"api.example.test" in data for data in received)
    server.close()
    return found


async def run(what: str, name: str, base: str, calls: int) -> object:
    """One measurement of one client."""
    client = adapters.make(name)
    try:
        if what == "json":
            return await json_calls(client, base, calls)
        if what == "stream":
            return await streams(client, base, calls)
        return {
            "cancellation": await cancellation(client, base),
            "timeout": await timeout(client, base),
            "stale_get": await stale(client, "GET"),
            "stale_post": await stale(client, "POST"),
            "pinning": None if name == "ServiceHop" else await pinning(name),
        }
    finally:
        await client.close()


def main() -> None:
    """Command line: what, client, base URL, calls, loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["json", "stream", "behaviour"])
    parser.add_argument("client")
    parser.add_argument("base")
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    options = parser.parse_args()
    loop_factory = None
    if options.loop == "uvloop":
        import uvloop  # noqa: PLC0415  (the asyncio rows must not import it)

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        found = runner.run(run(options.what, options.client, options.base, options.calls))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
