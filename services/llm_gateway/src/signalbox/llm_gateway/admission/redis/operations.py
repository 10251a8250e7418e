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

_MAX_SETS = 1000
_LETTERS = {"requests": "r", "tokens": "t", "parallel": "p", "hard": "h", "soft": "s"}
_ANSWERS = {2: Answer.REFUSED, 3: Answer.STALE, 4: Answer.COLD, 5: Answer.CLOSED}


@dataclass(slots=True, eq=False)
class Operation:
    """One thing to say. Without ``answer`` it is said again until Redis has heard it.

    ``rest`` are the arguments after the call's id, or after the number of the demand set where there is one. "K" is of
    many calls: their number stands for the id, and ``rest`` names them.
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


class Arguments:
    """What a script call is given to say operations. ``prefix`` begins the name of each counter."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._sets: dict[DemandSet, list[Argument]] = {}
        """Of the sets that calls have asked for; a set is compiled once for all calls that are alike."""

    def of(self, operations: Sequence[Operation]) -> list[Argument]:
        """The arguments after the life: the demand sets, each once, and the operations."""
        numbers: dict[DemandSet, int] = {}
        sets: list[Argument] = []
        said: list[Argument] = []
        for operation in operations:
            demands = operation.demands
            if demands is None:
                said += (operation.letter, operation.call_id)
            else:
                number = numbers.get(demands)
                if number is None:
                    number = numbers[demands] = len(numbers) + 1
                    sets += self._set(demands)
                said += (operation.letter, operation.call_id, number)
            said += operation.rest
        return [len(numbers), *sets, *said]

    def _set(self, demands: DemandSet) -> list[Argument]:
        found = self._sets.get(demands)
        if found is None:
            if len(self._sets) >= _MAX_SETS:
                self._sets.clear()
            found = self._sets[demands] = _set_arguments(self._prefix, demands)
        return found


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
        if not reply[1]:
            return Verdict(Answer.GRANTED, 0, 0, (), reply[2:])
        rooms = 2 + reply[1]
        return Verdict(Answer.GRANTED, over=tuple(reply[2:rooms]), rooms=reply[rooms:])
    code, index, ms, *left = reply
    return Verdict(_ANSWERS[code], index, ms, rooms=left)
