"""Counters in Redis: what concurrent calls of a process have to say goes into one script call, one after the other."""

import asyncio
import logging
import math
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from signalbox.common.cache import CacheUnavailable
from signalbox.common.cache.redis.client import RedisClient
from signalbox.common.cache.redis.scripts import load_script
from signalbox.common.record import record
from signalbox.llm_gateway.admission.counters import JUST_GRANTED, Amounts, Answer, Used, Verdict
from signalbox.llm_gateway.admission.demands import Demand, DemandSet
from signalbox.llm_gateway.admission.redis.operations import (
    Arguments,
    Operation,
    Pulse,
    pulse_of,
    verdict_of,
)

_LOG = logging.getLogger(__name__)

PREFIX = "sb:a:"

BATCH = 128
"""Operations in one script call: Redis does nothing else meanwhile."""

KEPT = 100
"""Calls that are in the ledger, in one operation."""

RETRY_S = 0.25
"""How long what Redis must hear waits after it could not be said."""

GATHER_S = 0.02
"""How long the news that a call is in the ledger waits for others."""

SETTLED_S = 0.002
"""How long a settlement waits for a reservation to go with, where nobody waits for what it frees."""

CLOSE_S = 2.0

REAP = 200
"""Calls of a process that is gone which are looked at in one round."""

_CLOCK_S = 0.0005
"""An event loop's clock may stand still for so long: uvloop's counts milliseconds."""

MAX_UNHEARD = 50_000
"""What waits for Redis to hear it: a process that makes calls uncounted while Redis is away must not grow for ever."""


@record
class Abandoned:
    """A call of a process that is gone: ``state`` is "o" open, "s" settled or "r" reaped; its row as bytes."""

    call_id: str
    state: str
    row: bytes


@dataclass(slots=True)
class _Known:
    """A call of this process that is not in the ledger yet."""

    demands: DemandSet
    amounts: Amounts
    record: bytes
    used: Used | None = None
    extensions: list[Amounts] = field(default_factory=list)

    def operations(self, call_id: str) -> list[Operation]:
        """What tells a Redis that was emptied of it."""
        nano = self.amounts.nano + sum(amounts.nano for amounts in self.extensions)
        assumed = Operation("U", call_id, (self.amounts.tokens, nano, self.record), self.demands)
        return [assumed] if self.used is None else [assumed, _settled(call_id, self.used, self.record)]


class RedisCounters:
    """``Counters`` that all processes share which name the same server and ``prefix``.

    One script call is on its way at a time; what comes meanwhile goes with the next, and what nobody waits for goes
    with what somebody waits for, if that comes soon. What Redis must hear, such as settlements, is said again until it
    has. A Redis that was emptied is told of all calls that it must know.
    ``on_turn`` is told how many seconds each script call took.
    """

    def __init__(
        self,
        client: RedisClient,
        owner: str,
        *,
        prefix: str = PREFIX,
        on_turn: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.owner = owner
        self._client = client
        self._prefix = prefix
        self._on_turn = on_turn
        self._keys = [f"{prefix}life", self._calls_of(owner), f"{prefix}processes"]
        self._turn = load_script("turn", package=__package__)
        self._begin = load_script("begin", package=__package__)
        self._seed = load_script("seed", package=__package__)
        self._open = load_script("open", package=__package__)
        self._abandoned = load_script("abandoned", package=__package__)
        self._reap = load_script("reap", package=__package__)
        self._arguments = Arguments(prefix)
        self._life: str | None = None
        self._queue: deque[Operation] = deque()
        self._calls: dict[str, _Known] = {}
        self._doubtful: set[str] = set()
        self._overflows = False
        self._alone = 0
        """How many operations are said one at a time."""
        self._speaking = False
        self._urgent = False
        """Whether something is in the queue that does not wait for company."""
        self._due = math.inf
        """When the rest of it is said at the latest, on the loop's clock."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        """Calls that are not in the ledger yet."""
        return len(self._calls)

    async def reserve(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> Verdict:
        """See ``Counters.reserve``."""
        if self._client.is_down:
            raise _away()
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        operation = Operation("A", call_id, (amounts.tokens, amounts.nano, record), demands, answer)
        operation.reserved = demands, amounts, record
        self._queue.append(operation)
        self._wake()
        try:
            return await answer
        except asyncio.CancelledError:
            if operation.sent:
                # It may be granted at this moment.
                self._doubtful.add(call_id)
                self.give_back(call_id)
            raise

    async def extend(self, call_id: str, number: int, demands: DemandSet, amounts: Amounts) -> Verdict:
        """See ``Counters.extend``."""
        call = self._calls.get(call_id)
        verdict: Verdict = await self._ask(
            Operation("X", call_id, (amounts.tokens, amounts.nano, number), demands)
        )
        if call is not None and verdict.answer is Answer.GRANTED:
            call.extensions.append(amounts)
        return verdict

    def end_extension(self, call_id: str, number: int) -> None:
        """See ``Counters.end_extension``."""
        self._say(Operation("E", call_id, (number,)))

    def assume(self, call_id: str, demands: DemandSet, amounts: Amounts, record: bytes) -> None:
        """See ``Counters.assume``."""
        self._doubtful.discard(call_id)
        if len(self._queue) >= MAX_UNHEARD:
            if not self._overflows:
                _LOG.error(
                    "redis has been away for too long: calls of this time are in the ledger, but in no budget"
                )
            self._overflows = True
            return
        self._overflows = False
        call = self._calls[call_id] = _Known(demands, amounts, record)
        for operation in call.operations(call_id):
            self._say(operation)

    def settle(self, call_id: str, used: Used, record: bytes) -> None:
        """See ``Counters.settle``."""
        call = self._calls.get(call_id)
        if call is not None:
            call.used, call.record = used, record
            settled = _settled(call_id, used, record)
            if call.demands.is_tight(call.amounts.tokens, call.amounts.nano) or self._client.is_down:
                self._say(settled)
            else:
                self._queue.append(settled)
                if not self._speaking:
                    self._wake_in(SETTLED_S)

    def give_back(self, call_id: str) -> None:
        """See ``Counters.give_back``."""
        if self._calls.pop(call_id, None) is not None or call_id in self._doubtful:
            self._doubtful.discard(call_id)
            self._say(Operation("G", call_id))

    def forget(self, call_ids: Sequence[str]) -> None:
        """See ``Counters.forget``."""
        known = [call_id for call_id in call_ids if self._calls.pop(call_id, None) is not None]
        for begin in range(0, len(known), KEPT):
            some = known[begin : begin + KEPT]
            self._queue.append(Operation("K", str(len(some)), tuple(some)))
        self._wake_in(GATHER_S)

    async def counted(self, budget: Demand) -> list[str]:
        """See ``Counters.counted``."""
        fields = await self._client.call("HKEYS", self._prefix + budget.key)
        return [name[2:].decode() for name in fields if name.startswith(b"c:")]

    async def seed(self, budget: Demand, counted: int, nano: int) -> bool:
        """See ``Counters.seed``."""
        key = self._prefix + budget.key
        return bool(await self._client.run(self._seed, [key], counted, nano, budget.end_ms))

    async def beat(self, silent_ms: int) -> Pulse:
        """Say that this process lives, and hear of those that have been silent for longer. Raises as ``reserve``."""
        answer: Pulse = await self._ask(Operation("B", self.owner, (silent_ms,)))
        return answer

    async def processes(self) -> set[str]:
        """The processes that have told Redis of all their calls. Raises CacheUnavailable."""
        return {name.decode() for name in await self._client.call("HKEYS", self._keys[2])}

    async def open_budgets(self) -> None:
        """Let budgets be counted: all processes have told of their calls. Raises CacheUnavailable."""
        await self._client.run(self._open, self._keys[:1], self._life or "")

    async def abandoned(self, owner: str, cursor: str) -> tuple[str, list[Abandoned]]:
        """Some calls of a process that is gone, and where to go on; "0" is the start and the end.

        Raises:
            CacheUnavailable: Redis cannot be asked now.
        """
        after, found = await self._client.run(self._abandoned, [self._calls_of(owner)], cursor, REAP)
        calls = [
            Abandoned(call_id.decode(), state.decode(), row)
            for call_id, state, row in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]
        return after.decode(), calls

    async def reap(self, owner: str, silent_ms: int, calls: Sequence[Abandoned], *, last: bool) -> bool:
        """Close calls whose rows are in the ledger; false when their process lives after all. Raises as above."""
        named = [argument for call in calls for argument in (call.call_id, call.state)]
        keys = [self._keys[0], self._keys[2], self._calls_of(owner)]
        return bool(await self._client.run(self._reap, keys, owner, silent_ms, int(last), *named))

    async def eviction_policy(self) -> str | None:
        """What Redis does when its memory is full; None when it does not say. Raises CacheUnavailable."""
        said = await self._client.call("INFO", "memory")
        found = re.search(rb"^maxmemory_policy:(\S+)", said, re.MULTILINE)
        return None if found is None else found[1].decode()

    async def ping(self) -> None:
        """Return when Redis answers. Raises CacheUnavailable."""
        await self._client.call("PING")

    async def close(self) -> None:
        """Say what is left to say, if Redis listens, and that this process ends."""
        if self._timer is not None:
            self._timer.cancel()
        self._say(Operation("D", self.owner))
        await asyncio.sleep(0)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_S)
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _calls_of(self, owner: str) -> str:
        return f"{self._prefix}calls:{owner}"

    async def _ask(self, operation: Operation) -> Any:
        if self._client.is_down:
            raise _away()
        operation.answer = asyncio.get_running_loop().create_future()
        self._say(operation)
        return await operation.answer

    def _say(self, operation: Operation) -> None:
        self._queue.append(operation)
        if self._client.is_down:
            self._wake_in(RETRY_S)
        else:
            self._wake()

    def _wake(self) -> None:
        self._urgent = True
        if not self._speaking:
            self._speaking = True
            # It begins in the next turn of the loop, so what is said in this one goes together.
            self._task = asyncio.get_running_loop().create_task(self._speak())

    def _wake_in(self, seconds: float) -> None:
        """Say what is in the queue after a time, if nothing else makes it be said before."""
        if not self._queue:
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        self._due = min(self._due, at)
        # One timer serves many: it is moved only to be earlier, and looks again when it fires.
        if self._timer is None or self._timer_at > at:
            self._start_timer(loop, at)

    def _start_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(at, self._timed), at

    def _timed(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._due - loop.time() > _CLOCK_S:
            if self._queue:
                self._start_timer(loop, self._due)
        else:
            self._wake()

    async def _speak(self) -> None:
        pause = SETTLED_S
        try:
            while self._queue and self._urgent:
                batch: list[Operation] = []
                try:
                    if self._life is None:
                        await self._resume()
                    batch = self._take()
                    if not batch:
                        continue
                    reply = await self._turn_of(batch)
                except CacheUnavailable as error:
                    if not self._refused(batch, error):
                        self._unheard(batch, error)
                        pause = RETRY_S
                        return
                    self._urgent = True
                    continue
                if reply == 0:
                    _LOG.warning("redis has lost its counters; it is told of %d call(s)", len(self._calls))
                    self._life = None
                    self._queue.extendleft(reversed(batch))
                    self._urgent = True
                else:
                    self._heard(batch, reply)
        finally:
            self._speaking = self._urgent = False
            self._due = math.inf
            self._wake_in(pause)

    async def _turn_of(self, batch: list[Operation]) -> Any:
        started = time.perf_counter()
        arguments = [self._life or "", *self._arguments.of(batch)]
        reply = await self._client.run(self._turn, self._keys, *arguments)
        self._on_turn(time.perf_counter() - started)
        return reply

    def _take(self) -> list[Operation]:
        queue = self._queue
        batch: list[Operation] = []
        at_most = 1 if self._alone else BATCH
        heard = not self._client.is_down
        self._alone = max(0, self._alone - 1)
        while queue and len(batch) < at_most:
            operation = queue.popleft()
            # A caller that has left meanwhile asks for nothing.
            if operation.answer is None or not operation.answer.done():
                operation.sent = operation.sent or heard
                batch.append(operation)
        self._urgent = bool(queue)
        return batch

    async def _resume(self) -> None:
        """Learn which life of the counters this is, and tell it of all calls first."""
        name = await self._client.run(self._begin, self._keys[:1], secrets.token_hex(8))
        self._life = name.decode()
        told = [operation for call_id, call in self._calls.items() for operation in call.operations(call_id)]
        self._queue.extendleft(reversed(told))

    def _heard(self, batch: list[Operation], reply: list[object]) -> None:
        replies = iter(reply)
        next(replies)
        for operation in batch:
            if operation.answer is None:
                continue
            found = next(replies)
            if operation.answer.done():
                continue
            if operation.letter == "B":
                operation.answer.set_result(pulse_of(found))
                continue
            verdict = JUST_GRANTED if found == 1 else verdict_of(found)
            if operation.reserved is not None and verdict.answer is Answer.GRANTED:
                self._calls[operation.call_id] = _Known(*operation.reserved)
            operation.answer.set_result(verdict)

    def _refused(self, batch: list[Operation], error: CacheUnavailable) -> bool:
        """Whether Redis answers, and cannot do what one of these says, such as to count in a key of another type.

        Which one, is found by saying each alone; that one is left out, so that it does not keep all others from Redis.
        """
        if not str(error.__cause__).startswith(("ERR", "WRONGTYPE")):
            return False
        if len(batch) != 1:
            self._alone = len(batch)
            self._queue.extendleft(reversed(batch))
            return bool(batch)
        (operation,) = batch
        _LOG.error("redis cannot count a call: %s", error.detail, extra={"call_id": operation.call_id})
        if operation.answer is not None and not operation.answer.done():
            operation.answer.set_exception(CacheUnavailable(error.detail))
        return True

    def _unheard(self, batch: list[Operation], error: CacheUnavailable) -> None:
        """Tell who asked, those who come next too; what must be heard is said again."""
        kept: deque[Operation] = deque()
        for operation in (*batch, *self._queue):
            if operation.answer is None:
                kept.append(operation)
            elif not operation.answer.done():
                if operation.letter == "A" and operation.sent:
                    self._doubtful.add(operation.call_id)
                operation.answer.set_exception(CacheUnavailable(error.detail))
        self._queue = kept


def _away() -> CacheUnavailable:
    return CacheUnavailable("what counts is away; try again")


def _settled(call_id: str, used: Used, record: bytes) -> Operation:
    amounts, extensions = used.amounts, used.extensions
    return Operation("S", call_id, (amounts.tokens, amounts.nano, record, len(extensions), *extensions))
