"""Load while Redis and PostgreSQL are gone, frozen, slow or full: nothing lost, nothing stored or written twice."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psycopg
import pytest
from support.loaded_stack import LoadedStack, loaded_stack
from support.slow_proxy import SlowProxy
from support.turn_load import TurnLoad

from signalbox_local import RedisServer

pytestmark = pytest.mark.faults


class Form(NamedTuple):
    """Turns of the load at least, how often the fault comes, and for how many seconds."""

    turns: int
    times: int
    seconds: float


FORMS = [
    pytest.param(Form(200, 1, 3.0), id="short"),
    pytest.param(Form(10_000, 2, 30.0), id="full", marks=pytest.mark.soak),
]
FAULT_ENDS_S = 60.0
"""What may pass between the end of a fault and answers to all again, beside the fault itself."""
SLOW_S = 0.2
CLOSE_THEIRS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'signalbox'"
)


@pytest.fixture
def load(pairs: LoadedStack, form: Form) -> TurnLoad:
    return TurnLoad(
        pairs.stack.edge_url, pairs.backend, turns=form.turns, give_up_s=form.seconds + FAULT_ENDS_S
    )


def before_each(load: TurnLoad, form: Form) -> Iterator[int]:
    """Come back for each of the faults when a part of the load is through."""
    for number in range(form.times):
        load.wait_for(more_acknowledged=form.turns // (form.times + 1), timeout=600)
        yield number


def pass_time(seconds: float) -> None:
    """How long a fault lasts is what these tests are about; nothing else is waited for."""
    time.sleep(seconds)


@pytest.mark.parametrize("form", FORMS)
def test_redis_restarted_empty(pairs: LoadedStack, load: TurnLoad, form: Form) -> None:
    with load:
        for _ in before_each(load, form):
            pairs.stack.redis.kill()
            pairs.stack.redis.restart()
            load.wait_for(more_acknowledged=30)
    load.verify(f"Redis restarted empty, {form.times} times").check()


@pytest.mark.parametrize("form", FORMS)
def test_redis_frozen(pairs: LoadedStack, load: TurnLoad, form: Form) -> None:
    with load:
        for _ in before_each(load, form):
            pairs.stack.redis.freeze()
            pass_time(form.seconds)
            pairs.stack.redis.thaw()
            load.wait_for(more_acknowledged=30)
    load.verify(f"Redis frozen for {form.seconds:g} s, {form.times} times").check()


@pytest.mark.parametrize("form", FORMS)
def test_postgres_restarted(pairs: LoadedStack, load: TurnLoad, form: Form) -> None:
    with load:
        for _ in before_each(load, form):
            pairs.stack.postgres.kill()
            pairs.stack.postgres.restart()
            load.wait_for(more_acknowledged=30)
    load.verify(f"PostgreSQL killed and restarted, {form.times} times").check()


@pytest.mark.parametrize("form", FORMS)
def test_postgres_frozen(pairs: LoadedStack, load: TurnLoad, form: Form) -> None:
    with load:
        for _ in before_each(load, form):
            pairs.stack.postgres.freeze()
            pass_time(form.seconds)
            pairs.stack.postgres.thaw()
            load.wait_for(more_acknowledged=30)
    load.verify(f"PostgreSQL frozen for {form.seconds:g} s, {form.times} times").check()


@pytest.mark.parametrize("form", FORMS)
def test_postgres_without_a_free_connection(pairs: LoadedStack, load: TurnLoad, form: Form) -> None:
    taken = 0
    with load:
        for _ in before_each(load, form):
            with ExitStack() as held:
                taken = take_all_connections(pairs, held)
                pass_time(form.seconds)
            load.wait_for(more_acknowledged=30)
    name = (
        f"all connections of PostgreSQL taken ({taken} by others) for {form.seconds:g} s, {form.times} times"
    )
    load.verify(name).check()


def take_all_connections(pairs: LoadedStack, held: ExitStack) -> int:
    """Take every connection that is free, then those of the services as they are closed; how many are held."""
    url = pairs.stack.database_url
    ours = held.enter_context(psycopg.connect(url, autocommit=True))
    taken, theirs = 0, 1
    deadline = time.monotonic() + 120
    while theirs:
        assert time.monotonic() < deadline, f"the services still have {theirs} connections"
        try:
            held.enter_context(psycopg.connect(url))
            taken += 1
        except psycopg.OperationalError:
            theirs = len(ours.execute(CLOSE_THEIRS).fetchall())
    return taken


@pytest.fixture(scope="module")
def slow_pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoadedStack, SlowProxy]]:
    """A stack that reaches its Redis by way of a proxy, at full speed until a test slows it."""
    with RedisServer(own=True) as redis, SlowProxy(redis.url) as proxy:
        env = {"SIGNALBOX_REDIS_URL": proxy.url}
        with loaded_stack(tmp_path_factory.mktemp("slow"), env) as loaded:
            yield loaded, proxy


@pytest.mark.parametrize("form", FORMS)
def test_redis_slow(slow_pairs: tuple[LoadedStack, SlowProxy], form: Form) -> None:
    pairs, proxy = slow_pairs
    with TurnLoad(pairs.stack.edge_url, pairs.backend, turns=form.turns) as load:
        for _ in before_each(load, form):
            proxy.delay_s = SLOW_S
            pass_time(form.seconds)
            proxy.delay_s = 0.0
            load.wait_for(more_acknowledged=30)
    load.verify(f"Redis {SLOW_S * 1000:.0f} ms slow for {form.seconds:g} s, {form.times} times").check()
