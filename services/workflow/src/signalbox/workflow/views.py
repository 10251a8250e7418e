"""What clients see of sessions and turns, and what they may do to them besides talking."""

import time
from contextlib import suppress
from dataclasses import dataclass

from signalbox.common.errors import Forbidden, Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.snapshots import ConfigFeed
from signalbox.common.storage import PreconditionFailed
from signalbox.contracts.events import CompleteEvent, ErrorEvent, TurnEvent
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.query import (
    FeedbackRequest,
    MessageView,
    QueryReply,
    SessionView,
    TurnState,
    TurnView,
    WorkflowHealth,
    WorkflowState,
)
from signalbox.workflow.errors import SessionBusy, SessionNotFound, TurnCancelled, TurnNotFound
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.keeping.erasing import Eraser
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.records import Session, SessionState, TurnRecord
from signalbox.workflow.running import RunningTurns
from signalbox.workflow.sessions import SessionKeeper

_COUNT_KEPT_S = 10.0
_DELETE_TRIES = 5


@dataclass(slots=True)
class _Counted:
    sessions: int
    at: float


class SessionViews:
    """Sessions and turns for those they belong to; to all others there are none."""

    def __init__(
        self,
        store: SessionStore,
        keeper: SessionKeeper,
        events: SharedEvents,
        running: RunningTurns,
        feed: ConfigFeed,
        eraser: Eraser,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._events = events
        self._running = running
        self._feed = feed
        self._eraser = eraser
        self._counts: dict[str, _Counted] = {}

    async def session(
        self, principal: Principal, session_id: str, user_id: str | None, after: int, limit: int
    ) -> SessionView:
        """A session with a page of its messages.

        Raises:
            SessionNotFound: there is none, for this principal.
        """
        session = await self.visible(principal, session_id, user_id)
        turns = await self._store.turns(session, after, limit // 2 + 1)
        messages = [message for turn in turns for message in _messages(turn)]
        page = [message for message in messages if message.seq > after][:limit]
        last = page[-1].seq if page else after
        expired = session.expires_at <= now_ms()
        state = SessionState() if expired else session.state
        status = "active" if expired or session.status == "deleted" else session.status
        return SessionView(
            session_id=session.session_id,
            agent_id=session.workflow_id,
            workflow_state=WorkflowState(
                config_hash=session.config_hash or self._active_hash(session),
                need_greeting=not state.greeted,
                status=status,
            ),
            message_count=session.message_count,
            messages=page,
            next_after=last if last < session.message_count and page else None,
            created_at=session.created_at,
            expires_at=session.expires_at,
        )

    async def delete(self, principal: Principal, session_id: str, user_id: str | None) -> None:
        """Remove a session's content for good; a turn that is running is discarded.

        Raises:
            SessionNotFound: there is none, for this principal.
            Forbidden: the session is another's, and the principal may only read it.
            SessionBusy: turns kept being committed meanwhile.
        """
        for _ in range(_DELETE_TRIES):
            session = await self.visible(principal, session_id, user_id)
            if not session.visible_to(principal, user_id) and not principal.may(Scope.SESSIONS_DELETE):
                raise Forbidden("This key reads the sessions of others and may not delete them.")
            with suppress(PreconditionFailed):
                await self._eraser.session(session)
                return
        raise SessionBusy(session_id)

    async def turn(self, principal: Principal, turn_id: str, user_id: str | None) -> TurnView:
        """A turn as it stands.

        Raises:
            TurnNotFound: there is none, for this principal.
        """
        record = await self._store.turn(principal.tenant, turn_id)
        if record is None:
            return await self._running_turn(principal, turn_id, user_id)
        await self._visible_turn(principal, record, user_id)
        return TurnView(
            turn_id=turn_id,
            session_id=record.session_id,
            seq=record.seq or 0,
            status=record.status,
            reply=QueryReply.model_validate_json(record.reply) if record.reply else None,
            created_at=record.created_at,
            committed_at=record.committed_at,
        )

    async def cancel(self, principal: Principal, turn_id: str, user_id: str | None) -> TurnView:
        """Stop a turn that is running, here or elsewhere; one that has ended stays as it is.

        Raises:
            TurnNotFound: there is none, for this principal.
            Forbidden: the turn is another's, and the principal may only read it.
        """
        view = await self.turn(principal, turn_id, user_id)
        await self._check_changes(principal, turn_id, user_id)
        if view.status == "running" and not self._running.cancel(principal.tenant, turn_id):
            await self._keeper.request_cancel(principal.tenant, view.session_id, turn_id)
        return view

    async def feedback(
        self, principal: Principal, turn_id: str, user_id: str | None, given: FeedbackRequest
    ) -> None:
        """Keep what the user thought of a turn.

        Raises:
            TurnNotFound: there is none, for this principal.
            Forbidden: the turn is another's, and the principal may only read it.
        """
        record = await self._store.turn(principal.tenant, turn_id)
        if record is None:
            raise TurnNotFound(turn_id)
        await self._visible_turn(principal, record, user_id)
        await self._check_changes(principal, turn_id, user_id)
        await self._store.feedback(principal.tenant, turn_id, given.thumb, given.comment)

    async def health(self, principal: Principal | None) -> WorkflowHealth:
        """Health; with a credential also the active config and the number of sessions (10 s old at most)."""
        if principal is None:
            return WorkflowHealth(status="healthy")
        counted = self._counts.get(principal.tenant)
        if counted is None or time.monotonic() - counted.at > _COUNT_KEPT_S:
            sessions = await self._store.count(principal.tenant, now_ms())
            counted = self._counts[principal.tenant] = _Counted(sessions, time.monotonic())
        releases = self._feed.releases(principal.tenant)
        default = next((release for release in releases if release.is_default), None)
        return WorkflowHealth(
            status="healthy",
            config_hash=default.config_hash if default else None,
            sessions_count=counted.sessions,
        )

    async def visible(self, principal: Principal, session_id: str, user_id: str | None) -> Session:
        """A session as it is stored.

        Raises:
            SessionNotFound: there is none, for this principal.
        """
        session = await self._store.load(principal.tenant, session_id)
        if session is None or session.status == "deleted":
            raise SessionNotFound(session_id)
        if not _may_see(session, principal, user_id):
            raise SessionNotFound(session_id)
        return session

    async def _visible_turn(self, principal: Principal, record: TurnRecord, user_id: str | None) -> None:
        try:
            await self.visible(principal, record.session_id, user_id)
        except SessionNotFound:
            raise TurnNotFound(record.turn_id) from None

    async def _check_changes(self, principal: Principal, turn_id: str, user_id: str | None) -> None:
        """Refuse to change a turn that the principal sees only as one that may read everybody's."""
        if principal.may(Scope.SESSIONS_DELETE) or not principal.may(Scope.SESSIONS_READ):
            return
        reads_its_own = principal.model_copy(update={"scopes": principal.scopes - {Scope.SESSIONS_READ}})
        try:
            await self.turn(reads_its_own, turn_id, user_id)
        except TurnNotFound:
            raise Forbidden("This key reads the turns of others and may not change them.") from None

    async def _running_turn(self, principal: Principal, turn_id: str, user_id: str | None) -> TurnView:
        """A turn that writes nothing outside has no row until it commits; its log tells of it."""
        logged = None
        with suppress(Unavailable):
            logged = await self._events.logged(principal.tenant, turn_id)
        if logged is None or isinstance(logged.last, CompleteEvent):
            # Committed turns have a row; one that has none any more was deleted.
            raise TurnNotFound(turn_id)
        now = now_ms()
        opened = Session(
            tenant=principal.tenant,
            session_id=logged.start.session_id,
            subject=logged.subject,
            user_id=logged.user_id,
            workflow_id=logged.start.workflow_id,
            created_at=now,
            expires_at=now,
        )
        if not _may_see(opened, principal, user_id):
            raise TurnNotFound(turn_id)
        state = _state_after(logged.last)
        return TurnView(
            turn_id=turn_id,
            session_id=opened.session_id,
            seq=await self._next_seq(opened) if state == "running" else 0,
            status=state,
            created_at=now,
        )

    async def _next_seq(self, opened: Session) -> int:
        session = await self._store.load(opened.tenant, opened.session_id)
        return session.last_seq + 1 if session is not None else 1

    def _active_hash(self, session: Session) -> str | None:
        for release in self._feed.releases(session.tenant):
            if release.workflow_id == session.workflow_id:
                return release.config_hash
        return None


def _may_see(session: Session, principal: Principal, user_id: str | None) -> bool:
    return session.visible_to(principal, user_id) or (
        principal.tenant == session.tenant
        and principal.may(Scope.SESSIONS_READ)
        and principal.may_use(session.workflow_id)
    )


def _state_after(event: TurnEvent) -> TurnState:
    if not isinstance(event, ErrorEvent):
        return "running"
    return "cancelled" if event.data.code == TurnCancelled.code else "failed"


def _messages(turn: TurnRecord) -> list[MessageView]:
    messages: list[MessageView] = []
    if turn.kind == "message":
        messages.append(
            MessageView(
                seq=turn.first_message,
                role="user",
                text=turn.user_text,
                turn_id=turn.turn_id,
                created_at=turn.created_at,
            )
        )
    reply = QueryReply.model_validate_json(turn.reply) if turn.reply is not None else None
    if reply is not None and (reply.message or turn.kind == "message"):
        messages.append(
            MessageView(
                seq=turn.first_message + len(messages),
                role="assistant",
                text=reply.message,
                parts=reply.parts,
                turn_id=turn.turn_id,
                created_at=turn.committed_at or turn.created_at,
            )
        )
    return messages
