"""One turn: take the session, understand the message, do the work, commit, answer.

Correctness is in the database: a turn commits by compare-and-set on the session's epoch and sequence number.
The lease and the cached session only save work. A turn that finds, before anything was done outside, that it
started from a stale copy starts over from the database; one that finds it later is discarded (``lease_lost``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from opentelemetry import trace

from signalbox.common.context import Deadline, current_deadline
from signalbox.common.errors import Forbidden, SignalboxError, Unavailable
from signalbox.common.ids import now_ms
from signalbox.common.snapshots import ConfigFeed, Snapshots
from signalbox.common.storage import DuplicateKey, PreconditionFailed, Write
from signalbox.contracts.admin import ReleasePointer
from signalbox.contracts.context import ChatMessage
from signalbox.contracts.events import (
    CompleteEvent,
    IntentData,
    IntentEvent,
    StartData,
    StartEvent,
    TextData,
    TextEvent,
    UsageData,
    UsageEvent,
)
from signalbox.contracts.query import QueryReply, TurnState
from signalbox.workflow.allowance import UNLIMITED, Allowance
from signalbox.workflow.caps import Caps
from signalbox.workflow.committing import to_its_end
from signalbox.workflow.conversation import Conversation
from signalbox.workflow.decisions import Decider, Plan
from signalbox.workflow.errors import LeaseLost, SessionBusy, SessionNotFound
from signalbox.workflow.keeping.days import RetentionDays
from signalbox.workflow.matching import History, Incoming
from signalbox.workflow.pauses.settling import (
    further_writes,
    session_after_settling,
    settling_plan,
    settling_session,
)
from signalbox.workflow.pinning import may_move
from signalbox.workflow.ports import SessionStore
from signalbox.workflow.recall.recall import Recall, TurnRecall
from signalbox.workflow.records import Session, TurnRecord
from signalbox.workflow.running import TurnStop
from signalbox.workflow.sessions import HeldSession, Policy, SessionKeeper
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.snapshot import WorkflowSnapshot
from signalbox.workflow.timers.plan import set_by
from signalbox.workflow.turn_log import TurnLog
from signalbox.workflow.turn_state import (
    TurnInput,
    TurnStart,
    call_context,
    chat_messages,
    committed_record,
    ended_record,
    running_record,
    session_after,
    turn_reply,
)
from signalbox.workflow.work import Outcome, Work

Tell = Callable[[Session, TurnRecord, str], Awaitable[None]]

_TRANSCRIPT_TURNS = 200
"""Of the conversation that a handoff's receiver is given."""
_HEARTBEAT_S = 2.0
_LOOK_AGAIN_S = 0.02
_LOOK_RARELY_S = 0.25


class TurnRunner:
    """Runs turns."""

    def __init__(
        self,
        store: SessionStore,
        keeper: SessionKeeper,
        feed: ConfigFeed,
        snapshots: Snapshots[WorkflowSnapshot],
        caps: Caps,
        decider: Decider,
        conversation: Conversation,
        settings: WorkflowSettings,
        tracer: trace.Tracer,
        owner: str,
        *,
        recall: Recall,
        tell: Tell | None = None,
    ) -> None:
        """``tell`` tells those who follow a session what was said without a message having asked for it."""
        self._store = store
        self._keeper = keeper
        self._feed = feed
        self._snapshots = snapshots
        self._caps = caps
        self._decider = decider
        self._conversation = conversation
        self._recall = recall
        self._tell = tell
        self._retention = RetentionDays(settings.retention_days, settings.retention_days_by_tenant)
        self._settings = settings
        self._tracer = tracer
        self._owner = owner

    async def run(self, given: TurnInput, log: TurnLog, stop: TurnStop) -> QueryReply:
        """Answer one message. The turn is committed when this returns, and ``log`` ends with ``complete``.

        ``stop`` is told when there may be a write that must not be cut off, and asked when another message interrupts.

        Raises:
            SignalboxError: nothing was committed.
        """
        deadline = current_deadline()
        deadline.check("this turn")
        if given.again:
            await self._retake(given, deadline)
        with self._tracer.start_as_current_span("turn", attributes={"signalbox.turn_id": given.turn_id}):
            async with self._keeper.take(
                given.principal.tenant,
                given.request.session_id,
                given.turn_id,
                deadline,
                lambda session: self._policy(given, session),
                stop.request,
            ) as held:
                return await self._run_held(given, log, stop, held, deadline)

    async def _run_held(
        self, given: TurnInput, log: TurnLog, stop: TurnStop, held: HeldSession, deadline: Deadline
    ) -> QueryReply:
        if log.shared and not held.fresh:
            # What was streamed cannot be taken back: a stream does not start from a copy that may be stale.
            await self._reload(given, held)
        allowance: Allowance | None = None
        while True:
            start = await self._start(given, held.session)
            if allowance is None and given.settles is not None:
                allowance = UNLIMITED
            elif allowance is None:
                # Once: a turn that starts anew is the same message.
                allowance = await self._caps.allowance(
                    start.snapshot, start.session, start.context, given.request.message
                )
            start = replace(start, allowance=allowance)
            log.cancel_when_left = start.snapshot.config.policies.client_gone == "cancel"
            try:
                return await self._answer(given, start, log, stop, held)
            except _StaleStart as stale:
                if not log.restart():
                    raise LeaseLost from stale
                if held.fresh:
                    await self._clear_way(start, deadline)
                await self._reload(given, held)

    async def _retake(self, given: TurnInput, deadline: Deadline) -> None:
        """Make room for a turn whose earlier attempt died.

        Raises:
            LeaseLost: it did not die, and has committed.
            SessionBusy: it did not die, and is still running.
        """
        tenant, turn_id = given.principal.tenant, given.turn_id
        while True:
            await self._store.retake(tenant, turn_id, now_ms() - self._settings.lease_ttl_ms)
            earlier = await self._store.turn(tenant, turn_id)
            if earlier is None:
                return
            if earlier.status == "committed":
                raise LeaseLost
            if deadline.remaining() <= 0:
                raise SessionBusy(given.request.session_id)
            await asyncio.sleep(min(_LOOK_RARELY_S, deadline.remaining()))

    async def _reload(self, given: TurnInput, held: HeldSession) -> None:
        held.session = await self._store.load(given.principal.tenant, given.request.session_id)
        held.fresh = True

    async def _clear_way(self, start: TurnStart, deadline: Deadline) -> None:
        """Wait until no other turn is running in this place, and end one whose replica died."""
        pause = _LOOK_AGAIN_S
        while True:
            heartbeat_at = await self._store.running_since(start.session)
            if heartbeat_at is None:
                return
            now = now_ms()
            # As long as a lease lives without its holder: the two of a replica that died end together.
            stale_before = now - self._settings.lease_ttl_ms
            if heartbeat_at < stale_before and await self._store.abandon(start.session, stale_before, now):
                return
            if deadline.remaining() <= 0:
                raise SessionBusy(start.session.session_id)
            await asyncio.sleep(min(pause, deadline.remaining()))
            pause = min(pause * 2, _LOOK_RARELY_S)

    async def _answer(
        self, given: TurnInput, start: TurnStart, log: TurnLog, stop: TurnStop, held: HeldSession
    ) -> QueryReply:
        plan: Plan | None = None
        begun = stop.may_write = False
        try:
            await self._announce_start(given, start, log)
            message, recall = given.request.message, self._recalled(given, start)
            incoming = Incoming.of(
                start.snapshot, message, start.context, given.principal, recall.messages, start.allowance
            )
            plan = await self._plan(given, start, incoming)
            begun = stop.may_write = plan.may_write(start.snapshot)
            running = running_record(self._owner, given, start) if begun else None
            async with self._place(start, running):
                await self._announce_intent(plan, log)
                greeting = await self._greet(given, start, log)
                outcome = await self._work(given, start, plan, log, incoming)
                if recall.usage:
                    outcome = await _with_usage(outcome, recall.usage, log)
                reply = turn_reply(given, start, plan, outcome, greeting)
                after = self._after(given, start, plan, outcome)
                record = committed_record(self._owner, given, start, plan, outcome, reply, log)
                further = further_writes(given, start, outcome, reply, self._settings.approval_ttl_ms)
                await self._commit(given, start, after, record, outcome, further, begun=begun)
        except _StaleStart:
            raise
        except BaseException as error:
            await self._note_end(given, start, plan, log, error, begun=begun)
            raise
        held.after = replace(after, stored=True)
        await log.emit(CompleteEvent(data=reply))
        if given.settles is not None and self._tell is not None:
            await self._tell(after, record, outcome.message)
        recall.after_commit(held.after)
        return reply

    async def _plan(self, given: TurnInput, start: TurnStart, incoming: Incoming) -> Plan:
        if given.settles is not None:
            return settling_plan(given.settles)
        request = given.request
        return await self._decider.plan(start.session, request.message, incoming, skill=request.skill)

    def _after(self, given: TurnInput, start: TurnStart, plan: Plan, outcome: Outcome) -> Session:
        if given.settles is not None:
            return session_after_settling(start, outcome, now_ms())
        return session_after(start, plan, outcome, self._retention)

    @asynccontextmanager
    async def _place(self, start: TurnStart, turn: TurnRecord | None) -> AsyncIterator[None]:
        """Write the running turn before anything outside may change; without ``turn`` nothing may."""
        if turn is None:
            yield
            return
        try:
            await self._store.begin(start.before, turn)
        except (PreconditionFailed, DuplicateKey) as error:
            raise _StaleStart from error
        heartbeat = asyncio.create_task(self._heartbeats(turn))
        try:
            yield
        finally:
            heartbeat.cancel()

    async def _note_end(
        self,
        given: TurnInput,
        start: TurnStart,
        plan: Plan | None,
        log: TurnLog,
        error: BaseException,
        *,
        begun: bool,
    ) -> None:
        """Keep what an unfinished turn cost; one that had begun gives its place in the order back."""
        status: TurnState = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
        ended = ended_record(self._owner, given, start, plan, log, status)
        if begun or status == "cancelled" or ended.input_tokens:
            # A session that has moved on, or was deleted, wants nothing of it.
            with suppress(Unavailable, PreconditionFailed, DuplicateKey):
                await asyncio.shield(self._store.fail(start.before, ended, begun=begun))

    async def _start(self, given: TurnInput, stored: Session | None) -> TurnStart:
        request, principal, now = given.request, given.principal, now_ms()
        if (
            stored is not None
            and stored.status != "deleted"
            and not stored.visible_to(principal, given.user_id)
        ):
            raise SessionNotFound(request.session_id)
        release = self._release_for(given, stored)
        settles = given.settles
        if settles is not None:
            snapshot = await self._snapshots.get(settles.tenant, settles.config_hash)
        else:
            snapshot = await self._snapshot_for(stored, release, now)
        ttl_ms = snapshot.config.policies.session_ttl_seconds * 1000
        before = stored or Session(
            tenant=principal.tenant,
            session_id=request.session_id,
            subject=principal.subject,
            user_id=given.user_id,
            workflow_id=snapshot.config.workflow_id,
            created_at=now,
            updated_at=now,
            expires_at=now + ttl_ms,
            # Said now, for the row of a first message that is cancelled: nothing else of it would be over some day.
            keep_until=self._retention.keep_until(
                principal.tenant, snapshot.config.policies.retention.days, now
            ),
        )
        session = before
        if settles is not None:
            session = settling_session(given, stored)
        elif before.status == "deleted":
            session = replace(before.renewed(now, ttl_ms), subject=principal.subject, user_id=given.user_id)
        elif before.expires_at <= now or before.status == "closed":
            session = before.renewed(now, ttl_ms)
        return TurnStart(
            before=before,
            session=session,
            snapshot=snapshot,
            release=release if release.config_hash == snapshot.config_hash else None,
            context=call_context(given, session, snapshot, now),
            started=time.perf_counter(),
        )

    async def _snapshot_for(
        self, stored: Session | None, release: ReleasePointer, now: int
    ) -> WorkflowSnapshot:
        """What is released, or for a session with open flows, where its workflow says so, what they began with."""
        tenant = release.tenant
        state = stored.state if stored is not None and stored.expires_at > now else None
        if stored is not None and state is not None and (state.flow is not None or state.paused is not None):
            pinned = stored.config_hash
            if pinned is not None and pinned != release.config_hash:
                current = await self._snapshots.get(tenant, pinned)
                if current.config.policies.snapshot == "pin" or state.paused is not None:
                    return current
                newer = await self._snapshots.get(tenant, release.config_hash)
                return newer if may_move(stored.state, current, newer) else current
        return await self._snapshots.get(tenant, release.config_hash)

    def _release_for(self, given: TurnInput, stored: Session | None) -> ReleasePointer:
        tenant = given.principal.tenant
        known = stored is not None and stored.status != "deleted"
        wanted = given.request.workflow_id or (stored.workflow_id if known and stored is not None else None)
        release = self._feed.release(tenant, wanted)
        if not given.principal.may_use(release.workflow_id):
            raise Forbidden(f"This key may not use the workflow '{release.workflow_id}'.")
        return release

    def _policy(self, given: TurnInput, session: Session | None) -> Policy:
        """What the session's workflow says about a second message while one is answered."""
        with suppress(SignalboxError):
            release = self._release_for(given, session)
            snapshot = self._snapshots.peek(given.principal.tenant, release.config_hash)
            if snapshot is not None:
                return snapshot.config.policies.double_texting
        return "queue"

    async def _announce_start(self, given: TurnInput, start: TurnStart, log: TurnLog) -> None:
        if not log.empty:
            return
        context = start.context
        await log.emit(
            StartEvent(
                data=StartData(
                    turn_id=given.turn_id,
                    session_id=context.session_id,
                    workflow_id=context.workflow_id,
                    config_hash=context.config_hash,
                    language=context.language,
                )
            )
        )

    async def _announce_intent(self, plan: Plan, log: TurnLog) -> None:
        decided = plan.decided
        for used in decided.usage:
            await log.emit(UsageEvent(data=used))
        await log.emit(
            IntentEvent(
                data=IntentData(
                    stage=decided.stage,
                    intent=decided.intent.id if decided.intent else None,
                    score=decided.score,
                    took_us=decided.took_us,
                    cached=decided.cached,
                    target=plan.target,
                    parameters=decided.parameters,
                )
            )
        )

    async def _greet(self, given: TurnInput, start: TurnStart, log: TurnLog) -> str | None:
        config = start.snapshot.config
        if given.settles is not None or start.session.state.greeted or config.greeting is None:
            return None
        context = start.context
        greeting = start.snapshot.render(
            config.greeting,
            context.language,
            context.turn_id,
            start.snapshot.values(context),
            start.untranslated,
        )
        await log.emit(TextEvent(data=TextData(delta=f"{greeting}\n\n")))
        return greeting

    def _transcript(self, start: TurnStart) -> History:
        """Reads the conversation as it was, once, if anything hands it on."""
        known: list[ChatMessage] | None = None

        async def read() -> list[ChatMessage]:
            nonlocal known
            if known is None:
                stored, most = start.before.stored, _TRANSCRIPT_TURNS
                turns = await self._store.recent_turns(start.session, most) if stored else []
                known = chat_messages(turns)
            return known

        return read

    def _recalled(self, given: TurnInput, start: TurnStart) -> TurnRecall:
        """Reads what was said before, once, if anything wants to know."""
        session = replace(start.session, stored=start.before.stored)
        return self._recall.of_turn(session, start.snapshot, start.context, given.principal)

    async def _work(
        self, given: TurnInput, start: TurnStart, plan: Plan, log: TurnLog, incoming: Incoming
    ) -> Outcome:
        work = Work(
            snapshot=start.snapshot,
            context=start.context,
            principal=given.principal,
            message=given.request.message if plan.message is None else plan.message,
            history=incoming.history,
            allowance=incoming.allowance,
            transcript=self._transcript(start),
            emit=log.emit,
            parameters=plan.decided.parameters,
            untranslated=start.untranslated,
        )
        return await self._conversation.carry_out(plan, start.session, work)

    async def _commit(
        self,
        given: TurnInput,
        start: TurnStart,
        after: Session,
        record: TurnRecord,
        outcome: Outcome,
        further: Sequence[Write],
        *,
        begun: bool,
    ) -> None:
        try:
            await to_its_end(
                self._store.commit(
                    start.before,
                    after,
                    record,
                    begun=begun,
                    idempotency=given.idempotency,
                    outbox=outcome.outbox,
                    timers=set_by(start.snapshot.config.timers, after, after.updated_at)
                    if given.settles is None
                    else None,
                    further=further,
                )
            )
        except (PreconditionFailed, DuplicateKey) as error:
            if begun:
                raise LeaseLost from error
            raise _StaleStart from error

    async def _heartbeats(self, turn: TurnRecord) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            with suppress(Unavailable):
                await self._store.heartbeat(turn, now_ms())


async def _with_usage(outcome: Outcome, usage: list[UsageData], log: TurnLog) -> Outcome:
    """The outcome with what a summary cost that the turn had to wait for."""
    for used in usage:
        await log.emit(UsageEvent(data=used))
    return replace(outcome, usage=[*outcome.usage, *usage])


class _StaleStart(Exception):
    """The session has moved on since it was read, and nothing was done outside yet."""
