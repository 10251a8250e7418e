"""What a process has to tell Redis of its calls, as arguments of ``lua/turn.lua``."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signalbox.common.cache.redis.connection import Argument
from signalbox.common.record import record
from signalbox.llm_gateway.admission.counters import JUST_GRANTED, Amounts, Answer, Verdict
from signalbox.llm_gateway.admission.demands import Demand, DemandSet
from signalbox.llm_gateway.admission.windows import bucket_width_us

_LETTERS = {"requests": "r", "tokens": "t", "parallel": "p", "hard": "h", "soft": "s"}
_ANSWERS = {2: Answer.REFUSED, 3: Answer.STALE, 4: Answer.COLD, 5: Answer.CLOSED}


@dataclass(slots=True, eq=False)
class Operation:
    """One thing to say. Without ``answer`` it is said again until Redis has heard it.

    ``rest`` are the arguments after the call's id, or after the number of the demand set where there is one.
    """

    letter: str
    call_id: str
    rest: tuple[Argument, ...] = ()
    demands: DemandSet | None = None
    answer: "asyncio.Future[Any] | None" = None
    reserved: tuple[DemandSet, Amounts, bytes] | None = None
    """What a reservation takes, and its record."""
    sent: bool = False
    """Whether Redis may have heard it."""


@record
class Pulse:
    """What a process learns at a sign of life: whether budgets are counted, and which processes give none."""

    open: bool
    silent: tuple[str, ...]


def arguments_of(life: str, prefix: str, operations: Sequence[Operation]) -> list[Argument]:
    """The arguments of a script call that says them all; each demand set once."""
    numbers: dict[int, int] = {}
    sets: list[Argument] = []
    said: list[Argument] = []
    for operation in operations:
        said.append(operation.letter)
        said.append(operation.call_id)
        if operation.demands is not None:
            number = numbers.get(id(operation.demands))
            if number is None:
                number = numbers[id(operation.demands)] = len(numbers) + 1
                sets += _set_arguments(prefix, operation.demands)
            said.append(number)
        said += operation.rest
    return [life, len(numbers), *sets, *said]


def _set_arguments(prefix: str, demands: DemandSet) -> list[Argument]:
    arguments: list[Argument] = [len(demands.demands)]
    for demand in demands.demands:
        arguments += _demand_arguments(prefix, demand)
    return arguments


def _demand_arguments(prefix: str, demand: Demand) -> tuple[Argument, ...]:
    head = (_LETTERS[demand.kind], prefix + demand.key, demand.limit)
    if demand.kind in {"requests", "tokens"}:
        return (*head, bucket_width_us(demand.window_s))
    if demand.kind == "parallel":
        return head
    return (*head, demand.start_ms, demand.end_ms, demand.rule)


def pulse_of(reply: Any) -> Pulse:
    """The answer to a sign of life."""
    return Pulse(reply[0] == 1, tuple(name.decode() for name in reply[1:]))


def verdict_of(reply: Any) -> Verdict:
    """The answer to a reservation."""
    if reply == 1:
        return JUST_GRANTED
    if reply[0] == 6:
        rooms = 2 + reply[1]
        return Verdict(Answer.GRANTED, over=tuple(reply[2:rooms]), rooms=reply[rooms:])
    code, index, ms, *left = reply
    return Verdict(_ANSWERS[code], index, ms, rooms=left)
