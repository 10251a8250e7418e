"""Runs the steps of a flow until it waits for the user or ends.

State comes in with the call and goes out with its result; nothing is kept here.
"""

import logging
from typing import Literal

from signalbox.common.record import record
from signalbox.common.web import Emit
from signalbox.contracts.config import (
    AskStep,
    BranchStep,
    CallStep,
    ConfirmStep,
    EndStep,
    OnError,
    ReplyStep,
    SetStep,
    Step,
    SubflowStep,
)
from signalbox.contracts.work import Done, FlowReading, FlowReadRequest, FlowResult, FlowRunRequest, FlowState
from signalbox.flows import messages
from signalbox.flows.book import FlowBook
from signalbox.flows.calls import run_call, settle, undo_writes
from signalbox.flows.correcting import run_again
from signalbox.flows.errors import FlowStateInvalid, StepFailed
from signalbox.flows.journal import CannotCorrect, digest_of, note, saved
from signalbox.flows.ports import ToolCaller
from signalbox.flows.questions import (
    ask,
    ask_again,
    confirm,
    fill_from_arguments,
    fill_from_elsewhere,
    needs_yes,
)
from signalbox.flows.run import Answer, Run
from signalbox.flows.understanding import answer_text, read_message

_LOG = logging.getLogger(__name__)
_MAX_DEPTH = 10


@record
class _Goto:
    """Go on with the step of this name; None is the step after this one."""

    step: str | None = None


@record
class _Wait:
    """Wait for the user's next message."""


@record
class _Enter:
    """The innermost flow has changed: go on with its first step."""


@record
class _End:
    """The innermost flow is over."""

    outcome: Literal["completed", "cancelled", "failed"] = "completed"
    action: str | None = None
    reason: str | None = None


_Move = _Goto | _Wait | _Enter | _End


async def run_flow(
    book: FlowBook, request: FlowRunRequest, tools: ToolCaller, emit: Emit, *, max_steps: int = 200
) -> FlowResult:
    """Start a flow, or go on with the one whose state came with the request, until it waits or ends.

    Raises:
        UnknownFlow: the workflow has no such flow.
        FlowStateInvalid: the state does not fit the flow.
    """
    run = _started(book, request, tools, emit, max_steps)
    asked = None if request.state is None else request.state.asked
    if request.asking and asked is not None:
        return _asked_again(run, asked)
    try:
        if asked is not None and _understood(run, asked):
            return _result(run, _End("cancelled", reason="cancelled_by_user"))
        return await _to_its_end(run)
    except CannotCorrect as error:
        # Nothing was changed: the flow is where it was.
        run = _started(book, request, tools, emit, max_steps)
        run.say(messages.ALREADY_DONE if error.written else messages.NOT_CHANGED)
        return _asked_again(run, asked or "")


def read_flow(book: FlowBook, request: FlowReadRequest, tools: ToolCaller) -> FlowReading:
    """What a message is to an open flow; nothing is done.

    Raises:
        UnknownFlow: the workflow has no such flow.
        FlowStateInvalid: the state does not fit the flow.
    """
    as_run = FlowRunRequest(
        context=request.context, flow=request.state.flow, state=request.state, message=request.message
    )
    run = _started(book, as_run, tools, lambda _: None, 0)
    return read_message(run, request.message, request.state.asked or "", request.arguments)


def _understood(run: Run, asked: str) -> bool:
    """Take the message for what it is; true when it ends the flow. Raises CannotCorrect."""
    request = run.request
    corrections = request.corrections
    if not corrections:
        reading = read_message(run, request.message, asked, {})
        if reading.stops:
            run.say(messages.CANCELLED)
            return True
        corrections = reading.corrections
    if corrections:
        run_again(run, corrections)
    elif run.answer is not None:
        run.answer.text = answer_text(run, run.answer.text, asked)
    return False


def _asked_again(run: Run, asked: str) -> FlowResult:
    try:
        ask_again(run, asked)
    except StepFailed as failure:
        _LOG.warning("an open question cannot be put again: %s", failure)
        run.state.asked = asked
    return _result(run, _Wait())


async def _to_its_end(run: Run) -> FlowResult:
    while True:
        if run.steps_left <= 0:
            return await _finish(run, _End("failed", reason="step_limit"), said=False)
        run.steps_left -= 1
        move = await _move(run)
        if isinstance(move, _Wait):
            return _result(run, move)
        if isinstance(move, _End):
            ended = await _leave(run, move)
            if ended is not None:
                return ended


def _started(book: FlowBook, request: FlowRunRequest, tools: ToolCaller, emit: Emit, max_steps: int) -> Run:
    if request.state is None:
        run = Run(
            book, request, tools, emit, FlowState(flow=request.flow, step=0, done=[]), steps_left=max_steps
        )
        _fill(run, request.arguments)
        return run
    state = request.state.model_copy(deep=True)
    run = Run(book, request, tools, emit, state, steps_left=max_steps)
    for flow in (*state.parents, state):
        if not 0 <= flow.step < len(book.flow(flow.flow).steps):
            raise FlowStateInvalid(flow.flow)
    if state.asked is not None:
        run.answer, state.asked = Answer(request.message, state.asked), None
    return run


def _fill(run: Run, arguments: dict[str, object]) -> None:
    fill_from_arguments(run, arguments)
    fill_from_elsewhere(run)


async def _move(run: Run) -> _Move:
    """Run the current step and set the next one."""
    flow, state = run.flow, run.state
    if state.step >= len(flow.steps):
        return _End()
    step = flow.steps[state.step]
    try:
        texts, parts = len(run.texts), len(run.parts)
        move = await _run_step(run, step)
        if isinstance(move, _Wait):
            await _settle_first(run, texts, parts)
    except StepFailed as failure:
        return await _on_failure(run, step, failure)
    if isinstance(move, _Goto):
        _advance(run, move.step or step.next)
    return move


async def _settle_first(run: Run, texts: int, parts: int) -> None:
    """Before the flow waits, undo what a correction made wrong.

    The question, which is what the step has added to so many ``texts`` and ``parts``, comes behind what is said of
    that, and not at all where it fails.
    """
    question, offered = run.texts[texts:], run.parts[parts:]
    del run.texts[texts:], run.parts[parts:]
    await settle(run)
    run.texts += question
    run.parts += offered


async def _run_step(run: Run, step: Step) -> _Move:
    match step:
        case AskStep():
            return _Wait() if await ask(run, step) else _Goto()
        case CallStep():
            if needs_yes(run, step):
                move = _confirmed(run, step)
                if not isinstance(move, _Goto):
                    return move
            await run_call(run, step, step.on_error or run.flow.flow.on_error)
        case SetStep():
            run.state.slots.update(run.render(step.values))
        case BranchStep():
            return _Goto(next((case.next for case in step.cases if run.is_true(case.when)), None))
        case ConfirmStep():
            return _confirmed(run, step)
        case ReplyStep():
            _reply(run, step)
        case SubflowStep():
            return _enter(run, step)
        case EndStep():
            return _End(step.outcome, step.action)
    return _Goto()


def _confirmed(run: Run, step: ConfirmStep | CallStep) -> _Move:
    decision = confirm(run, step)
    if decision is None:
        return _Wait()
    if decision:
        return _Goto()
    if isinstance(step, ConfirmStep) and step.on_no is not None:
        return _Goto(step.on_no)
    run.say(messages.DECLINED)
    return _End("cancelled", reason="declined")


def _reply(run: Run, step: ReplyStep) -> None:
    text = run.flow.flow.templates.get(step.template) if step.template is not None else step.text
    said = run.text(text) if text is not None else ""
    digest = digest_of([said, run.render(step.parts)])
    told = run.rerun is not None and run.rerun.take("reply", run.state.step, digest) is not None
    if said and not told:
        run.say_plainly(said)
    if not told:
        run.show(step.parts)
    note(run.state, Done(step=run.state.step, kind="reply", digest=digest))


def _enter(run: Run, step: SubflowStep) -> _Move:
    if len(run.state.parents) >= _MAX_DEPTH:
        raise StepFailed("subflow_too_deep")
    arguments = run.render(step.arguments)
    parent = run.state.model_copy(update={"parents": []})
    corrected: dict[str, object] = {}
    if run.rerun is not None:
        _, corrected = run.rerun.enter(parent.step, step.flow)
    run.state = FlowState(flow=step.flow, step=0, parents=[*run.state.parents, parent], done=[])
    _fill(run, arguments)
    run.state.slots |= corrected
    run.state.given |= corrected
    return _Enter()


async def _leave(run: Run, end: _End) -> FlowResult | None:
    """End the innermost flow: its parent goes on, unless there is none or everything is to end."""
    if not run.state.parents or end.action is not None or end.outcome == "cancelled":
        return await _finish(run, end, said=True)
    if end.outcome == "failed":
        await undo_writes(run)
    child = run.state
    if run.rerun is not None:
        run.rerun.leave()
    run.state = child.parents[-1].model_copy(update={"parents": child.parents[:-1]})
    run.state.done_writes = [*run.state.done_writes, *child.done_writes]
    if child.done is None:
        run.state.done = None
    else:
        note(
            run.state,
            Done(step=run.state.step, kind="flow", slot=child.flow, given=child.given, done=child.done),
        )
    step = run.flow.steps[run.state.step]
    if end.outcome == "failed":
        move = await _on_failure(run, step, StepFailed("subflow_failed", end.reason or ""))
        return await _leave(run, move) if isinstance(move, _End) else None
    if isinstance(step, SubflowStep) and step.save_as is not None:
        saved(run.state, step.save_as)
        run.state.results[step.save_as] = {**child.slots, **child.results}
    _advance(run, step.next)
    return None


async def _on_failure(run: Run, step: Step, failure: StepFailed) -> _Move:
    """What the step's, else the flow's, ``on_error`` says; without one an apology ends the flow."""
    _LOG.info("a step failed", extra={"flow": run.state.flow, "step": run.state.step, "code": failure.code})
    _LOG.debug("why it failed: %s", failure)
    handler = step.on_error or run.flow.flow.on_error or OnError()
    run.state.asked, run.state.attempts = None, 0
    spoken = len(run.texts)
    if handler.reply is not None:
        try:
            run.say(handler.reply)
        except StepFailed as second:
            _LOG.warning("the reply of on_error failed too: %s", second)
    if handler.next is not None:
        _advance(run, handler.next)
        return _Goto()
    if len(run.texts) == spoken and failure.code != "subflow_failed":
        run.say(messages.SORRY)
    return _End("failed", handler.action, failure.code)


def _advance(run: Run, step_id: str | None) -> None:
    run.state.step = run.state.step + 1 if step_id is None else run.flow.position(step_id)


async def _finish(run: Run, end: _End, *, said: bool) -> FlowResult:
    """End the whole flow; one that failed first undoes what it has done, the innermost flow's writes first."""
    try:
        await settle(run)
    except StepFailed as failure:
        end = _End("failed", end.action, failure.code)
    if end.outcome == "failed":
        for parent in run.state.parents:
            run.state.done_writes = [*parent.done_writes, *run.state.done_writes]
        await undo_writes(run)
    if not said:
        run.say(messages.SORRY)
    return _result(run, end)


def _result(run: Run, move: _Wait | _End) -> FlowResult:
    message, untranslated = "\n\n".join(run.texts), sorted(run.untranslated)
    if isinstance(move, _Wait):
        return FlowResult(
            status="waiting", message=message, parts=run.parts, state=run.left(), untranslated=untranslated
        )
    if not message and not run.parts and move.action is None:
        message = run.text(messages.DONE if move.outcome == "completed" else messages.SORRY)
    outermost = run.state.parents[0] if run.state.parents else run.state
    return FlowResult(
        status=move.outcome,
        message=message,
        parts=run.parts,
        action=move.action,
        reason=move.reason,
        slots=outermost.slots,
        untranslated=untranslated,
    )
