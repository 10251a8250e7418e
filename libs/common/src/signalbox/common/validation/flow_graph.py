"""The shape of flows and skills: steps that nothing reaches, flows and skills that run themselves."""

from collections.abc import Iterator, Mapping, Sequence

from signalbox.common.pointers import Path
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Submission
from signalbox.contracts.config import (
    AgentSkill,
    BranchStep,
    ConfirmStep,
    EndStep,
    Flow,
    SubflowStep,
    Subtask,
)

Edges = Mapping[str, Sequence[tuple[str, Path]]]


def check_cycles(submission: Submission) -> Iterator[Finding]:
    """``subflow_cycle`` and ``skill_cycle``: at the reference that closes each cycle."""
    flows: dict[str, list[tuple[str, Path]]] = {flow.id: [] for flow in submission.config.flows}
    for node, step in submission.of(SubflowStep):
        if (owner := node.enclosing(Flow)) is not None:
            flows[owner[1].id].append((step.flow, (*node.path, "flow")))
    skills: dict[str, list[tuple[str, Path]]] = {skill.id: [] for skill in submission.config.skills}
    for node, subtask in submission.of(Subtask):
        if (skill := node.enclosing(AgentSkill)) is not None:
            skills[skill[1].id].append((subtask.skill, (*node.path, "skill")))
    for path, cycle in _cycles(flows):
        detail = f"The flow would run itself without end: {' -> '.join(cycle)}. Remove one of these subflows."
        yield Finding(path, "subflow_cycle", detail)
    for path, cycle in _cycles(skills):
        detail = (
            f"The skill would start itself without end: {' -> '.join(cycle)}. Remove one of these subtasks."
        )
        yield Finding(path, "skill_cycle", detail)


def check_reachable(submission: Submission) -> Iterator[Finding]:
    """``unreachable_step``: no way from the first step leads there. Flows with broken steps are left out."""
    for node, flow in submission.of(Flow):
        raw = submission.raw((*node.path, "steps"))
        if not isinstance(raw, list) or len(raw) != len(flow.steps):
            continue
        reached = _reached(flow)
        for index, step in enumerate(flow.steps):
            if index not in reached:
                name = f" `{step.id}`" if step.id else ""
                detail = f"No way leads to this step{name}: jump to it from another, or remove it."
                yield Finding((*node.path, "steps", index), "unreachable_step", detail)


def _reached(flow: Flow) -> set[int]:
    positions = {step.id: index for index, step in enumerate(flow.steps) if step.id is not None}
    pending = [0]
    if flow.on_error is not None and flow.on_error.next in positions:
        pending.append(positions[flow.on_error.next])
    reached: set[int] = set()
    while pending:
        index = pending.pop()
        if index in reached or index >= len(flow.steps):
            continue
        reached.add(index)
        pending += _followers(flow, index, positions)
    return reached


def _followers(flow: Flow, index: int, positions: Mapping[str, int]) -> list[int]:
    step = flow.steps[index]
    if isinstance(step, EndStep):
        return []
    jumps = [step.on_error.next] if step.on_error is not None else []
    if isinstance(step, BranchStep):
        jumps += [case.next for case in step.cases]
    elif isinstance(step, ConfirmStep):
        jumps.append(step.on_no)
    following = positions.get(step.next, index + 1) if step.next is not None else index + 1
    return [following, *(positions[name] for name in jumps if name is not None and name in positions)]


def _cycles(edges: Edges) -> Iterator[tuple[Path, list[str]]]:
    """The edges that close a cycle, each with the names along it, by depth-first search without recursion."""
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        trail: list[str] = [start]
        on_trail = {start}
        open_edges = [iter(edges[start])]
        while open_edges:
            edge = next(open_edges[-1], None)
            if edge is None:
                open_edges.pop()
                left = trail.pop()
                on_trail.discard(left)
                done.add(left)
                continue
            target, path = edge
            if target in on_trail:
                yield path, [*trail[trail.index(target) :], target]
            elif target in edges and target not in done:
                trail.append(target)
                on_trail.add(target)
                open_edges.append(iter(edges[target]))
