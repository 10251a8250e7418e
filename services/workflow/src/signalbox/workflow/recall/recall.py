"""Recalling a conversation for a model: read once a turn, summarised now and then, never longer than its budget.

A summary is made when the turns that are not in it come near the budget: after the reply has been sent, or before the
model is called where that has not happened (a process that died, a model that was away). It is a row beside the
session, with the last turn that it covers, so a turn that makes none reads it and writes nothing of it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import now_ms
from signalbox.common.text_sizes import tokens_of
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal
from signalbox.workflow.ports import SummaryStore
from signalbox.workflow.recall.summariser import Summariser, Written
from signalbox.workflow.recall.window import Budget, fits, newest, split
from signalbox.workflow.records import Recalled, Session, Summary
from signalbox.workflow.snapshot import WorkflowSnapshot

_LOG = logging.getLogger(__name__)

_EARLIER = "Earlier in this conversation: "


class Recall:
    """Recalls conversations, and summarises them in the background."""

    def __init__(self, summaries: SummaryStore, summariser: Summariser) -> None:
        self._summaries = summaries
        self._summariser = summariser
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def of_turn(
        self, session: Session, snapshot: WorkflowSnapshot, context: CallContext, principal: Principal
    ) -> "TurnRecall":
        """What one turn recalls; nothing is read until it is asked."""
        return TurnRecall(self, session, snapshot, context, principal)

    async def close(self) -> None:
        """Stop summarising; what was not finished is done when it is next needed."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self, session: Session) -> bool:
        """Wait until the session's summary is made that is being made here; false when there is none."""
        task = self._tasks.get((session.tenant, session.session_id))
        if task is not None:
            await asyncio.wait({task})
        return task is not None

    async def read(self, session: Session, budget: Budget) -> Recalled:
        """The turns that are not summarised, and the summary."""
        return await self._summaries.recall(session, budget.read)

    async def summarise(self, turn: "TurnRecall", known: Recalled) -> tuple[Recalled, Written | None]:
        """Put the older turns into the summary, and store it; as it was where no model can be asked."""
        older, kept = split(known.turns, turn.budget)
        if not older or older[-1].seq is None:
            return known, None
        before = known.summary.text if known.summary is not None else None
        try:
            written = await self._summariser.write(
                turn.snapshot.config, turn.context, turn.principal, before, older
            )
        except (SignalboxError, TimeoutError) as error:
            _LOG.info("a conversation could not be summarised: %s", type(error).__name__)
            return known, None
        if written is None:
            return known, None
        session = turn.session
        summary = Summary(
            session.tenant, session.session_id, session.epoch, older[-1].seq, written.text, now_ms()
        )
        return Recalled(summary, kept), written

    async def keep(self, summary: Summary, turn_id: str | None, usage: UsageData | None) -> None:
        """Store a summary; what it cost is added to the turn ``turn_id``, which was committed before it."""
        await self._summaries.keep(summary, turn_id, usage)

    def later(self, session: Session, work: Callable[[], Awaitable[None]]) -> None:
        """Do something once the reply is on its way. What fails is tried again when it is needed."""
        name = (session.tenant, session.session_id)
        if name in self._tasks:
            return

        async def run() -> None:
            try:
                await work()
            except SignalboxError as error:
                _LOG.info("a conversation could not be summarised: %s", error.code)
            except Exception:  # noqa: BLE001 - logged with its traceback
                _LOG.exception("a conversation could not be summarised")

        task = self._tasks[name] = asyncio.create_task(run(), name="summary")
        task.add_done_callback(lambda _: self._tasks.pop(name, None))


class TurnRecall:
    """What one turn recalls. ``usage`` is what a summary cost that had to be made before its model was called."""

    def __init__(
        self,
        recall: Recall,
        session: Session,
        snapshot: WorkflowSnapshot,
        context: CallContext,
        principal: Principal,
    ) -> None:
        self._recall = recall
        self.session = session
        self.snapshot = snapshot
        self.context = context
        self.principal = principal
        self.budget = Budget.of(snapshot.config.policies.context)
        self.usage: list[UsageData] = []
        self._known: Recalled | None = None
        self._messages: list[ChatMessage] | None = None
        self._made: Summary | None = None

    async def messages(self) -> list[ChatMessage]:
        """Earlier messages of the epoch, oldest first, the summary before them; read once."""
        if self._messages is None:
            self._messages = await self._read()
        return self._messages

    def after_commit(self, committed: Session) -> None:
        """The turn is committed: keep the summary that it made, or make one now that nobody waits."""
        if self._known is None or not self.snapshot.config.policies.context.compact:
            return
        made, turn_id = self._made, self.context.turn_id
        if made is not None:
            # Its cost is the turn's already.
            self._recall.later(committed, lambda: self._recall.keep(made, None, None))
        elif not fits(self._known.turns, self._text(), self.budget, spare_turns=1):
            self._recall.later(committed, lambda: self._summarise(committed, turn_id))

    async def _read(self) -> list[ChatMessage]:
        if self.budget.nothing or not self.session.stored:
            return []
        known = await self._recall.read(self.session, self.budget)
        if not self.snapshot.config.policies.context.compact:
            self._known = Recalled(None, known.turns)
            return newest(known.turns, self.budget.tokens, self.budget.turns)
        if not _fit(known, self.budget) and await self._recall.settled(self.session):
            known = await self._recall.read(self.session, self.budget)
        if not _fit(known, self.budget):
            known, written = await self._recall.summarise(self, known)
            if written is not None:
                self.usage.append(written.usage)
                self._made = known.summary
        self._known = known
        text = self._text()
        room = self.budget.tokens - tokens_of(text or "")
        shown = newest(known.turns, room, self.budget.turns)
        return shown if text is None else [ChatMessage(role="system", text=_EARLIER + text), *shown]

    async def _summarise(self, committed: Session, turn_id: str) -> None:
        self.session = committed
        known = await self._recall.read(committed, self.budget)
        known, written = await self._recall.summarise(self, known)
        if written is not None and known.summary is not None:
            await self._recall.keep(known.summary, turn_id, written.usage)

    def _text(self) -> str | None:
        known = self._known
        return known.summary.text if known is not None and known.summary is not None else None


def _fit(known: Recalled, budget: Budget) -> bool:
    return fits(known.turns, known.summary.text if known.summary is not None else None, budget)
