"""Firing timers: each is a turn of its own, in its session's order, that no message of the user began.

Whichever replica takes a timer first fires it. Its turn commits by the same compare-and-set as any turn, and together
with what is left of the timers: a timer that two replicas took, or that was taken again after a kill, is kept once.
"""

import asyncio
import logging
import time
from dataclasses import replace

import orjson
from opentelemetry import trace

from signalbox.common.cache import Cache
from signalbox.common.context import Deadline
from signalbox.common.errors import NotFound, SignalboxError
from signalbox.common.ids import new_id, now_ms
from signalbox.common.record import record
from signalbox.common.snapshots import ConfigFeed, Snapshots
from signalbox.common.storage import DuplicateKey, PreconditionFailed
from signalbox.common.telemetry import current_trace_id
from signalbox.contracts.config import Timer
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import TextData, TextEvent
from signalbox.contracts.query import QueryReply
from signalbox.workflow.actions import ActionOutcome, Actions, Situation
from signalbox.workflow.background.ticker import Ticker
from signalbox.workflow.errors import SessionBusy
from signalbox.workflow.ports import SessionStore, TimerStore
from signalbox.workflow.records import Fired, Session, TimerSet, TurnRecord
from signalbox.workflow.session_log import SessionLog
from signalbox.workflow.sessions import HeldSession, SessionKeeper
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.timers.plan import Planned, after_firing, planned_of

_LOG = logging.getLogger(__name__)

_BATCH = 50
_WAIT_S = 5.0
"""For a session that answers a message; its user was not silent, or the timer comes again."""
_AGAIN_MS = 15_000
"""When a timer comes again whose replica died, or that could not fire."""


@record
class _Firing:
    """One timer about to fire."""

    taken: TimerSet
    planned: Planned
    timer: Timer | None
    session: Session
    snapshot: WorkflowSnapshot
    context: CallContext


class TimerFiring:
    """Fires what is due, from any replica."""

    def __init__(
        self,
        timers: TimerStore,
        store: SessionStore,
        keeper: SessionKeeper,
        feed: ConfigFeed,
        snapshots: Snapshots[WorkflowSnapshot],
        actions: Actions,
        cache: Cache,
        tracer: trace.Tracer,
        owner: str,
    ) -> None:
        self._timers = timers
        self._store = store
        self._keeper = keeper
        self._feed = feed
        self._snapshots = snapshots
        self._actions = actions
        self._log = SessionLog(cache)
        self._tracer = tracer
        self._owner = owner
        self._ticker = Ticker("timers", self._look)

    def start(self) -> None:
        """Look for due timers from now on."""
        self._ticker.start()

    async def stop(self) -> None:
        """Stop; a timer that was about to fire does so at another replica or in the next process."""
        await self._ticker.stop()

    async def fire_due(self) -> int:
        """Fire what is due now; returns how many sessions were looked at."""
        now = now_ms()
        taken = await self._timers.take_due(now, now + _AGAIN_MS, _BATCH)
        await asyncio.gather(*(self._fire(timers, now) for timers in taken))
        return len(taken)

    async def _look(self) -> bool:
        return await self.fire_due() == _BATCH

    async def _fire(self, taken: TimerSet, now: int) -> None:
        """Fire the first timer of a session; the others follow when the row is next due."""
        turn_id = new_id("turn")
        try:
            with self._tracer.start_as_current_span("timer", attributes={"signalbox.turn_id": turn_id}):
                async with self._keeper.take(
                    taken.tenant,
                    taken.session_id,
                    turn_id,
                    Deadline.after(_WAIT_S),
                    lambda _: "queue",
                    lambda: None,
                ) as held:
                    await self._fire_held(taken, held, turn_id, now)
        except SessionBusy:
            return
        except (PreconditionFailed, DuplicateKey):
            # The user spoke meanwhile, or another replica fired it; what is still due comes again.
            await self._keeper.forget(taken.tenant, taken.session_id)
        except SignalboxError as error:
            _LOG.warning("a timer could not fire: %s", error.problem().code)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _LOG.exception("a timer could not fire", extra={"session_id": taken.session_id})

    async def _fire_held(self, taken: TimerSet, held: HeldSession, turn_id: str, now: int) -> None:
        # Not from the cached copy: what a timer says cannot be taken back.
        session = await self._store.load(taken.tenant, taken.session_id)
        if session is None or not _is_silent(session, taken, now):
            await self._timers.end(taken)
            return
        snapshot = await self._snapshot(session)
        due = planned_of(taken)[0]
        timer = next((entry for entry in snapshot.config.timers if entry.id == due.id), None)
        context = _context(session, snapshot, turn_id, now)
        firing = _Firing(taken, due, timer, session, snapshot, context)
        outcome = self._outcome(firing)
        after = _session_after(session, outcome, now)
        turn = _turn_of(self._owner, firing, outcome)
        left = after_firing(taken, due, timer, now)
        await self._store.commit(
            session, after, turn, begun=False, outbox=outcome.outbox, timers=Fired(taken, left)
        )
        held.after = replace(after, stored=True)
        await self._log.tell(after, turn, outcome.message)

    def _outcome(self, firing: _Firing) -> ActionOutcome:
        """What the timer does. One that the config no longer has does nothing, and is over."""
        timer, snapshot, context = firing.timer, firing.snapshot, firing.context
        if timer is None:
            return ActionOutcome("")
        said = ""
        if timer.reply is not None:
            values = snapshot.values(context, parameters={})
            said = snapshot.render(timer.reply, context.language, context.turn_id, values)
        if timer.action is None:
            return ActionOutcome(said)
        try:
            return self._actions.take(snapshot, timer.action, context, Situation(reason="silence"), said)
        except NotFound:
            return ActionOutcome(said)

    async def _snapshot(self, session: Session) -> WorkflowSnapshot:
        pinned = session.config_hash if session.state.flow is not None else None
        if pinned is None:
            pinned = self._feed.release(session.tenant, session.workflow_id).config_hash
        return await self._snapshots.get(session.tenant, pinned)


def _is_silent(session: Session, taken: TimerSet, now: int) -> bool:
    """Whether the user has said nothing since the timers were set, and somebody may still be there."""
    return (
        session.status in ("active", "waiting")
        and session.epoch == taken.epoch
        and session.state.heard == taken.seq
        and session.expires_at > now
    )


def _context(session: Session, snapshot: WorkflowSnapshot, turn_id: str, now: int) -> CallContext:
    return CallContext(
        tenant=session.tenant,
        subject=session.subject,
        workflow_id=session.workflow_id,
        config_hash=snapshot.config_hash,
        session_id=session.session_id,
        user_id=session.user_id,
        turn_id=turn_id,
        epoch=session.epoch,
        language=session.state.language or snapshot.config.default_language,
        timezone=session.state.timezone or "UTC",
        now_ms=now,
        profile=session.state.profile,
    )


def _session_after(session: Session, outcome: ActionOutcome, now: int) -> Session:
    """The session once the timer has fired. It lives no longer for that: only its user keeps it alive."""
    ended = outcome.session_status != "active"
    state = session.state.model_copy(
        update={
            "flow": None if ended else session.state.flow,
            "profile": session.state.profile if outcome.profile is None else outcome.profile,
        }
    )
    return replace(
        session,
        status=outcome.session_status if ended else session.status,
        last_seq=session.last_seq + 1,
        message_count=session.message_count + (1 if outcome.message else 0),
        config_hash=None if ended else session.config_hash,
        state=state,
        updated_at=now,
    )


def _turn_of(owner: str, firing: _Firing, outcome: ActionOutcome) -> TurnRecord:
    session, context = firing.session, firing.context
    reply = QueryReply(
        session_id=session.session_id,
        message=outcome.message,
        status=outcome.status,
        turn_id=context.turn_id,
        agent_id=session.workflow_id,
        language=context.language,
        trace_id=current_trace_id(),
    )
    said = TextEvent(data=TextData(delta=outcome.message)).model_dump(mode="json")
    return TurnRecord(
        tenant=session.tenant,
        turn_id=context.turn_id,
        session_id=session.session_id,
        epoch=session.epoch,
        seq=session.last_seq + 1,
        status="committed",
        owner=owner,
        first_message=session.message_count + 1,
        user_text="",
        workflow_id=session.workflow_id,
        config_hash=firing.snapshot.config_hash,
        created_at=context.now_ms,
        heartbeat_at=context.now_ms,
        reply=reply.model_dump_json(exclude_none=True),
        events=orjson.dumps([said] if outcome.message else []).decode(),
        outcome=outcome.status,
        latency_ms=max(0.0, time.time() * 1000 - context.now_ms),
        trace_id=current_trace_id(),
        committed_at=now_ms(),
        kind="timer",
    )
