"""A Workflow service on a stage: its real parts over a real database and cache, with stand-ins for its siblings.

The stand-ins are told what to do by hand: each has a list of what it answers next, and keeps what it was asked.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from opentelemetry.trace import NoOpTracer
from support.admin_stand_in import hash_of

from signalbox.common.cache import Cache, MemoryCache
from signalbox.common.clients import ChatAnswer
from signalbox.common.errors import SignalboxError
from signalbox.common.rules import Re2Engine
from signalbox.common.snapshots.feed import NoRelease
from signalbox.common.storage import Database, Statement
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.admin import ReleasePointer, SnapshotDocument
from signalbox.contracts.context import CallContext, ChatMessage
from signalbox.contracts.events import TextData, TextEvent, UsageData
from signalbox.contracts.identity import Principal, Scope
from signalbox.contracts.keeping import Forgotten, KeptData, KeptDataRequest, OfSessions
from signalbox.contracts.llm import (
    ChatChoice,
    ChatReply,
    ChatRequest,
    FunctionCall,
    Message,
    ModelList,
    ToolCall,
)
from signalbox.contracts.query import QueryReply, QueryRequest
from signalbox.contracts.work import (
    EventFrame,
    FlowReading,
    FlowReadRequest,
    FlowResult,
    FlowResultFrame,
    FlowRunRequest,
    FlowState,
    Frame,
    SkillResult,
    SkillResultFrame,
    SkillRunRequest,
    ToolCallReply,
    ToolCallRequest,
)
from signalbox.workflow.actions import Actions
from signalbox.workflow.caps import Caps, SqlSpending
from signalbox.workflow.conversation import Conversation
from signalbox.workflow.decisions import Decider
from signalbox.workflow.execution import Executor
from signalbox.workflow.flow_model import FlowModel
from signalbox.workflow.following import SharedEvents
from signalbox.workflow.idempotency import Idempotency
from signalbox.workflow.iterations import Iterations
from signalbox.workflow.keeping.erasing import Eraser
from signalbox.workflow.keeping.exporting import Exporter
from signalbox.workflow.keeping.listing import SessionLists
from signalbox.workflow.keeping.repository import SqlKeepingStore
from signalbox.workflow.keeping.retention import Retention
from signalbox.workflow.listening import FlowListener
from signalbox.workflow.matching import Incoming, Matcher
from signalbox.workflow.matching.gateway_vectors import GatewayVectors
from signalbox.workflow.matching.llm_matcher import LlmMatcher
from signalbox.workflow.matching.message_vectors import MessageVectors
from signalbox.workflow.matching.plan_cache import PlanBounds, PlanCache, PlanMetrics
from signalbox.workflow.queries import QueryService
from signalbox.workflow.recall.recall import Recall
from signalbox.workflow.recall.repository import SqlSummaryStore
from signalbox.workflow.recall.summariser import Summariser
from signalbox.workflow.repository import SqlIdempotencyStore, SqlSessionStore
from signalbox.workflow.roles import RoleModels
from signalbox.workflow.running import RunningTurns
from signalbox.workflow.session_log import SessionLog
from signalbox.workflow.sessions import SessionKeeper
from signalbox.workflow.settings import WorkflowSettings
from signalbox.workflow.snapshot import SnapshotCompiler, WorkflowSnapshot
from signalbox.workflow.timers.firing import TimerFiring
from signalbox.workflow.timers.repository import SqlTimerStore
from signalbox.workflow.turn import TurnRunner
from signalbox.workflow.views import SessionViews

ALICE = Principal(tenant="acme", subject="key:alice", scopes=frozenset({Scope.QUERY}))
BOB = Principal(tenant="acme", subject="key:bob", scopes=frozenset({Scope.QUERY}))
RIVAL = Principal(tenant="rival", subject="key:alice", scopes=frozenset({Scope.QUERY}))

_TOOL = {"request": {"method": "GET", "url": "http://backend/x"}}
CONFIG: dict[str, Any] = {
    "schema_version": "1",
    "workflow_id": "shop",
    "name": "Shop",
    "languages": ["en", "zh"],
    "greeting": {"en": "Hello!", "zh": "您好!"},
    "intents": [
        {
            "id": "hours",
            "when": {"patterns": [r"\bopen\b"], "keywords": ["营业"]},
            "then": {"reply": {"en": "From 9 to 17.", "zh": "九点到五点。"}},
        },
        {
            "id": "track",
            "when": {"patterns": [r"order (?P<order_id>\d+)"]},
            "then": {"flow": "track"},
            "parameters": {"order_id": {"type": "integer"}},
        },
        {"id": "refund", "when": {"patterns": [r"refund"]}, "then": {"flow": "refund"}},
        {"id": "person", "when": {"keywords": ["person"]}, "then": {"action": "handoff"}},
        {"id": "bye", "when": {"keywords": ["bye"]}, "then": {"action": "close"}},
        {"id": "name", "when": {"patterns": [r"name is (?P<name>\w+)"]}, "then": {"action": "remember"}},
        {"id": "weather", "when": {"keywords": ["weather"]}, "then": {"tool": "weather"}},
        {"id": "advice", "description": "Wants advice.", "then": {"skill": "advisor"}},
    ],
    "flows": [
        {"id": "track", "steps": [{"type": "call", "tool": "look_up"}]},
        {"id": "refund", "steps": [{"type": "call", "tool": "pay_back"}]},
    ],
    "skills": [{"id": "advisor", "mode": "agent", "instructions": "Advise."}],
    "tools": [
        {"id": "look_up", **_TOOL},
        {"id": "pay_back", "effect": "write", **_TOOL},
        {"id": "weather", **_TOOL},
    ],
    "actions": [
        {"id": "handoff", "type": "handoff", "reply": "A colleague takes over."},
        {"id": "close", "type": "close", "reply": "Goodbye."},
        {"id": "remember", "type": "update_profile", "profile": {"name": "{{ parameters.name }}"}},
    ],
}

_COMPILER = SnapshotCompiler(Re2Engine(), {})


def compiled(config: Mapping[str, Any], tenant: str = "acme") -> WorkflowSnapshot:
    """A snapshot of a config."""
    text = json.dumps(config, ensure_ascii=False, sort_keys=True)
    return _COMPILER(SnapshotDocument(config_hash=hash_of(text), tenant=tenant, document=text))


def model_matcher(gateway: Any = None, cache: Cache | None = None, slots: int = 1024) -> LlmMatcher:
    """The stage that asks models, over a cache of its own."""
    values = (cache or MemoryCache()).values
    return LlmMatcher(gateway, PlanCache(values, PlanBounds(slots, 60_000), PlanMetrics(Metrics("workflow"))))


def incoming(snapshot: WorkflowSnapshot, message: str, *earlier: ChatMessage, **context: Any) -> Incoming:
    """A message of Alice's, with the conversation before it."""

    async def history() -> list[ChatMessage]:
        return list(earlier)

    turn = {"tenant": snapshot.tenant, "subject": ALICE.subject, "workflow_id": snapshot.config.workflow_id}
    turn |= {"config_hash": snapshot.config_hash, "session_id": "s1", "turn_id": "t1", "now_ms": 0}
    made = CallContext.model_validate({**turn, **context})
    return Incoming.of(snapshot, message, made, ALICE, history)


class Releases:
    """Stands in for the config feed and the snapshots that it loads."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], ReleasePointer] = {}
        self._snapshots: dict[tuple[str, str], WorkflowSnapshot] = {}

    def publish(
        self, config: Mapping[str, Any] = CONFIG, tenant: str = "acme", *, default: bool = True
    ) -> WorkflowSnapshot:
        """Make a config the active release of its workflow."""
        snapshot = compiled(config, tenant)
        self._snapshots[tenant, snapshot.config_hash] = snapshot
        name = (tenant, snapshot.config.workflow_id)
        before = self._active.get(name)
        self._active[name] = ReleasePointer(
            tenant=tenant,
            environment="default",
            workflow_id=snapshot.config.workflow_id,
            number=before.number + 1 if before else 1,
            config_hash=snapshot.config_hash,
            is_default=default,
        )
        return snapshot

    def release(self, tenant: str, workflow_id: str | None) -> ReleasePointer:
        """As ``ConfigFeed.release``."""
        for pointer in self.releases(tenant):
            if pointer.workflow_id == workflow_id or (workflow_id is None and pointer.is_default):
                return pointer
        raise NoRelease("Nothing is published.")

    def releases(self, tenant: str) -> list[ReleasePointer]:
        """As ``ConfigFeed.releases``."""
        return [pointer for (owner, _), pointer in self._active.items() if owner == tenant]

    async def get(self, tenant: str, config_hash: str) -> WorkflowSnapshot:
        """As ``Snapshots.get``."""
        return self._snapshots[tenant, config_hash]

    def peek(self, tenant: str, config_hash: str) -> WorkflowSnapshot | None:
        """As ``Snapshots.peek``."""
        return self._snapshots.get((tenant, config_hash))


class Gate:
    """Where a stand-in waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = False

    async def pass_through(self) -> None:
        """Say that the gate is reached and wait until it is opened."""
        self.reached.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


Answer = Any
"""What a stand-in answers: frames or a reply, an exception to raise, or a gate to wait at before the next one."""


class Sibling:
    """What all stand-ins share: a list of answers, the last of which is given again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: list[Answer] = list(answers)
        self.asked: list[Any] = []

    async def _next(self, request: Any) -> Any:
        self.asked.append(request)
        while True:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Gate):
                await answer.pass_through()
                continue
            if isinstance(answer, BaseException):
                raise answer
            return answer(request) if callable(answer) else answer


class FlowsStandIn(Sibling):
    """Stands in for the Flows service; an answer is a frame or a list of them.

    It reads every message as ``reading`` says, and asks an open question again in the words ``question``.
    """

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self.reading: Any = FlowReading(fit="within")
        self.question = "Which one?"
        self.read_requests: list[FlowReadRequest] = []
        self.asked_again: list[FlowRunRequest] = []

    async def read(self, request: FlowReadRequest, principal: Principal) -> FlowReading:
        """As ``FlowsClient.read``."""
        self.read_requests.append(request)
        if isinstance(self.reading, BaseException):
            raise self.reading
        reading: FlowReading = self.reading(request) if callable(self.reading) else self.reading
        return reading

    async def run(self, request: FlowRunRequest, principal: Principal) -> AsyncGenerator[Frame, None]:
        """As ``FlowsClient.run``."""
        if request.asking:
            self.asked_again.append(request)
            yield flow_result(self.question, "waiting", state=request.state)
            return
        answer = await self._next(request)
        for frame in answer if isinstance(answer, list) else [answer]:
            yield frame


class SkillsStandIn(Sibling):
    """Stands in for the Skills service; an answer is a list of frames."""

    async def run(self, request: SkillRunRequest, principal: Principal) -> AsyncGenerator[Frame, None]:
        """As ``SkillsClient.run``."""
        for frame in await self._next(request):
            if isinstance(frame, Gate):
                await frame.pass_through()
            else:
                yield frame


class ToolsStandIn(Sibling):
    """Stands in for the Tools service; an answer is a reply."""

    async def call(self, request: ToolCallRequest, principal: Principal) -> ToolCallReply:
        """As ``ToolsClient.call``."""
        reply: ToolCallReply = await self._next(request)
        return reply


class GatewayStandIn(Sibling):
    """Stands in for the LLM Gateway; an answer is the model's message, or its text."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self.roles = {"match": "fake"}

    async def chat(self, request: ChatRequest, principal: Principal, labels: Any) -> ChatAnswer:
        """As ``GatewayClient.chat``."""
        text = await self._next(request)
        message = text if isinstance(text, Message) else Message(role="assistant", content=text)
        reply = ChatReply(id="c", model="fake", choices=[ChatChoice(message=message)])
        usage = UsageData(model="fake", input_tokens=10, output_tokens=2, cost="0.0001")
        return ChatAnswer(reply=reply, usage=usage)

    async def models(self, principal: Principal) -> ModelList:
        """As ``GatewayClient.models``."""
        return ModelList(data=[], roles=self.roles)


class KeepingStandIn:
    """Stands in for a service that keeps something of sessions: forgets it, or fails as it is told to."""

    def __init__(self) -> None:
        self.asked: list[OfSessions] = []
        self.items: list[dict[str, Any]] = []
        self.failing: SignalboxError | None = None

    async def forget(self, what: OfSessions, principal: Principal) -> Forgotten:
        """As ``SkillsClient.forget``."""
        if self.failing is not None:
            raise self.failing
        self.asked.append(what)
        return Forgotten(rows=1)

    async def kept(self, request: KeptDataRequest, principal: Principal) -> KeptData:
        """As ``SkillsClient.kept``: one item a page."""
        if self.failing is not None:
            raise self.failing
        number = int(request.after or 0)
        last = number + 1 >= len(self.items)
        return KeptData(items=self.items[number : number + 1], next_after=None if last else str(number + 1))


def flow_result(message: str = "Done.", status: str = "completed", **more: Any) -> FlowResultFrame:
    """The last frame of a flow."""
    return FlowResultFrame(result=FlowResult(status=status, message=message, **more))


def flow_waits(message: str = "Which one?", flow: str = "track") -> FlowResultFrame:
    """A flow that asks and waits."""
    state = FlowState(flow=flow, step=1, asked="which")
    return flow_result(message, "waiting", state=state)


def skill_says(*deltas: str, **more: Any) -> list[Frame]:
    """The frames of a skill that streams its answer."""
    frames: list[Frame] = [EventFrame(event=TextEvent(data=TextData(delta=delta))) for delta in deltas]
    result = SkillResult(status="completed", message="".join(deltas), **more)
    return [*frames, SkillResultFrame(result=result)]


def understood(
    intent: str, confidence: float = 0.9, others: Mapping[str, float] | None = None, **parameters: Any
) -> str:
    """What a model answers that has understood a message, or finds ``others`` likely too."""
    likely = [{"intent": name, "confidence": score} for name, score in (others or {}).items()]
    answer = {"intent": intent, "confidence": confidence, "alternatives": likely, "parameters": parameters}
    return json.dumps(answer)


def calls(function: str, **arguments: Any) -> Message:
    """What a model answers that wants one of its functions called."""
    call = FunctionCall(name=function, arguments=json.dumps(arguments))
    return Message(role="assistant", tool_calls=[ToolCall(id=f"call-{function}", function=call)])


class Stage:
    """One replica of the Workflow service."""

    def __init__(
        self,
        database: Database,
        cache: Cache | None = None,
        releases: Releases | None = None,
        name: str = "a",
    ) -> None:
        self.database = database
        self.cache: Cache = cache or MemoryCache()
        self.releases = releases or Releases()
        self.flows = FlowsStandIn(flow_result())
        self.skills = SkillsStandIn(skill_says("Well, ", "well."))
        self.tools = ToolsStandIn(ToolCallReply(ok=True, output="Sunny.", took_ms=1.0))
        self.gateway = GatewayStandIn(understood("none", 0.0))
        self.settings = WorkflowSettings(lease_renew_ms=200, text_merge_ms=5)
        self.store = SqlSessionStore(database)
        self.keeper = SessionKeeper(self.store, self.cache, self.settings, name)
        self.running = RunningTurns(WriteGate(self.cache.leases))
        self.metrics = Metrics("workflow")
        self.plans = PlanCache(self.cache.values, PlanBounds(1024, 60_000), PlanMetrics(self.metrics))
        gateway: Any = self.gateway
        releases_: Any = self.releases
        executor = Executor(self.flows, self.skills, self.tools, Actions())  # type: ignore[arg-type]  # stand-ins
        roles = RoleModels(gateway)
        vectors = MessageVectors(GatewayVectors(gateway))
        matcher = Matcher(LlmMatcher(gateway, self.plans), roles, vectors)
        flows_: Any = self.flows
        self.recall = Recall(SqlSummaryStore(database), Summariser(gateway, roles))
        self.runner = TurnRunner(
            self.store,
            self.keeper,
            releases_,
            releases_,
            Caps(self.cache, SqlSpending(database)),
            Decider(matcher, FlowListener(flows_, matcher, FlowModel(gateway, roles))),
            Conversation(executor, Iterations(executor, gateway)),
            self.settings,
            NoOpTracer(),
            name,
            recall=self.recall,
            tell=SessionLog(self.cache).tell,
        )
        self.events = SharedEvents(self.cache, self.store, self.settings)
        self.idempotency = Idempotency(SqlIdempotencyStore(database), self.settings)
        self.queries = QueryService(self.runner, self.running, self.idempotency, self.events, self.settings)
        self.kept = SqlKeepingStore(database)
        self.elsewhere = KeepingStandIn()
        self.eraser = Eraser(
            self.store, self.kept, self.kept, self.keeper, self.cache, [self.elsewhere], late_ms=60_000
        )
        self.retention = Retention(self.kept, self.eraser, self.cache, name)
        self.exporter = Exporter(self.kept, {"elsewhere": self.elsewhere})
        self.lists = SessionLists(self.kept)
        self.views = SessionViews(self.store, self.keeper, self.events, self.running, releases_, self.eraser)
        self.timer_store = SqlTimerStore(database)
        shared = (self.store, self.keeper, releases_, releases_)
        self.timers = TimerFiring(self.timer_store, *shared, Actions(), self.cache, NoOpTracer(), name)

    def replica(self, name: str = "b") -> "Stage":
        """Another replica over the same stores and releases."""
        return Stage(self.database, self.cache, self.releases, name)

    async def ask(
        self,
        message: str,
        session_id: str = "s1",
        principal: Principal = ALICE,
        key: str | None = None,
        **more: Any,
    ) -> QueryReply:
        """The reply to a message."""
        request = QueryRequest(message=message, session_id=session_id, **more)
        return await self.queries.answer(principal, request, key)

    async def stream(
        self, message: str, session_id: str = "s1", principal: Principal = ALICE, **more: Any
    ) -> list[dict[str, Any]]:
        """The events of a streamed turn, with their numbers as ``id``."""
        request = QueryRequest(message=message, session_id=session_id, **more)
        started = await self.queries.stream(principal, request, None)
        assert not isinstance(started, QueryReply)
        return [{"id": number, **json.loads(raw)} async for number, raw in started.log.follow()]

    async def turns(self, session_id: str = "s1", tenant: str = "acme") -> list[dict[str, Any]]:
        """All stored turns of a session, as they lie in the database, oldest first."""
        rows = await rows_of(self.database, "workflow_turns")
        found = [row for row in rows if (row["tenant"], row["session_id"]) == (tenant, session_id)]
        return sorted(found, key=lambda row: (row["epoch"], row["first_message"], row["created_at"]))

    async def close(self) -> None:
        """End what runs."""
        await self.running.drain(1.0)
        await self.keeper.drain()


async def rows_of(database: Database, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    return await database.fetch_all(Statement(f"SELECT * FROM {table}"))


def with_policies(config: Mapping[str, Any] = CONFIG, **policies: Any) -> dict[str, Any]:
    """The config with other policies."""
    return {**config, "policies": policies}


def without(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The config without some of its members."""
    return {name: value for name, value in config.items() if name not in names}
