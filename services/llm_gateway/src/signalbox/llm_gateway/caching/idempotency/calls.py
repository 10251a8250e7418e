"""Calls that are made once for their key.

Who comes first in a process asks the database for the key; the others of this process wait for it. Who gets the key
makes the call; who finds it taken by another replica looks now and then whether that one's call is over.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from signalbox.common.context import Deadline
from signalbox.common.errors import Unavailable
from signalbox.common.record import record
from signalbox.common.storage import NotStorable
from signalbox.contracts.identity import Principal
from signalbox.llm_gateway.answers import ByteStream, WholeAnswer
from signalbox.llm_gateway.caching.idempotency.records import CallName, KeptReply
from signalbox.llm_gateway.caching.idempotency.repository import IdempotencyRepository
from signalbox.llm_gateway.caching.idempotency.streams import RecordedStream, Route
from signalbox.llm_gateway.caching.keys import canonical_form
from signalbox.llm_gateway.errors import (
    IdempotencyInProgress,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    MalformedCall,
    ProviderRefused,
)
from signalbox.llm_gateway.policies.rules import WhenUnavailable

_LOG = logging.getLogger(__name__)

WAIT_S = 60.0
"""How long a call without a deadline waits for the one that has its key."""

_CLAIM_S = 2.0
_KEEP_S = 2.0
"""The longest that an answer waits for its reply to be kept; after that it is kept when it can be."""

_RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 20.0)
_FIRST_LOOK_S = 0.05
_LAST_LOOK_S = 0.5
_MAX_KEY = 255
_MAX_CANONICAL = 1_048_576
_PASSING = frozenset({401, 402, 403, 408, 409, 425, 429})
"""Refusals of a provider that say nothing about the request: the next call may be answered."""


@record
class Repeatable:
    """A call that may be a repetition: ``body`` is what was posted to ``route``.

    ``goes_on``: what it begins goes on when its client leaves.
    """

    key: str | None
    principal: Principal
    route: Route
    body: bytes
    deadline: Deadline | None = None
    goes_on: bool = False

    def name(self) -> CallName:
        """What names it. Raises MalformedCall for something that is no key."""
        if not self.key or len(self.key) > _MAX_KEY:
            raise MalformedCall(f"An Idempotency-Key has 1 to {_MAX_KEY} characters.")
        return CallName(self.principal.tenant, self.principal.subject, self.route, self.key)


@dataclass(eq=False, slots=True)
class _Turn:
    """The one call of this process that deals with a key now."""

    claim: str = field(default_factory=lambda: secrets.token_hex(8))
    request_hash: "asyncio.Future[str | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Of the body that has the key; None when that is not known and another should ask."""
    reply: "asyncio.Future[KeptReply | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """What the call with the key got; None when the key is free again."""
    holds: bool = False
    """Whether the key is this one's."""

    def know(self, request_hash: str | None) -> None:
        """Tell those who wait which body has the key."""
        if not self.request_hash.done():
            self.request_hash.set_result(request_hash)

    def end(self, reply: KeptReply | None) -> None:
        """Tell those who wait what became of the call."""
        self.know(None)
        if not self.reply.done():
            self.reply.set_result(reply)


class IdempotentCalls:
    """Makes calls once for their key.

    ``clock`` gives epoch milliseconds. A process that was not heard of for ``silent_s`` is taken for dead, and its keys
    are free.
    """

    def __init__(
        self,
        repository: IdempotencyRepository,
        clock: Callable[[], int],
        *,
        kept_s: int,
        max_bytes: int,
        when_unavailable: WhenUnavailable,
        silent_s: float,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._kept_ms = kept_s * 1000
        self._max_bytes = max_bytes
        self._when_unavailable = when_unavailable
        self._silent_ms = int(silent_s * 1000)
        self._turns: dict[CallName, _Turn] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(
        self, asked: Repeatable, make: Callable[[], Awaitable[WholeAnswer | ByteStream]]
    ) -> WholeAnswer | ByteStream:
        """What ``make`` gives, or gave to the first call with the key. Without a key it is just made.

        An answer and a provider's refusal of the request are kept. After any other failure, and when the client left,
        the key is free, and the next call with it is made.

        Raises:
            MalformedCall: the key is none.
            IdempotencyKeyReused: it was used with another body.
            IdempotencyInProgress: the first call takes longer than this one may wait.
            IdempotencyNotReplayable: the first call was made, and its answer is too large to be kept.
            IdempotencyUnavailable: keys cannot be looked up, and a setting says that no call is made then.
            DeadlineExceeded: no time is left.
            Whatever ``make`` raises.
        """
        if asked.key is None:
            return await make()
        name = asked.name()
        request_hash = _hash_of(asked.body)
        patience = WAIT_S if asked.deadline is None else asked.deadline.check("a model call")
        try:
            async with asyncio.timeout(patience):
                found = await self._first(name, request_hash)
        except TimeoutError:
            raise IdempotencyInProgress(
                "The first call with this Idempotency-Key is still being answered; send it again later.",
                headers={"Retry-After": "1"},
            ) from None
        except Unavailable as error:
            if self._when_unavailable == "open":
                return await make()
            raise IdempotencyUnavailable(
                "The Idempotency-Key cannot be looked up now, so no call was made; send it again shortly.",
                headers={"Retry-After": "2"},
            ) from error
        return found.again() if isinstance(found, KeptReply) else await self._made(asked, name, found, make)

    def claims(self) -> list[str]:
        """The claims whose calls this process is making."""
        return [turn.claim for turn in self._turns.values() if turn.holds]

    async def close(self) -> None:
        """Let the ends of calls be written, shortly."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_KEEP_S)
        for task in self._ending:
            task.cancel()

    async def _first(self, name: CallName, request_hash: str) -> KeptReply | _Turn:
        """The reply to the first call with the key; or the turn, when this is the first."""
        while True:
            turn = self._turns.get(name)
            if turn is None:
                turn = self._turns[name] = _Turn()
                try:
                    reply = await self._claimed(name, turn, request_hash)
                except BaseException as error:
                    self._leave(name, turn, None)
                    if isinstance(error, asyncio.CancelledError):
                        # The key may be this turn's without its knowing. (A database that is away has no time for
                        # this; a claim that nobody stands for is taken for dead soon.)
                        self._spawn(self._written(name, turn, None))
                    raise
                if reply is None:
                    return turn
                self._leave(name, turn, reply)
                return reply
            known = await asyncio.shield(turn.request_hash)
            if known is not None:
                _check_same(known, request_hash)
                reply = await asyncio.shield(turn.reply)
                if reply is not None:
                    return reply

    async def _claimed(self, name: CallName, turn: _Turn, request_hash: str) -> KeptReply | None:
        """The reply that another replica's call got; None when the key is this turn's."""
        while True:
            now = self._clock()
            silent_since = now - self._silent_ms
            try:
                async with asyncio.timeout(_CLAIM_S):
                    row = await self._repository.claim(
                        name,
                        request_hash,
                        turn.claim,
                        now,
                        silent_since=silent_since,
                        expires_at=now + self._kept_ms,
                    )
            except TimeoutError:
                raise Unavailable("The database does not answer; try again shortly.") from None
            if row is None:
                turn.holds = True
                turn.know(request_hash)
                return None
            _check_same(row.request_hash, request_hash)
            if row.over:
                return KeptReply.read(row.reply)
            turn.know(row.request_hash)
            for pause in _looks():
                await asyncio.sleep(pause)
                silent_since = self._clock() - self._silent_ms
                if not await self._repository.is_running(name, row.claim, silent_since=silent_since):
                    break

    async def _made(
        self,
        asked: Repeatable,
        name: CallName,
        turn: _Turn,
        make: Callable[[], Awaitable[WholeAnswer | ByteStream]],
    ) -> WholeAnswer | ByteStream:
        try:
            answer = await make()
        except ProviderRefused as error:
            final = 400 <= error.provider_status < 500 and error.provider_status not in _PASSING
            await self._end(name, turn, KeptReply.of_refusal(error) if final else None)
            raise
        except BaseException:
            self._begin_end(name, turn, None)
            raise
        if isinstance(answer, WholeAnswer):
            body = answer.body if len(answer.body) <= self._max_bytes else None
            await self._end(name, turn, KeptReply.of(answer.headers, body))
            return answer

        async def whole(body: bytes | None) -> None:
            await self._end(name, turn, KeptReply.of(answer.headers, body, streamed=True))

        def broken() -> None:
            self._begin_end(name, turn, KeptReply({}, None) if asked.goes_on else None)

        return RecordedStream(answer, asked.route, self._max_bytes, whole, broken)

    async def _end(self, name: CallName, turn: _Turn, reply: KeptReply | None) -> None:
        """End a turn, and wait shortly until that is written."""
        await asyncio.wait({self._begin_end(name, turn, reply)}, timeout=_KEEP_S)

    def _begin_end(self, name: CallName, turn: _Turn, reply: KeptReply | None) -> "asyncio.Task[None]":
        """End a turn: what is written is written by a task of its own, as the client may be gone."""
        if reply is not None:
            turn.end(reply)
        task = self._spawn(self._written(name, turn, reply))
        task.add_done_callback(lambda _: self._leave(name, turn, reply))
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _written(self, name: CallName, turn: _Turn, reply: KeptReply | None) -> None:
        for pause in _RETRY_S:
            try:
                await self._write(name, turn, reply)
            except Unavailable:
                await asyncio.sleep(pause)
            else:
                return
        _LOG.warning("what became of an idempotent call could not be written; its key will be free again")

    async def _write(self, name: CallName, turn: _Turn, reply: KeptReply | None) -> None:
        if reply is None:
            await self._repository.free(name, turn.claim)
            return
        try:
            owned = await self._repository.finish(name, turn.claim, reply.written())
        except NotStorable:
            owned = await self._repository.finish(name, turn.claim, None)
        if not owned:
            _LOG.warning(
                "an idempotent call was taken for dead while it was made; it may have been made twice"
            )

    def _leave(self, name: CallName, turn: _Turn, reply: KeptReply | None) -> None:
        turn.holds = False
        if self._turns.get(name) is turn:
            del self._turns[name]
        turn.end(reply)


def _hash_of(body: bytes) -> str:
    """What tells bodies apart: not the order of members, unless they are large."""
    canonical = canonical_form(body, frozenset()) if len(body) <= _MAX_CANONICAL else None
    return hashlib.sha256(canonical or body).hexdigest()


def _check_same(first: str, second: str) -> None:
    if first != second:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used with another body; use another key for another request."
        )


def _looks() -> Iterator[float]:
    pause = _FIRST_LOOK_S
    while True:
        yield pause
        pause = min(pause * 1.5, _LAST_LOOK_S)
