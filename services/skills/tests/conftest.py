"""A bench for skills: scripted model, tools as functions, runs in memory or in SQLite."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from signalbox.common.cache import MemoryCache
from signalbox.common.clients import CallLabels, ChatChunk
from signalbox.common.http_calls import CallResult
from signalbox.common.storage import DuplicateKey, PreconditionFailed
from signalbox.common.telemetry.metrics import Metrics
from signalbox.common.write_gate import WriteGate
from signalbox.contracts.config import ModelRole
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import WorkEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ChatRequest
from signalbox.contracts.work import SkillResult, SkillRunRequest, ToolCallReply, ToolCallRequest, ToolError
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.skills.book import SkillBook
from signalbox.skills.metrics import SkillMetrics
from signalbox.skills.records import RunRecord, StepRecord
from signalbox.skills.service import Callees, SkillRuns

Json = dict[str, Any]
Script = Callable[[ChatRequest], list[Json] | Exception]


def chunk(text: str | None = None, calls: list[Json] | None = None, finish: str | None = None) -> Json:
    delta = {"content": text, "tool_calls": calls or []}
    return {"model": "m-1", "choices": [{"delta": delta, "finish_reason": finish}]}


def usage(tokens: int = 10, cost: str | None = "0.001 USD") -> Json:
    counted = {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens}
    return {"model": "m-1", "choices": [], "usage": counted, "signalbox_cost": cost}


def says(*pieces: str) -> list[Json]:
    """An answer in words."""
    return [*(chunk(piece) for piece in pieces), chunk(finish="stop"), usage()]


def asks(*calls: tuple[str, str], text: str | None = None) -> list[Json]:
    """An answer that asks for tools: names with their arguments as JSON text, sent in two pieces each."""
    chunks = [chunk(text)] if text else []
    for index, (name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        first = {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": arguments[:half]}}
        chunks += [
            chunk(calls=[first]),
            chunk(calls=[{"index": index, "function": {"arguments": arguments[half:]}}]),
        ]
    return [*chunks, chunk(finish="tool_calls"), usage()]


class FakeModel:
    """Plays a script: answers in order, errors, or functions of the request."""

    def __init__(self, *script: list[Json] | Exception | Script) -> None:
        self.script = list(script)
        self.requests: list[ChatRequest] = []
        self.labels: list[CallLabels] = []
        self.roles: dict[str, str] = {"answer": "default-model"}
        self.hang_after: int | None = None

    async def stream(self, request: ChatRequest, labels: CallLabels) -> AsyncGenerator[ChatChunk, None]:
        self.requests.append(request.model_copy(deep=True))
        self.labels.append(labels)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        answer = step(request) if callable(step) else step
        if isinstance(answer, BaseException):
            raise answer
        for number, piece in enumerate(answer):
            if self.hang_after is not None and number >= self.hang_after:
                await asyncio.Event().wait()
            yield ChatChunk.model_validate(piece)

    async def default_model(self, role: ModelRole) -> str | None:
        return self.roles.get(role)


class FakeTools:
    """Tools as functions of their arguments; async ones are awaited, a `ToolError` is a failure."""

    def __init__(self) -> None:
        self.tools: dict[str, Callable[[Json], Any]] = {}
        self.calls: list[ToolCallRequest] = []

    async def call(self, request: ToolCallRequest, *, write: bool) -> ToolCallReply:
        self.calls.append(request)
        output = self.tools[request.tool](request.arguments)
        if asyncio.iscoroutine(output):
            output = await output
        if isinstance(output, ToolError):
            return ToolCallReply(ok=False, error=output, took_ms=1.0)
        return ToolCallReply(ok=True, output=output, took_ms=1.0)


class FakeHttp:
    """An endpoint as a function of the rendered request."""

    def __init__(self) -> None:
        self.serve: Callable[[Json], Any] = lambda request: request
        self.keys: list[str] = []

    async def execute(self, call: Any, request: Any, *, tenant: str, idempotency_key: str) -> CallResult:
        self.keys.append(idempotency_key)
        return CallResult(self.serve(request.shown()), 1)


class MemoryRuns:
    """Runs in dictionaries; counts what was written."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], RunRecord] = {}
        self.steps_by_key: dict[tuple[str, str, str], StepRecord] = {}
        self.checkpoints = 0
        self.writes: list[str] = []

    async def find(self, tenant: str, run_id: str) -> RunRecord | None:
        return self.runs.get((tenant, run_id))

    async def begin(self, run: RunRecord, step: StepRecord) -> None:
        if (run.tenant, run.run_id) in self.runs:
            raise DuplicateKey("skills_runs")
        self.writes.append("begin")
        self.runs[run.tenant, run.run_id] = run
        self.steps_by_key[step.tenant, step.run_id, step.step] = step

    async def take(self, run: RunRecord, now: int) -> RunRecord:
        current = self.runs[run.tenant, run.run_id]
        if current.attempt != run.attempt or current.status not in {"running", "cancelled", "waiting"}:
            raise PreconditionFailed(0)
        taken = replace(run, attempt=run.attempt + 1, status="running", result=None)
        self.runs[run.tenant, run.run_id] = taken
        return taken

    async def steps(self, tenant: str, run_id: str) -> list[StepRecord]:
        return [step for (_, of, _), step in self.steps_by_key.items() if of == run_id]

    async def checkpoint(self, run: RunRecord) -> None:
        self._own(run)
        self.runs[run.tenant, run.run_id] = run
        self.checkpoints += 1

    def _own(self, run: RunRecord) -> None:
        if self.runs[run.tenant, run.run_id].attempt != run.attempt:
            raise PreconditionFailed(0)

    async def begin_step(self, run: RunRecord, step: StepRecord) -> None:
        self._own(run)
        self.writes.append("begin_step")
        self.runs[run.tenant, run.run_id] = run
        self.steps_by_key[step.tenant, step.run_id, step.step] = step

    async def begin_again(self, run: RunRecord, step: StepRecord) -> None:
        self._own(run)
        if self.steps_by_key[step.tenant, step.run_id, step.step].status != "unknown":
            raise PreconditionFailed(0)
        self.writes.append("begin_again")
        self.runs[run.tenant, run.run_id] = run
        self.steps_by_key[step.tenant, step.run_id, step.step] = step

    async def end_waiting(self, run: RunRecord, now: int) -> None:
        for name, below in self.runs.items():
            if below.status == "waiting" and below.run_id.startswith(f"{run.run_id}/"):
                self.runs[name] = replace(below, status="cancelled", reason="abandoned")

    async def end_step(self, step: StepRecord) -> None:
        self.writes.append("end_step")
        self.steps_by_key[step.tenant, step.run_id, step.step] = step

    async def finish(self, run: RunRecord, *, begun: bool) -> None:
        if not begun and (run.tenant, run.run_id) in self.runs:
            raise DuplicateKey("skills_runs")
        self.writes.append("finish")
        self.runs[run.tenant, run.run_id] = run

    async def transcripts(
        self, tenant: str, session_id: str, skill: str, turn_ids: Sequence[str]
    ) -> list[tuple[str, str]]:
        return [
            (run.turn_id, run.transcript)
            for run in self.runs.values()
            if (run.tenant, run.session_id, run.skill) == (tenant, session_id, skill)
            and run.turn_id in turn_ids
            and run.transcript is not None
        ]

    async def forget(self, tenant: str, session_ids: Sequence[str]) -> int:
        names = [name for name, run in self.runs.items() if run.session_id in session_ids]
        for name in names:
            del self.runs[name]
        return len(names)

    async def kept(
        self, tenant: str, session_ids: Sequence[str], after: str, limit: int
    ) -> list[tuple[RunRecord, list[StepRecord]]]:
        return [(run, []) for run in self.runs.values() if run.session_id in session_ids]


class FakeBooks:
    def __init__(self, book: SkillBook) -> None:
        self.book = book

    async def get(self, tenant: str, config_hash: str) -> SkillBook:
        return self.book


TOOLS: list[Json] = [
    {
        "id": "look",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}, "user": {"type": "string"}}},
        "context": {"user": "{{ context.user_id }}"},
        "request": {"url": "https://x.example/"},
    },
    {"id": "look.two", "request": {"url": "https://x.example/"}},
    {"id": "book", "effect": "write", "request": {"url": "https://x.example/", "method": "POST"}},
    {"id": "risky", "effect": "write", "confirm": "always", "request": {"url": "https://x.example/"}},
    {"id": "elsewhere", "request": {"url": "https://x.example/"}},
]


class Bench:
    """The service with its fakes and one workflow."""

    says = staticmethod(says)
    asks = staticmethod(asks)
    chunk = staticmethod(chunk)
    usage = staticmethod(usage)

    def __init__(self, *skills: Json, functions: Json | None = None, **config: Any) -> None:
        document = {
            "workflow_id": "w", "name": "Ridge assistant", "languages": ["en", "zh"], "tools": TOOLS,
            "persona": {"background": "You know gear.", "tone": "Brief."}, "variables": {"base": "https://x.example"},
            "instructions": {"constraints": ["Never invent."]}, "skills": list(skills), **config,
        }  # fmt: skip
        self.book = SkillBook(WorkflowConfig.model_validate(document), {}, functions or {})
        self.skill = skills[0]["id"]
        self.model = FakeModel(says("Hello."))
        self.tools = FakeTools()
        self.http = FakeHttp()
        self.gate = WriteGate(MemoryCache().leases)
        self.runs: Any = MemoryRuns()
        self.events: list[WorkEvent] = []
        self.spans = InMemorySpanExporter()
        self.metrics = Metrics("skills")
        self.skill_metrics = SkillMetrics(self.metrics)
        self.context_tokens = 48_000
        self.transcript_chars = 64_000
        tracing = TracerProvider()
        tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = tracing.get_tracer("test")

    @property
    def service(self) -> SkillRuns:
        callees = Callees(lambda _: self.tools, lambda _: self.model, self.http, self.gate)
        return SkillRuns(
            FakeBooks(self.book), self.runs, callees, self.tracer, self.skill_metrics,
            result_chars=1000, context_tokens=self.context_tokens,
            transcript_chars=self.transcript_chars,
        )  # fmt: skip

    async def run(
        self, message: str = "hi", run_id: str = "turn_1/s", language: str = "en", **more: Any
    ) -> SkillResult:
        context = CallContext(
            tenant="acme", subject="key:1", workflow_id="w", config_hash="a" * 64, session_id="s", user_id="u1",
            turn_id="turn_1", language=language, now_ms=1_795_464_000_000,
        )  # fmt: skip
        request = SkillRunRequest(context=context, skill=self.skill, run_id=run_id, message=message, **more)
        work = await self.service.prepare(request, Principal(tenant="acme", subject="key:1"))
        frame = await work(self.events.append)
        return SkillResult.model_validate_json(frame.result.model_dump_json())

    @property
    def streamed(self) -> str:
        """All text that the user was shown."""
        return "".join(event.data.delta for event in self.events if event.type == "text")

    @property
    def told(self) -> list[tuple[str, bool]]:
        """Tools and whether they worked, as the events tell it."""
        return [(event.data.tool, event.data.ok) for event in self.events if event.type == "tool_result"]


AGENT: Json = {
    "id": "advisor", "mode": "agent", "description": "Advises.", "instructions": "Find gear.",
    "tools": ["look", "look.two", "book", "risky"], "max_steps": 4,
}  # fmt: skip


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    """Makes a bench; without skills it has one agent, changed by ``agent``."""

    def make(*skills: Json, agent: Json | None = None, **config: Any) -> Bench:
        return Bench(*(skills or ({**AGENT, **(agent or {})},)), **config)

    return make
