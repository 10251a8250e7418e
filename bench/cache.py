"""What the cache operations of the hot path cost, in memory and on Redis.

    python bench/cache.py [--seconds 1]

Each row is measured with one caller and with 16, which share one connection; `bare GET` is a pooled redis-py client
asking the same server for 1,000 bytes. `cpu` is this process's, `server` is Redis's own time per script.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis.asyncio as redis_py
import uvloop

from signalbox.common.cache import Cache, MemoryCache, StoredValue
from signalbox.common.cache.redis import RedisCache
from signalbox_local import RedisServer

STATE = bytes(1_000)
TTL_MS = 60_000
CALLERS = (1, 16)

Operation = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Cost:
    """Microseconds per operation."""

    wall: float
    cpu: float


async def measure(operation: Operation, callers: int, seconds: float) -> Cost:
    """Run the operation in a number of endless loops for a time; each gets the number of its caller."""
    done = 0
    stop = 0.0

    async def call(caller: int) -> None:
        nonlocal done
        while time.perf_counter() < stop:
            await operation(caller)
            done += 1

    for share in (0.2, 1.0):
        done = 0
        started, cpu = time.perf_counter(), time.process_time()
        stop = started + share * seconds
        await asyncio.gather(*(call(caller) for caller in range(callers)))
    return Cost((time.perf_counter() - started) / done * 1e6, (time.process_time() - cpu) / done * 1e6)


def operations(cache: Cache) -> dict[str, Operation]:
    """The operations of one turn, by name."""

    async def take(caller: int) -> None:
        await cache.leases.acquire(f"s{caller}", "turn", TTL_MS, read=f"s{caller}")

    async def take_and_give_back(caller: int) -> None:
        await take(caller)
        await cache.leases.release(f"s{caller}", "turn", StoredValue(f"s{caller}", STATE, TTL_MS))

    return {
        "get": lambda caller: cache.values.get(f"s{caller}"),
        "acquire+get": take,
        "acquire+get, release+put": take_and_give_back,
    }


async def bench(url: str, seconds: float) -> None:
    """Print the table."""
    bare = redis_py.Redis.from_url(url)
    await bare.set("bench", STATE)
    on_redis, in_memory = RedisCache(url), MemoryCache()
    base: dict[int, float] = {}
    print(
        f"{'us per call':42}" + "".join(f"{callers:>7} callers{'cpu':>8}{'x GET':>8}" for callers in CALLERS)
    )
    rows: list[tuple[str, str, Operation]] = [("redis-py", "bare GET", lambda _: bare.get("bench"))]
    rows += [("redis", name, operation) for name, operation in operations(on_redis).items()]
    rows += [("memory", name, operation) for name, operation in operations(in_memory).items()]
    for cache in (on_redis, in_memory):
        await cache.values.put(*(StoredValue(f"s{caller}", STATE, TTL_MS) for caller in range(max(CALLERS))))
    for place, name, operation in rows:
        line = f"{place:10}{name:32}"
        for callers in CALLERS:
            cost = await measure(operation, callers, seconds)
            ratio = cost.wall / base.setdefault(callers, cost.wall)
            line += f"{cost.wall:15.1f}{cost.cpu:8.1f}{ratio:8.2f}"
        print(line)
    scripts = (await bare.info("commandstats"))["cmdstat_evalsha"]
    print(f"Redis spent {scripts['usec_per_call']} us per script")
    await bare.aclose()
    await on_redis.close()


def main() -> None:
    """Start a Redis, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="per figure")
    seconds = parser.parse_args().seconds
    with RedisServer() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bench(server.url, seconds))


if __name__ == "__main__":
    main()
