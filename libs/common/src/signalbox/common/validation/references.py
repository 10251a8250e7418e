"""References: every name that points to another part of the document, and names that are given twice."""

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from signalbox.common.pointers import Path
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Node, Submission
from signalbox.common.validation.suggest import Suggestions
from signalbox.contracts.config import (
    AgentSkill,
    Approval,
    AskStep,
    Branch,
    CallStep,
    Compensation,
    ConfirmStep,
    Degradation,
    EndStep,
    Fallback,
    Flow,
    Knowledge,
    OnError,
    ReplyStep,
    Route,
    Slot,
    SlotValidation,
    StatusCheck,
    Step,
    SubflowStep,
    Subtask,
    Timer,
)

_COLLECTIONS = ("intents", "flows", "skills", "tools", "actions", "timers", "knowledge")
STEP_TYPES: tuple[type[BaseModel], ...] = get_args(get_args(Step)[0])

# (model, field) -> what the field names. Steps, slots and templates are those of the enclosing flow.
_REFERENCES: dict[type[BaseModel], dict[str, str]] = {
    AgentSkill: {"tools": "tool"},
    Approval: {"tools": "tool"},
    AskStep: {"slot": "slot"},
    Branch: {"next": "step"},
    CallStep: {"tool": "tool"},
    Compensation: {"tool": "tool"},
    ConfirmStep: {"on_no": "step"},
    Degradation: {"action": "action"},
    EndStep: {"action": "action"},
    Fallback: {"skill": "skill", "action": "action"},
    Knowledge: {"tool": "tool"},
    OnError: {"next": "step", "action": "action"},
    ReplyStep: {"template": "template"},
    Route: {"flow": "flow", "skill": "skill", "tool": "tool", "action": "action"},
    Slot: {"depends_on": "slot"},
    SlotValidation: {"tool": "tool"},
    StatusCheck: {"tool": "tool"},
    SubflowStep: {"flow": "flow"},
    Subtask: {"skill": "skill"},
    Timer: {"action": "action"},
}
_READ_ONLY = (Knowledge, SlotValidation, StatusCheck)


def check_references(submission: Submission, suggestions: Suggestions) -> Iterator[Finding]:
    """``unknown_reference`` for names that lead nowhere, ``not_read_only`` for writes where a read is needed."""
    known = {kind.removesuffix("s"): _ids(submission, (kind,)) for kind in _COLLECTIONS}
    writes = {tool.id for tool in submission.config.tools if tool.effect == "write"}
    for node in submission.nodes:
        for path, kind, name in _named(node):
            names = known[kind] if kind in known else _names_in_flow(submission, node, kind)
            if name not in names:
                detail = f"There is no {kind} `{name}`; {suggestions.advice(name, names, kind)}"
                yield Finding(path, "unknown_reference", detail)
            elif kind == "tool" and name in writes and isinstance(node.model, _READ_ONLY):
                detail = f"`{name}` writes, and a read is needed here: name a tool with effect `read`."
                yield Finding(path, "not_read_only", detail)
        if isinstance(node.model, AgentSkill):
            yield from _approvals(node.path, node.model, known["tool"])


def check_ids(submission: Submission) -> Iterator[Finding]:
    """``duplicate_id`` for each id given again in its list, and for enum values given again in their slot."""
    lists: list[Path] = [(kind,) for kind in _COLLECTIONS]
    for collection, inner in (("flows", ("slots", "steps")), ("skills", ("subtasks",))):
        items = submission.document.get(collection)
        for index in range(len(items) if isinstance(items, list) else 0):
            lists += [(collection, index, name) for name in inner]
    for path in lists:
        yield from _repeated(submission.declared(path), "id")
    for node, slot in submission.of(Slot):
        values = [((*submission.item_path((*node.path, "values"), index), "value"), value.value)
                  for index, value in enumerate(slot.values)]  # fmt: skip
        yield from _repeated(values, "value")


def slot_names(submission: Submission, flow_path: Path) -> set[str]:
    """The ids of a flow's slots, those of broken slots too."""
    return _ids(submission, (*flow_path, "slots"))


def _repeated(declared: list[tuple[Path, str]], what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for path, name in declared:
        if name in seen:
            yield Finding(
                path, "duplicate_id", f"The {what} `{name}` is given twice in this list; rename one."
            )
        seen.add(name)


def _ids(submission: Submission, path: Path) -> set[str]:
    return {name for _, name in submission.declared(path)}


def _named(node: Node) -> Iterator[tuple[Path, str, str]]:
    fields = _REFERENCES.get(type(node.model), {})
    if isinstance(node.model, STEP_TYPES):
        fields = {**fields, "next": "step"}
    for field, kind in fields.items():
        value = getattr(node.model, field)
        if isinstance(value, str):
            yield (*node.path, field), kind, value
        elif isinstance(value, list):
            for index, name in enumerate(value):
                yield (*node.path, field, index), kind, name


def _names_in_flow(submission: Submission, node: Node, kind: str) -> set[str]:
    found = node.enclosing(Flow)
    if found is None:
        return set()
    path = found[0]
    if kind == "template":
        return submission.names((*path, "templates"))
    return _ids(submission, (*path, f"{kind}s"))


def _approvals(path: Path, skill: AgentSkill, tools: set[str]) -> Iterator[Finding]:
    for index, name in enumerate(skill.approval.tools):
        if name in tools and name not in skill.tools:
            detail = f"`{name}` is no tool of this skill: list it under `tools` too, or remove it here."
            yield Finding((*path, "approval", "tools", index), "unknown_reference", detail)
