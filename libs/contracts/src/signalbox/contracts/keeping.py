"""What is kept of conversations: lists, exports and erasure, for operators and for those whose words they are."""

from typing import Any, Literal

from signalbox.contracts.base import EpochMs, WireModel


class SessionSummary(WireModel):
    """One session of a list."""

    session_id: str
    agent_id: str
    user_id: str | None = None
    status: Literal["active", "waiting", "transferred", "closed"]
    """As its last turn left it; past ``expires_at`` the next message starts afresh."""
    message_count: int
    created_at: EpochMs
    updated_at: EpochMs
    expires_at: EpochMs


class SessionPage(WireModel):
    """Sessions of a tenant, those first in which something was said last."""

    sessions: list[SessionSummary]
    next_cursor: str | None = None
    """Pass as ``?cursor=`` for more; null at the end. A page of a text search may have few, or none, and a next one."""


class ErasedUser(WireModel):
    """A user's data was erased."""

    status: Literal["erased", "erasing"]
    """``erasing``: it is gone from Workflow; a service that could not be reached forgets it as soon as it can."""
    sessions: int
    """Sessions that were erased now."""


class OfSessions(WireModel):
    """Whose data is meant, in a call between services; the tenant is the token's."""

    session_ids: list[str] = []
    turn_ids: list[str] = []
    """Turns that are not longer over than replies to repeated calls are kept."""
    subjects: list[str] = []
    """Who posted the messages of those turns."""
    user_id: str | None = None
    """Also what names this user, in whatever session."""
    since: EpochMs = 0
    """Nothing of it is older."""
    until: EpochMs | None = None
    """Nothing of it is newer; null is now."""


class Forgotten(WireModel):
    """What a service has forgotten."""

    rows: int = 0


class KeptData(WireModel):
    """What a service keeps of sessions or of a user, a page of it."""

    items: list[dict[str, Any]] = []
    next_after: str | None = None


class KeptDataRequest(OfSessions):
    """Ask for what is kept."""

    after: str | None = None
