"""Load while processes are killed (kill -9) and ended (SIGTERM), one after the other: nothing lost, nothing twice."""

from collections.abc import Callable

import pytest
from support.load_workflow import Kind
from support.loaded_stack import LoadedStack
from support.systems import READY_S
from support.turn_load import TurnLoad

from signalbox_local import SERVICES, ManagedProcess

pytestmark = pytest.mark.faults

FORMS = [pytest.param(400, id="short"), pytest.param(10_000, id="full", marks=pytest.mark.soak)]
DRAIN_S = 5.0
BETWEEN = 20
"""Acknowledgements before a process is broken, and while it is gone."""
MOSTLY_ASYNC = (Kind.ASYNC, Kind.ASYNC, Kind.SAY, Kind.ASYNC)


def kill(process: ManagedProcess) -> None:
    process.kill()


def end(process: ManagedProcess) -> None:
    """SIGTERM, as a rollout sends it; it must end by itself in time."""
    process.stop(DRAIN_S)


def one_after_the_other(
    load: TurnLoad, victims: list[ManagedProcess], how: Callable[[ManagedProcess], None]
) -> int:
    """Break each and start it again while the next one is broken, round after round; how many were broken."""
    broken = 0
    while broken < len(victims) or load.going:
        victim = victims[broken % len(victims)]
        victim.wait_ready(READY_S)
        load.wait_for(more_acknowledged=BETWEEN)
        how(victim)
        load.wait_for(more_acknowledged=BETWEEN)
        victim.launch()
        broken += 1
    for victim in victims:
        victim.wait_ready(READY_S)
    return broken


@pytest.mark.parametrize("turns", FORMS)
@pytest.mark.parametrize("how", [kill, end])
def test_services(pairs: LoadedStack, turns: int, how: Callable[[ManagedProcess], None]) -> None:
    stack = pairs.stack
    with TurnLoad(stack.edge_url, pairs.backend, turns=turns) as load:
        broken = one_after_the_other(load, [stack.service(name) for name in SERVICES], how)
    load.verify(f"{how.__name__} of each service in turn, {broken} in all").check()


@pytest.mark.parametrize("turns", FORMS)
def test_workers(pairs: LoadedStack, turns: int) -> None:
    with TurnLoad(pairs.stack.edge_url, pairs.backend, turns=turns, mix=MOSTLY_ASYNC) as load:
        broken = one_after_the_other(load, pairs.stack.workers, kill)
    load.verify(f"kill -9 of workers, {broken} in all").check()
