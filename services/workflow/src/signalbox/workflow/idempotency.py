"""Which turn answers a request with an Idempotency-Key: that of the first one, whoever asks meanwhile or later.

A claim is locked for a few seconds and renewed while its turn runs, so that a repetition after the death of a process
does not wait for the first caller's whole deadline. Who takes a claim over goes on under the same turn id, and so does
who repeats a turn that failed after it may have written: the keys of all calls that the turn makes are derived from it,
so that who was called before knows the call again.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass

from signalbox.common.context import current_deadline
from signalbox.common.errors import Unavailable
from signalbox.common.ids import new_id, now_ms
from signalbox.contracts.identity import Principal
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.errors import IdempotencyInProgress, IdempotencyKeyReused
from signalbox.workflow.idempotency_rows import KEPT_MS
from signalbox.workflow.ports import IdempotencyStore
from signalbox.workflow.records import IdempotencyKey, IdempotencyRecord
from signalbox.workflow.settings import WorkflowSettings

_ROUTE = "query"
_LOOK_AGAIN_S = 0.03
_LOOK_RARELY_S = 0.25
_PRUNE_EVERY_S = 300.0
_PRUNED_AT_ONCE = 1_000


@dataclass(slots=True)
class Claim:
    """A key that is this request's to answer, as long as nobody takes it over."""

    name: IdempotencyKey
    turn_id: str
    again: bool
    """Whether there was an earlier attempt of the turn, which died or failed."""
    locked_until: int


class Idempotency:
    """Claims of keys, and forgetting them when their time is over."""

    def __init__(self, store: IdempotencyStore, settings: WorkflowSettings) -> None:
        self.store = store
        self._locked_ms = settings.lease_ttl_ms
        self._pruning = Ticker("idempotency-keys", self.prune, every_s=_PRUNE_EVERY_S)

    def start(self) -> None:
        """Forget old keys from now on."""
        self._pruning.start()

    async def stop(self) -> None:
        """Stop forgetting."""
        await self._pruning.stop()

    async def claim(self, principal: Principal, request: QueryRequest, key: str) -> Claim | QueryReply:
        """The turn to run, or the reply that a turn with this key was given.

        Raises:
            IdempotencyKeyReused: the key came with another body.
            IdempotencyInProgress: the first request is still being answered.
        """
        name = IdempotencyKey(principal.tenant, principal.subject, _ROUTE, key)
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        turn_id, deadline, pause = new_id("turn"), current_deadline(), _LOOK_AGAIN_S
        while True:
            now = now_ms()
            wanted = IdempotencyRecord(name, digest, turn_id, None, now + self._locked_ms)
            held, taken = await self.store.claim(wanted, now, now - KEPT_MS)
            if held.request_hash != digest:
                raise IdempotencyKeyReused
            if held.reply is not None:
                return QueryReply.model_validate_json(held.reply)
            if taken:
                return Claim(name, held.target_id, held.target_id != turn_id, held.locked_until)
            if deadline.remaining() <= 0:
                raise IdempotencyInProgress
            await asyncio.sleep(min(pause, deadline.remaining()))
            pause = min(pause * 1.5, _LOOK_RARELY_S)

    async def keep(self, claim: Claim) -> None:
        """Say that the claim's turn still runs."""
        with suppress(Unavailable):
            longer = now_ms() + self._locked_ms
            if await self.store.keep(claim.name, claim.turn_id, claim.locked_until, longer):
                claim.locked_until = longer

    async def give_back(self, claim: Claim, *, may_have_written: bool) -> None:
        """Let a key be used again: its turn came to nothing.

        What a turn has written stays written, also when the turn could not be committed. So one that may have written
        keeps its key, and who repeats the request goes on under its id, at once.
        """
        with suppress(Unavailable):
            if may_have_written or claim.again:
                await self.store.keep(claim.name, claim.turn_id, claim.locked_until, 0)
            else:
                await self.store.forget(claim.name, claim.turn_id, claim.locked_until)

    async def prune(self) -> bool:
        """Forget some keys that have served their time; whether there may be more of them."""
        return await self.store.prune(now_ms() - KEPT_MS, _PRUNED_AT_ONCE) == _PRUNED_AT_ONCE
