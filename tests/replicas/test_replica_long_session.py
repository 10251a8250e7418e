"""A session of a thousand turns over PostgreSQL, Redis and three replicas: the thousandth costs what the tenth did."""

import statistics
import sys
import time
from dataclasses import dataclass, fields
from itertools import cycle

import psycopg
import redis
from support.public_api import PublicApi, new_session
from support.replicas import Replicas

TURNS = 1_000
YOUNG = 10
BLOCKS = 15
BLOCK = 8
RATIO = 1.2
SLOWDOWN = 1.5
"""Of time on a machine that others use; a cost that grew with the session would be many times as large."""


@dataclass(frozen=True)
class Cost:
    """What some turns cost, by what the stores themselves count; time in seconds."""

    wal: int
    redis_commands: int
    redis_in: int
    redis_out: int
    time: float


def test_the_thousandth_turn_costs_what_the_tenth_did(replicas: Replicas, apis: list[PublicApi]) -> None:
    old, young = new_session(), new_session()
    turn = cycle(apis)
    for number in range(TURNS):
        next(turn).query(f"say {number % 10}", old)
    for number in range(YOUNG):
        next(turn).query(f"say {number}", young)
    costs: dict[str, list[Cost]] = {old: [], young: []}
    with (
        psycopg.connect(replicas.database_url, autocommit=True) as database,
        redis.Redis.from_url(replicas.redis.url) as cache,
    ):
        # In turns, a few of each: what the replicas do besides falls on both.
        for _ in range(BLOCKS):
            for session, found in costs.items():
                before = counted(database, cache)
                for number in range(BLOCK):
                    next(turn).query(f"say {number}", session)
                found.append(difference(before, counted(database, cache)))
    rows = replicas.rows("workflow_turns", session_id=old)
    assert [row["seq"] for row in rows] == list(range(1, TURNS + BLOCKS * BLOCK + 1))
    for field in fields(Cost):
        late, early = (
            statistics.median(getattr(cost, field.name) for cost in costs[name]) for name in (old, young)
        )
        sys.stdout.write(f"\n{BLOCK} turns after {TURNS}: {field.name} {late:g}, after {YOUNG}: {early:g}")
        assert early > 0, field.name
        allowed = SLOWDOWN if field.name == "time" else RATIO
        assert late <= early * allowed, f"{field.name}: {late} for the old session, {early} for the young"


def counted(database: psycopg.Connection[tuple[object, ...]], cache: "redis.Redis") -> Cost:
    """What the stores have counted so far."""
    row = database.execute("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone()
    assert row is not None
    told = cache.info("stats")
    assert isinstance(told, dict)
    return Cost(
        int(str(row[0])),
        told["total_commands_processed"],
        told["total_net_input_bytes"],
        told["total_net_output_bytes"],
        time.monotonic(),
    )


def difference(before: Cost, after: Cost) -> Cost:
    """What was counted between two looks."""
    return Cost(
        *(getattr(after, field.name) - getattr(before, field.name) for field in fields(Cost)),
    )
