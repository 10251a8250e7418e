"""One conversation with a flow over a hand-written `ToolCaller`; the state travels as JSON, as it does for real."""

from collections.abc import Callable
from typing import Any

from signalbox.common.web import Emit
from signalbox.contracts.context import CallContext
from signalbox.contracts.events import WorkEvent
from signalbox.contracts.work import (
    FlowReading,
    FlowReadRequest,
    FlowResult,
    FlowRunRequest,
    FlowState,
    ToolCallReply,
    ToolCallRequest,
    ToolError,
)
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.flows.book import FlowBook
from signalbox.flows.interpreter import read_flow, run_flow

Tool = Callable[[dict[str, Any]], Any]
TOOLS = [
    {"id": name, "effect": effect, "idempotent": idempotent, "request": {"url": "https://x.example/"}}
    for name, effect, idempotent in (
        ("look", "read", False), ("check", "read", False), ("book", "write", False), ("charge", "write", False),
        ("undo_book", "write", True), ("undo_charge", "write", True),
    )
]  # fmt: skip
TOOLS.append({"description": "Close the account.", "confirm": "always", **TOOLS[2], "id": "close"})


class FakeTools:
    """Tools as functions; a raised `ToolError` code is a failed reply."""

    def __init__(self, **tools: Tool) -> None:
        self.tools = tools
        self.calls: list[ToolCallRequest] = []
        self.writes: list[bool] = []

    async def call(self, request: ToolCallRequest, *, write: bool) -> ToolCallReply:
        self.calls.append(request)
        self.writes.append(write)
        output = self.tools[request.tool](request.arguments)
        if isinstance(output, ToolError):
            return ToolCallReply(ok=False, error=output, took_ms=1.0)
        return ToolCallReply(ok=True, output=output, took_ms=1.0)

    @property
    def names(self) -> list[str]:
        return [call.tool for call in self.calls]


def failing(code: str, http_status: int | None = None) -> Tool:
    return lambda _: ToolError(code=code, detail="it failed", http_status=http_status)


class Talk:
    """One conversation with one flow."""

    def __init__(
        self,
        flows: list[dict[str, Any]] | dict[str, Any],
        tools: FakeTools | None = None,
        language: str = "en",
        **more: Any,
    ) -> None:
        flows = flows if isinstance(flows, list) else [flows]
        config = {
            "workflow_id": "w", "name": "W", "languages": ["en", "zh"], "tools": TOOLS, "flows": flows,
            "variables": {"shop": "Ridge"},
        }  # fmt: skip
        self.book = FlowBook(WorkflowConfig.model_validate(config), {})
        self.flow = flows[0]["id"]
        self.tools = tools or FakeTools()
        self.language = language
        self.more = more
        self.state: FlowState | None = None
        self.turn = 0
        self.events: list[WorkEvent] = []
        self.emit: Emit = self.events.append

    @property
    def context(self) -> CallContext:
        return CallContext(
            tenant="acme", subject="key:1", workflow_id="w", config_hash="a" * 64, session_id="s",
            turn_id=f"turn_{self.turn}", language=self.language, now_ms=1_795_464_000_000, **self.more,
        )  # fmt: skip

    def read(self, message: str, **arguments: Any) -> FlowReading:
        request = FlowReadRequest(
            context=self.context, state=self.state, message=message, arguments=arguments
        )
        return read_flow(self.book, request, self.tools)

    async def say(self, message: str, **arguments: Any) -> FlowResult:
        return await self.go_on(message, arguments=arguments)

    async def go_on(self, message: str, **how: Any) -> FlowResult:
        self.turn += 1
        request = FlowRunRequest(
            context=self.context, flow=self.flow, state=self.state, message=message, **how
        )
        request = FlowRunRequest.model_validate_json(request.model_dump_json())
        result = await run_flow(self.book, request, self.tools, self.emit)
        self.state = result.state
        return result
