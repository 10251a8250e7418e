"""What the Workflow service needs from a store; ``repository.py`` implements it for both databases."""

from collections.abc import Sequence
from typing import Protocol

from signalbox.common.storage import Write
from signalbox.contracts.events import UsageData
from signalbox.workflow.background.records import OutboxMessage
from signalbox.workflow.records import (
    ErasureRecord,
    Fired,
    IdempotencyKey,
    IdempotencyRecord,
    Recalled,
    Session,
    Summary,
    TimerSet,
    TurnRecord,
)


class SessionStore(Protocol):
    """Sessions and their turns."""

    async def load(self, tenant: str, session_id: str) -> Session | None:
        """The session, also when it has expired or was deleted; None when there never was one."""
        ...

    async def begin(self, before: Session, turn: TurnRecord) -> None:
        """Write that a turn is running, before its first external write.

        Raises:
            PreconditionFailed: the session is no longer at ``before``; nothing was written.
            DuplicateKey: another turn is running in this place; nothing was written.
        """
        ...

    async def commit(
        self,
        before: Session,
        after: Session,
        turn: TurnRecord,
        *,
        begun: bool,
        idempotency: IdempotencyKey | None = None,
        outbox: Sequence[OutboxMessage] = (),
        timers: TimerSet | Fired | None = None,
        further: Sequence[Write] = (),
    ) -> None:
        """Write the turn, the session after it, the stored reply, outgoing messages and timers in one transaction.

        ``further`` are writes of what the turn was for, such as the result of an async query.

        Raises:
            PreconditionFailed: the session, the running turn or what it was for was taken over, or what fired has
                been fired by another; nothing was written.
            DuplicateKey: another turn is running in this place; nothing was written.
        """
        ...

    async def heartbeat(self, turn: TurnRecord, now: int) -> None:
        """Say that a running turn is still alive."""
        ...

    async def fail(self, before: Session, turn: TurnRecord, *, begun: bool) -> None:
        """Keep a turn that was not committed, without a place in the order; one that had begun gives up its place.

        Raises:
            PreconditionFailed: it had not begun, and the session is no longer at ``before``.
            DuplicateKey: it had not begun, and the session was made meanwhile.
        """
        ...

    async def running_since(self, session: Session) -> int | None:
        """The last heartbeat of the turn that is running in the session's epoch; None without one."""
        ...

    async def abandon(self, session: Session, stale_before: int, now: int) -> bool:
        """End the running turn of a session whose heartbeat is older; false when there is no such turn."""
        ...

    async def retake(self, tenant: str, turn_id: str, stale_before: int) -> None:
        """Remove the row of an attempt that came to nothing: ended, or running without a heartbeat since then."""
        ...

    async def turn(self, tenant: str, turn_id: str) -> TurnRecord | None:
        """A turn by its id."""
        ...

    async def turns(self, session: Session, after_message: int, limit: int) -> list[TurnRecord]:
        """Committed turns whose messages come after a position, in order."""
        ...

    async def recent_turns(self, session: Session, limit: int) -> list[TurnRecord]:
        """The last committed turns of the session's epoch, oldest first."""
        ...

    async def delete(self, session: Session, erasure: ErasureRecord, now: int) -> None:
        """Remove the session's content for good, and keep what is to be forgotten of it elsewhere.

        Of the session itself only stays that its id had an epoch.

        Raises:
            PreconditionFailed: the session has moved on meanwhile; nothing was removed.
        """
        ...

    async def feedback(self, tenant: str, turn_id: str, thumb: str, comment: str) -> None:
        """Keep what the user thought of a turn."""
        ...

    async def count(self, tenant: str, now: int) -> int:
        """Live sessions of a tenant."""
        ...


class IdempotencyStore(Protocol):
    """What repeated requests get."""

    async def find(self, name: IdempotencyKey, kept_since: int) -> IdempotencyRecord | None:
        """The record of a key, unless it was made before ``kept_since``: it counts as forgotten then."""
        ...

    async def claim(
        self, record: IdempotencyRecord, now: int, kept_since: int
    ) -> tuple[IdempotencyRecord, bool]:
        """Take the key, or an abandoned claim on it; returns the record as it is now, and whether it was taken.

        An abandoned claim keeps its target. A record that was made before ``kept_since`` counts as forgotten.
        """
        ...

    async def keep(self, name: IdempotencyKey, target_id: str, locked_until: int, longer: int) -> bool:
        """Prolong a claim that is locked until then; false when another has taken it over, or it is over."""
        ...

    async def forget(self, name: IdempotencyKey, target_id: str, locked_until: int) -> None:
        """Give up a claim that came to nothing, unless another has taken it over."""
        ...

    async def prune(self, created_before: int, limit: int) -> int:
        """Forget records that have served their time, at most ``limit``; returns how many."""
        ...


class SummaryStore(Protocol):
    """What models are told of the turns that they are no longer shown."""

    async def recall(self, session: Session, limit: int) -> Recalled:
        """The summary of the session's epoch, and the last turns that are not in it, at most ``limit``."""
        ...

    async def keep(self, summary: Summary, turn_id: str | None, usage: UsageData | None) -> None:
        """Store a summary unless there is a later one, or the session's epoch is over.

        ``usage`` is what it cost, to be added to the turn ``turn_id``.
        """
        ...


class TimerStore(Protocol):
    """Timers of sessions; they are set, and go on, with the turns of their sessions (``SessionStore.commit``)."""

    async def take_due(self, now: int, again_at: int, limit: int) -> list[TimerSet]:
        """Take the timers of sessions that are due; each comes back at ``again_at`` unless it changes before."""
        ...

    async def end(self, taken: TimerSet) -> None:
        """Forget timers that are over, unless they were set anew."""
        ...
