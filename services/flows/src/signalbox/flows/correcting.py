"""Changing an earlier slot of an open flow: the flow is run again with the new value."""

from typing import Any

from signalbox.contracts.work import Done, FlowState
from signalbox.flows.book import CompiledFlow
from signalbox.flows.journal import CannotCorrect, rerun_of
from signalbox.flows.questions import fill_from_elsewhere
from signalbox.flows.run import Run
from signalbox.flows.slots import convert_slot


def run_again(run: Run, corrections: dict[str, Any]) -> None:
    """Set the run to the first step of its outermost flow, with the corrected values.

    Raises:
        CannotCorrect: no slot takes the values, or it is not known what the flow has done.
    """
    levels = [*run.state.parents, run.state]
    rerun = rerun_of(levels)
    inner = _entries(rerun.past, levels)
    changed: list[set[str]] = [set() for _ in levels]
    overrides: list[dict[str, Any]] = [{} for _ in levels]
    for slot_id, given in corrections.items():
        depth = _depth(run, levels, slot_id)
        if depth is None:
            continue
        flow = run.book.flow(levels[depth].flow)
        value = convert_slot(flow.slots[slot_id], given, run.today)
        if value is None:
            continue
        changed[depth].add(slot_id)
        past = rerun.past if depth == 0 else inner[depth - 1].done
        if not _replace_answer(past, slot_id, value):
            overrides[depth][slot_id] = value
    if not any(changed):
        raise CannotCorrect(written=False)
    for depth, names in enumerate(changed):
        flow = run.book.flow(levels[depth].flow)
        worthless = _dependents(flow, names)
        past = rerun.past if depth == 0 else inner[depth - 1].done
        past[:] = [entry for entry in past if entry.kind != "answer" or entry.slot not in worthless]
        run.recheck |= {(flow.flow.id, name) for name in _to_check_again(flow, names)}
        run.recheck |= {(flow.flow.id, name) for name in names}
        if depth:
            rerun.overrides[id(inner[depth - 1])] = overrides[depth]
    outermost = levels[0]
    given = {
        name: value
        for name, value in outermost.given.items()
        if name not in _dependents(run.book.flow(outermost.flow), changed[0])
    }
    given |= overrides[0]
    run.state = FlowState(
        flow=outermost.flow,
        step=0,
        slots=dict(given),
        given=given,
        unchecked=[name for name in outermost.unchecked if name in given],
        done=[],
    )
    run.answer = None
    run.rerun = rerun
    fill_from_elsewhere(run)


def _entries(past: list[Done], levels: list[FlowState]) -> list[Done]:
    """The entries of the open subflows, outermost first: each is the last of the flow that waits for it."""
    found: list[Done] = []
    for _ in levels[1:]:
        found.append(past[-1])
        past = past[-1].done
    return found


def _depth(run: Run, levels: list[FlowState], slot_id: str) -> int | None:
    depths = [depth for depth, level in enumerate(levels) if slot_id in run.book.flow(level.flow).slots]
    return depths[-1] if depths else None


def _replace_answer(past: list[Done], slot_id: str, value: Any) -> bool:
    for entry in reversed(past):
        if entry.kind == "answer" and entry.slot == slot_id:
            entry.value = value
            return True
    return False


def _dependents(flow: CompiledFlow, changed: set[str]) -> set[str]:
    """Slots that are worthless after a change, also those that depend on such slots."""
    found: set[str] = set()
    while True:
        more = {
            slot_id
            for slot_id, slot in flow.slots.items()
            if slot_id not in found | changed and (found | changed) & set(slot.slot.depends_on)
        }
        if not more:
            return found
        found |= more


def _to_check_again(flow: CompiledFlow, changed: set[str]) -> set[str]:
    """Slots whose validation asks a tool about other values than their own."""
    if not changed:
        return set()
    return {
        slot_id
        for slot_id, slot in flow.slots.items()
        if slot.slot.validation is not None and slot.slot.validation.tool and slot.slot.validation.arguments
    }
