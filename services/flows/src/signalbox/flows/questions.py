"""Asking: slots that have no value, and yes or no. The answer arrives with the next message."""

from typing import Any

from signalbox.common.arguments import check
from signalbox.common.reading import read_yes_no
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import AskStep, CallStep, ConfirmStep
from signalbox.contracts.work import Done
from signalbox.flows import messages
from signalbox.flows.book import CompiledSlot
from signalbox.flows.calls import accepts, arguments_of, made_before
from signalbox.flows.errors import StepFailed
from signalbox.flows.journal import confirmed, digest_of, note
from signalbox.flows.run import Run
from signalbox.flows.slots import convert_slot, read_answer, read_slot

CONFIRM_ATTEMPTS = 3


def fill_from_arguments(run: Run, arguments: dict[str, Any]) -> None:
    """Give slots the values that came with the call; one that cannot be read is asked for later."""
    for slot_id, slot in run.flow.slots.items():
        value = None
        if "parameter" in slot.slot.source:
            value = convert_slot(slot, arguments.get(slot_id), run.today)
        if value is None and slot.reads_first_message:
            value = read_slot(slot, run.request.message, run.today)
        if value is not None:
            run.state.slots[slot_id] = value
            run.state.unchecked.append(slot_id)
    run.state.given = dict(run.state.slots)


def fill_from_elsewhere(run: Run) -> None:
    """Give slots that have no value theirs from the profile, else their default."""
    profile = run.request.context.profile
    for slot_id, slot in run.flow.slots.items():
        if run.state.slots.get(slot_id) is not None:
            continue
        if "profile" in slot.slot.source and profile.get(slot_id) is not None:
            run.state.slots[slot_id] = convert_slot(slot, profile[slot_id], run.today)
        if run.state.slots.get(slot_id) is None and slot.slot.default is not None:
            run.state.slots[slot_id] = slot.slot.default


async def ask(run: Run, step: AskStep) -> bool:
    """An ask step; true when the flow has to wait for the answer.

    Raises:
        StepFailed: ``too_many_attempts``, ``no_prompt``, or what checking the value failed with.
    """
    slot = run.flow.slots[step.slot]
    answer = run.take_answer(step.slot)
    before = _answered_before(run, step.slot) if answer is None else None
    refusal: LocalizedText | None = None
    value = run.state.slots.get(step.slot) if before is None else before.value
    if answer is not None:
        value = read_answer(slot, answer, run.today)
        if value is None and not slot.slot.required:
            return _go_on(run)
        refusal = None if value is None else await _refusal(run, slot, value)
        if value is None:
            return _put(run, step, slot, run.request.not_understood or messages.NOT_UNDERSTOOD)
    elif value is not None and _is_unchecked(run, step.slot):
        refusal = await _refusal(run, slot, value)
    run.state.unchecked = [name for name in run.state.unchecked if name != step.slot]
    if value is not None and refusal is None:
        run.state.slots[step.slot] = value
        if answer is not None or before is not None:
            note(run.state, Done(step=run.state.step, kind="answer", slot=step.slot, value=value))
        return _go_on(run)
    run.state.slots.pop(step.slot, None)
    run.state.given.pop(step.slot, None)
    return _put(run, step, slot, refusal)


def ask_again(run: Run, asked: str) -> None:
    """Put the open question as it was put, without counting it as another one. Raises StepFailed."""
    step = run.flow.steps[run.state.step] if run.state.step < len(run.flow.steps) else None
    if isinstance(step, ConfirmStep | CallStep):
        run.say(*_yes_or_no_question(run, step))
        _offer_yes_no(run)
    elif isinstance(step, AskStep):
        slot = run.flow.slots[step.slot]
        prompt = step.prompt or slot.slot.prompt
        if prompt is not None:
            run.say(prompt)
        _offer_values(run, slot)
    run.state.asked = asked


def confirm(run: Run, step: ConfirmStep | CallStep) -> bool | None:
    """A confirm step, or a call that needs a yes: the answer, or None when the flow has to wait for it.

    Raises:
        StepFailed: ``too_many_attempts``.
    """
    asked = f"confirm:{run.state.step}"
    answer = run.take_answer(asked)
    prompt, values = _yes_or_no_question(run, step)
    digest = digest_of(run.text(prompt, values))
    before = None if run.rerun is None else run.rerun.take("confirm", run.state.step, digest)
    decision = before.value if before is not None else read_yes_no(answer) if answer is not None else None
    if decision is not None:
        note(run.state, Done(step=run.state.step, kind="confirm", digest=digest, value=decision))
        run.state.attempts = 0
        return bool(decision)
    if answer is not None:
        if run.state.attempts >= CONFIRM_ATTEMPTS:
            raise StepFailed("too_many_attempts")
        _refuse(run, run.request.not_understood or messages.YES_OR_NO)
    run.say(prompt, values)
    _offer_yes_no(run)
    _wait(run, asked)
    return None


def needs_yes(run: Run, step: CallStep) -> bool:
    """Whether the tool of a call says ``confirm: always`` and the user's last word was no yes. Raises StepFailed."""
    tool = run.book.tools.get(step.tool)
    if tool is None or tool.effect != "write" or tool.confirm != "always":
        return False
    if run.rerun is not None:
        # The last word was a correction, or a value that a model has found.
        return not made_before(run, step)
    return not confirmed([*run.state.parents, run.state])


def question(run: Run) -> str:
    """The question that is open now, as it was asked; empty when there is none."""
    step = run.flow.steps[run.state.step] if run.state.step < len(run.flow.steps) else None
    try:
        if isinstance(step, ConfirmStep | CallStep):
            return run.text(*_yes_or_no_question(run, step))
        if isinstance(step, AskStep):
            prompt = step.prompt or run.flow.slots[step.slot].slot.prompt
            return run.text(prompt) if prompt is not None else ""
    except StepFailed:
        return ""
    return ""


def _yes_or_no_question(
    run: Run, step: ConfirmStep | CallStep
) -> tuple[LocalizedText, dict[str, Any] | None]:
    """What asks for a yes, and the values that it sees: for a call, what its tool does with what.

    Raises:
        StepFailed: ``template_error``.
    """
    if isinstance(step, ConfirmStep):
        return step.prompt, None
    details = [f"{name.replace('_', ' ')}: {value}" for name, value in arguments_of(run, step).items()]
    what = run.book.tools[step.tool].description or step.tool
    return messages.MAY_I, {"what": what, "details": ", ".join(details)}


def _answered_before(run: Run, slot_id: str) -> Done | None:
    """What the first run was told at this step, where a flow is run again and has no newer value."""
    if run.rerun is None or run.state.slots.get(slot_id) is not None:
        return None
    return run.rerun.take("answer", run.state.step, slot=slot_id)


def _is_unchecked(run: Run, slot_id: str) -> bool:
    again = (run.state.flow, slot_id)
    if again in run.recheck:
        run.recheck.discard(again)
        return True
    return slot_id in run.state.unchecked


async def _refusal(run: Run, slot: CompiledSlot, value: Any) -> LocalizedText | None:
    validation = slot.slot.validation
    if validation is None:
        return None
    fits = slot.validator is None or not check(slot.validator, value)
    if fits and await accepts(run, slot.slot.id, value, validation):
        return None
    return validation.message or messages.NOT_ACCEPTED


def _put(run: Run, step: AskStep, slot: CompiledSlot, refusal: LocalizedText | None) -> bool:
    prompt = step.prompt or slot.slot.prompt
    if refusal is None and prompt is None and not slot.slot.required:
        return _go_on(run)
    if prompt is None:
        raise StepFailed(
            "no_prompt", f"The slot '{step.slot}' has no value and no question that asks for it."
        )
    if run.state.attempts >= slot.slot.max_attempts:
        raise StepFailed("too_many_attempts")
    if refusal is not None:
        _refuse(run, refusal)
    run.say(prompt)
    _offer_values(run, slot)
    _wait(run, step.slot)
    return True


def _refuse(run: Run, refusal: LocalizedText) -> None:
    """Say why there is no answer; what came with the request is not a template."""
    if refusal is run.request.not_understood:
        run.say_plainly(str(refusal))
    else:
        run.say(refusal)


def _offer_values(run: Run, slot: CompiledSlot) -> None:
    if slot.choices.values:
        offered = [(run.text(value.label or value.value), value.value) for value in slot.choices.values]
        run.list_choices([label for label, _ in offered])
        run.offer(offered)
    elif slot.slot.type == "boolean":
        _offer_yes_no(run)


def _offer_yes_no(run: Run) -> None:
    run.offer([(run.text(messages.YES), "yes"), (run.text(messages.NO), "no")])


def _wait(run: Run, asked: str) -> None:
    run.state.asked = asked
    run.state.attempts += 1


def _go_on(run: Run) -> bool:
    run.state.attempts = 0
    return False
