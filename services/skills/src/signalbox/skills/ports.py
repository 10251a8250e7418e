"""What runs need from outside: snapshots, tools, a model, stored runs, HTTP calls."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from signalbox.common.clients import CallLabels, ChatChunk
from signalbox.common.http_calls import CallResult, HttpCall, RenderedRequest
from signalbox.contracts.config import ModelRole
from signalbox.contracts.llm import ChatRequest
from signalbox.contracts.work import ToolCallReply, ToolCallRequest
from signalbox.skills.book import SkillBook
from signalbox.skills.records import RunRecord, StepRecord


class SkillBooks(Protocol):
    """Compiled snapshots by hash."""

    async def get(self, tenant: str, config_hash: str) -> SkillBook:
        """The tenant's snapshot. Raises UnknownSnapshot."""
        ...


class ToolCaller(Protocol):
    """Calls tools for the principal of the request; ``RemoteTools`` is the real one."""

    async def call(self, request: ToolCallRequest, *, write: bool) -> ToolCallReply:
        """One call; a failure is part of the reply."""
        ...


class Model(Protocol):
    """Calls models for the principal of the request; ``GatewayModel`` is the real one."""

    def stream(self, request: ChatRequest, labels: CallLabels) -> AsyncGenerator[ChatChunk, None]:
        """The chunks of an answer, the last with its usage. Raises ServiceCallFailed or HopError, also late."""
        ...

    async def default_model(self, role: ModelRole) -> str | None:
        """The operator's model of a role. Raises ServiceCallFailed or HopError."""
        ...


class HttpCalls(Protocol):
    """Carries out HTTP calls; ``HttpCallExecutor`` is the real one."""

    async def execute(
        self, call: HttpCall, request: RenderedRequest, *, tenant: str, idempotency_key: str
    ) -> CallResult:
        """The value of the answer. Raises CallFailed."""
        ...


class Runs(Protocol):
    """Stored runs."""

    async def find(self, tenant: str, run_id: str) -> RunRecord | None:
        """A run by its id."""
        ...

    async def begin(self, run: RunRecord, step: StepRecord) -> None:
        """Store a run with its first write, before that write is made. Raises DuplicateKey."""
        ...

    async def take(self, run: RunRecord, now: int) -> RunRecord:
        """Begin the next attempt at a run that was interrupted or waits, from the row that was found.

        Raises:
            PreconditionFailed: another process has taken it.
        """
        ...

    async def steps(self, tenant: str, run_id: str) -> list[StepRecord]:
        """The writes of a run."""
        ...

    async def begin_step(self, run: RunRecord, step: StepRecord) -> None:
        """Store that a write is about to be made, and where the run stands, in one transaction.

        Raises:
            DuplicateKey: the write is noted already.
            PreconditionFailed: this is not the run's last attempt.
        """
        ...

    async def begin_again(self, run: RunRecord, step: StepRecord) -> None:
        """Store that a write of unknown outcome is made once more, and where the run stands, in one transaction.

        Raises:
            PreconditionFailed: its outcome is not noted as unknown, or this is not the run's last attempt.
        """
        ...

    async def end_waiting(self, run: RunRecord, now: int) -> None:
        """End what still waits below a run that was abandoned."""
        ...

    async def checkpoint(self, run: RunRecord) -> None:
        """Store where the run stands. Raises PreconditionFailed when this is not its last attempt."""
        ...

    async def end_step(self, step: StepRecord) -> None:
        """Store what came of a write. Raises PreconditionFailed when that is stored already."""
        ...

    async def finish(self, run: RunRecord, *, begun: bool) -> None:
        """Store how a run ended; one that made no write is stored only now. Raises DuplicateKey."""
        ...

    async def transcripts(
        self, tenant: str, session_id: str, skill: str, turn_ids: Sequence[str]
    ) -> list[tuple[str, str]]:
        """What runs of a skill have left in turns of a session: turn and ``Transcript`` as JSON, oldest first."""
        ...

    async def forget(self, tenant: str, session_ids: Sequence[str]) -> int:
        """Remove the runs of sessions with their steps; returns how many runs there were."""
        ...

    async def kept(
        self, tenant: str, session_ids: Sequence[str], after: str, limit: int
    ) -> list[tuple[RunRecord, list[StepRecord]]]:
        """Runs of sessions, with their steps, by id from behind ``after``."""
        ...
