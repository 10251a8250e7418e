"""Calls that flows make: told as events, repeated where that is safe, undone when a later step fails."""

import logging
from typing import Any

from signalbox.contracts.config import CallStep, OnError, SlotValidation
from signalbox.contracts.events import ToolCallData, ToolCallEvent, ToolResultData, ToolResultEvent
from signalbox.contracts.work import ToolCallReply, ToolCallRequest, ToolError
from signalbox.flows.errors import StepFailed
from signalbox.flows.run import Run

_LOG = logging.getLogger(__name__)
_REPEATABLE = frozenset({"timeout", "unreachable", "upstream_error", "unknown_outcome"})


async def call_tool(run: Run, tool_id: str, arguments: dict[str, Any], key: str) -> ToolCallReply:
    """One tool call, told by two events."""
    tool = run.book.tools.get(tool_id)
    write = tool is not None and tool.effect == "write"
    run.emit(ToolCallEvent(data=ToolCallData(call_id=key, tool=tool_id, arguments=arguments)))
    reply = await run.tools.call(
        ToolCallRequest(context=run.request.context, tool=tool_id, arguments=arguments, idempotency_key=key),
        write=write,
    )
    error = None if reply.error is None else f"{reply.error.code}: {reply.error.detail}"
    run.emit(
        ToolResultEvent(
            data=ToolResultData(
                call_id=key,
                tool=tool_id,
                ok=reply.ok,
                output=reply.output,
                error=error,
                took_ms=reply.took_ms,
            )
        )
    )
    return reply


async def run_call(run: Run, step: CallStep, on_error: OnError | None) -> None:
    """A call step: its result is saved, and how to undo it is kept.

    Raises:
        StepFailed: with the code of the tool's error.
    """
    arguments = run.render(step.arguments) if step.arguments else _filled_slots(run)
    key = run.key(str(run.state.step))
    reply = await call_tool(run, step.tool, arguments, key)
    for _ in range(on_error.retries if on_error is not None else 0):
        if reply.ok or not _may_repeat(run, step.tool, reply.error):
            break
        reply = await call_tool(run, step.tool, arguments, key)
    if not reply.ok:
        error = reply.error or ToolError(code="upstream_error", detail="The tool failed without saying why.")
        raise StepFailed(error.code, error.detail)
    run.state.results[step.save_as] = reply.output
    if step.compensation is not None:
        undo = {
            "tool": step.compensation.tool,
            "arguments": run.render(step.compensation.arguments),
            "key": f"{key}/undo",
        }
        run.state.done_writes.append(undo)


async def accepts(run: Run, slot_id: str, value: Any, validation: SlotValidation) -> bool:
    """Whether the tool that validates a slot accepts a value.

    Raises:
        StepFailed: with the code of the tool's error; a tool that cannot be asked accepts nothing.
    """
    if validation.tool is None:
        return True
    before = run.state.slots.get(slot_id)
    run.state.slots[slot_id] = value
    try:
        arguments = run.render(validation.arguments) if validation.arguments else {slot_id: value}
        reply = await call_tool(run, validation.tool, arguments, run.key("slot", slot_id))
        if not reply.ok:
            error = reply.error or ToolError(
                code="upstream_error", detail="The tool failed without a reason."
            )
            raise StepFailed(error.code, error.detail)
        return run.is_true(validation.accept, result=reply.output)
    finally:
        run.state.slots[slot_id] = before


async def undo_writes(run: Run) -> None:
    """Make the compensating calls, newest write first. One that fails is logged, and the others still made."""
    writes, run.state.done_writes = run.state.done_writes, []
    for write in reversed(writes):
        reply = await call_tool(run, write["tool"], write["arguments"], write["key"])
        if not reply.ok:
            _LOG.error(
                "a write could not be undone",
                extra={"flow": run.state.flow, "tool": write["tool"], "key": write["key"]},
            )


def _filled_slots(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.state.slots.items() if value is not None}


def _may_repeat(run: Run, tool_id: str, error: ToolError | None) -> bool:
    """A failed call is repeated where that cannot do a thing twice: reads, idempotent tools, what never arrived."""
    if error is None or error.code not in _REPEATABLE:
        return False
    if error.code == "upstream_error" and error.http_status is not None and error.http_status < 500:
        return error.http_status == 429
    tool = run.book.tools.get(tool_id)
    return error.code == "unreachable" or tool is None or tool.effect == "read" or tool.idempotent
