"""Calls that flows make: told as events, repeated where that is safe, undone when a later step fails."""

import logging
from typing import Any

from signalbox.contracts.config import CallStep, OnError, SlotValidation
from signalbox.contracts.events import ToolCallData, ToolCallEvent, ToolResultData, ToolResultEvent
from signalbox.contracts.work import Done, ToolCallReply, ToolCallRequest, ToolError
from signalbox.flows import messages
from signalbox.flows.errors import StepFailed
from signalbox.flows.journal import UNDO, CannotCorrect, digest_of, note, saved
from signalbox.flows.run import Run

_LOG = logging.getLogger(__name__)
_MAYBE_DONE = frozenset({"timeout", "upstream_error", "unknown_outcome", "bad_response", "too_large"})
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


def arguments_of(run: Run, step: CallStep) -> dict[str, Any]:
    """What a call step passes now: its arguments, else the slots that have a value. Raises StepFailed."""
    if not step.arguments:
        return {name: value for name, value in run.state.slots.items() if value is not None}
    arguments: dict[str, Any] = run.render(step.arguments)
    return arguments


async def run_call(run: Run, step: CallStep, on_error: OnError | None) -> None:
    """A call step: its result is saved, and how to undo it is kept.

    Raises:
        StepFailed: with the code of the tool's error.
    """
    arguments = arguments_of(run, step)
    tool = run.book.tools.get(step.tool)
    made = Done(
        step=run.state.step,
        kind="call",
        slot=step.save_as,
        digest=_digest(step, arguments),
        write=(tool is not None and tool.effect == "write") or step.compensation is not None,
    )
    if _was_made(run, step, made):
        return
    if made.write:
        await settle(run)
    # With other arguments it is another call, also where an earlier turn that came to nothing was at this place.
    key = run.key(str(run.state.step), made.digest or "")
    reply = await call_tool(run, step.tool, arguments, key)
    for _ in range(on_error.retries if on_error is not None else 0):
        if reply.ok or not _may_repeat(run, step.tool, reply.error):
            break
        reply = await call_tool(run, step.tool, arguments, key)
    if made.write:
        made.key = key
    if not reply.ok:
        error = reply.error or ToolError(code="upstream_error", detail="The tool failed without saying why.")
        if made.write and error.code in _MAYBE_DONE:
            # It may have been done, so it is not to be done again, and not to be taken for done.
            note(run.state, made.model_copy(update={"digest": None}))
        raise StepFailed(error.code, error.detail)
    saved(run.state, step.save_as)
    run.state.results[step.save_as] = reply.output
    if made.write:
        made.value = reply.output
    note(run.state, made)
    if step.compensation is not None:
        undoing = {
            "tool": step.compensation.tool,
            "arguments": run.render(step.compensation.arguments),
            "key": f"{key}{UNDO}",
        }
        run.state.done_writes.append(undoing)


def made_before(run: Run, step: CallStep) -> bool:
    """Whether the flow is run again and has made this write already, as it is. Raises StepFailed."""
    digest = _digest(step, arguments_of(run, step))
    past = [] if run.rerun is None else run.rerun.past
    return any((entry.kind, entry.step, entry.digest) == ("call", run.state.step, digest) for entry in past)


def _digest(step: CallStep, arguments: dict[str, Any]) -> str:
    return digest_of([step.tool, arguments])


def _was_made(run: Run, step: CallStep, made: Done) -> bool:
    """Whether the first run made the same call; its result then is the result."""
    rerun = run.rerun
    before = None if rerun is None else rerun.take("call", made.step, made.digest)
    if rerun is None or before is None:
        return False
    if not before.write and step.save_as not in rerun.results:
        return False
    saved(run.state, step.save_as)
    run.state.results[step.save_as] = before.value if before.write else rerun.results[step.save_as]
    if before.key in rerun.undo:
        run.state.done_writes.append(rerun.undo[before.key])
    note(run.state, before)
    return True


async def settle(run: Run) -> None:
    """Undo the writes of a first run that the new one does not make as they were.

    Raises:
        CannotCorrect: one of them cannot be undone; none was.
        StepFailed: ``compensation_failed``.
    """
    rerun = run.rerun
    if rerun is None or not rerun.writes:
        return
    if any(key not in rerun.undo for key in rerun.writes):
        raise CannotCorrect(written=True)
    while rerun.writes:
        key, _ = rerun.writes.popitem()
        if not await undo(run, rerun.undo[key]):
            raise StepFailed("compensation_failed")
    run.say(messages.UNDONE)


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
        await undo(run, write)


async def undo(run: Run, write: dict[str, Any]) -> bool:
    """Make the compensating call of one write; whether it worked."""
    reply = await call_tool(run, write["tool"], write["arguments"], write["key"])
    if not reply.ok:
        _LOG.error(
            "a write could not be undone",
            extra={"flow": run.state.flow, "tool": write["tool"], "key": write["key"]},
        )
    return reply.ok


def _may_repeat(run: Run, tool_id: str, error: ToolError | None) -> bool:
    """A failed call is repeated where that cannot do a thing twice: reads, idempotent tools, what never arrived."""
    if error is None or error.code not in _REPEATABLE:
        return False
    if error.code == "upstream_error" and error.http_status is not None and error.http_status < 500:
        return error.http_status == 429
    tool = run.book.tools.get(tool_id)
    return error.code == "unreachable" or tool is None or tool.effect == "read" or tool.idempotent
