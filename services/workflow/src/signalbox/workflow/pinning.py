"""Which snapshot a session goes on with when another release has become active in the middle of its flows."""

from collections.abc import Iterator

from signalbox.contracts.work import FlowState
from signalbox.workflow.records import SessionState
from signalbox.workflow.snapshot import WorkflowSnapshot


def may_move(state: SessionState, current: WorkflowSnapshot, newer: WorkflowSnapshot) -> bool:
    """Whether every open flow can go on in ``newer``.

    It can where the flow is there too, with the slot that was asked for, and where the step at which it stands is the
    same. What was not reached yet may have changed. A session that cannot move finishes its flows where they began:
    nothing that the user has said is lost.
    """
    return all(_goes_on(flow, current, newer) for flow in _open_flows(state))


def _open_flows(state: SessionState) -> Iterator[FlowState]:
    for flow in (state.flow, *state.interrupted):
        if flow is not None:
            yield flow
            yield from flow.parents


def _goes_on(state: FlowState, current: WorkflowSnapshot, newer: WorkflowSnapshot) -> bool:
    before, after = current.flows.get(state.flow), newer.flows.get(state.flow)
    if before is None or after is None:
        return False
    # A confirmation is asked for as ``confirm:N``: it has a step, and no slot.
    asked = {slot.id for slot in before.slots if slot.id == state.asked}
    here = slice(state.step, state.step + 1)
    return asked <= {slot.id for slot in after.slots} and before.steps[here] == after.steps[here]
