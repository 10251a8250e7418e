"""Lists of a tenant's sessions, for operators: by user, workflow, status, time and what was said."""

import base64
import binascii

from signalbox.common.errors import ValidationFailed
from signalbox.common.record import record
from signalbox.contracts.identity import Principal
from signalbox.contracts.keeping import SessionPage, SessionSummary
from signalbox.workflow.keeping.ports import SessionList
from signalbox.workflow.records import Session

_SCANNED = 500
"""Sessions that one page of a text search looks into."""


@record
class SessionFilter:
    """Which sessions are wanted; None does not choose."""

    user_id: str | None = None
    workflow_id: str | None = None
    status: str | None = None
    since: int = 0
    """Epoch milliseconds: something was said then or later."""
    until: int = 2**62
    text: str | None = None
    """In a message of the user's or the assistant's."""


class SessionLists:
    """Pages of sessions."""

    def __init__(self, sessions: SessionList) -> None:
        self._sessions = sessions

    async def page(
        self, principal: Principal, wanted: SessionFilter, cursor: str | None, limit: int
    ) -> SessionPage:
        """The sessions of the principal's tenant and workflows, a page of them.

        Raises:
            ValidationFailed: the cursor is none of ours.
        """
        before = _read(cursor) if cursor is not None else None
        look_at = limit if wanted.text is None else _SCANNED
        scanned = await self._sessions.page(principal.tenant, principal.workflows, wanted, before, look_at)
        found = [session for session, hit in scanned if hit]
        page = found[:limit]
        last: Session | None = None
        if len(found) > limit:
            last = page[-1]
        elif len(scanned) == look_at:
            last = scanned[-1][0]
        return SessionPage(
            sessions=[_summary(session) for session in page],
            next_cursor=None if last is None else _written(last),
        )


def _summary(session: Session) -> SessionSummary:
    return SessionSummary(
        session_id=session.session_id,
        agent_id=session.workflow_id,
        user_id=session.user_id,
        status="active" if session.status == "deleted" else session.status,
        message_count=session.message_count,
        created_at=session.created_at,
        updated_at=session.updated_at,
        expires_at=session.expires_at,
    )


def _written(last: Session) -> str:
    return base64.urlsafe_b64encode(f"{last.updated_at}:{last.session_id}".encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[int, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, _, session_id = base64.urlsafe_b64decode(padded.encode()).decode().partition(":")
        return int(at), session_id
    except (ValueError, binascii.Error) as error:
        raise ValidationFailed(
            "This cursor is none of ours; leave it out for the first page.", pointer="/cursor"
        ) from error
