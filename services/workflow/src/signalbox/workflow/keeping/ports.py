"""What keeping and forgetting need from a store; ``repository.py`` implements it for both databases."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from signalbox.workflow.records import ErasureRecord, Session, TurnRecord

if TYPE_CHECKING:
    from signalbox.workflow.keeping.listing import SessionFilter


class SessionList(Protocol):
    """Sessions of a tenant, for operators."""

    async def page(
        self,
        tenant: str,
        workflows: frozenset[str] | None,
        wanted: "SessionFilter",
        before: tuple[int, str] | None,
        limit: int,
    ) -> list[tuple[Session, bool]]:
        """Sessions, newest activity first, from behind ``before`` (when, which) on, and whether each has the text.

        ``workflows`` are those that may be seen; None means all.
        """
        ...


class KeptTurns(Protocol):
    """What is kept of sessions, to be exported."""

    async def sessions_of(self, tenant: str, user_id: str, after: str, limit: int) -> list[Session]:
        """Sessions of a user with an id behind ``after``, by id."""
        ...

    async def turns(self, session: Session, after: tuple[int, str], limit: int) -> list[TurnRecord]:
        """Turns of a session, failed ones too, by position and id, from behind ``after``."""
        ...

    async def tasks(self, session: Session, limit: int) -> list[dict[str, object]]:
        """Async queries of a session."""
        ...

    async def schedules_of(self, tenant: str, user_id: str) -> list[dict[str, object]]:
        """Schedules whose messages are a user's."""
        ...

    async def summary(self, session: Session) -> str | None:
        """What models are told of the session's older turns."""
        ...


class ExpiredSessions(Protocol):
    """Sessions whose time is over."""

    async def kept_long_enough(self, now: int, limit: int) -> list[Session]:
        """Sessions that were to be kept until ``now`` or before, the oldest first."""
        ...


class ErasureStore(Protocol):
    """What is still to be forgotten elsewhere."""

    async def recent_turns(self, session: Session, since: int, limit: int) -> list[str]:
        """Ids of the session's turns since a time, newest first."""
        ...

    async def delete_schedules(self, tenant: str, user_id: str) -> None:
        """Remove the schedules whose messages are a user's."""
        ...

    async def add(self, erasure: ErasureRecord) -> None:
        """Keep what is to be forgotten."""
        ...

    async def take_due(self, now: int, again_at: int, limit: int) -> Sequence[ErasureRecord]:
        """Take what is due; each comes back at ``again_at`` unless it ends before."""
        ...

    async def put_off(self, erasure: ErasureRecord, due_at: int) -> None:
        """It has been forgotten once, and is to be forgotten again at ``due_at``."""
        ...

    async def end(self, erasure: ErasureRecord) -> None:
        """It is forgotten everywhere."""
        ...
