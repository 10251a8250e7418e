"""A flow as a diagram in Mermaid's flowchart syntax (https://mermaid.js.org/syntax/flowchart.html).

What is drawn is what the interpreter does: every way that it can take from a step is an edge, those of ``on_error``
and of undoing dotted, and so is the no to a call that asks by itself where there was no yes before. A step's way to the
end of its flow is drawn to the flow's own end nodes.
"""

from collections.abc import Iterator, Mapping, Sequence

from signalbox.common.record import record
from signalbox.common.templates import localized
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import (
    AskStep,
    BranchStep,
    CallStep,
    ConfirmStep,
    EndStep,
    Flow,
    OnError,
    ReplyStep,
    SetStep,
    Step,
    SubflowStep,
    Tool,
)
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.flows.errors import UnknownFlow

_LONGEST = 60
"""Characters of a text that a node shows."""
_ENDS = {"completed": "Completed", "cancelled": "Cancelled", "failed": "Failed"}
_SHAPES = {
    "ask": ("[/", "/]"),
    "branch": ("{", "}"),
    "call": ("[[", "]]"),
    "confirm": ("{{", "}}"),
    "end": ("([", "])"),
    "reply": ("(", ")"),
    "set": ("[", "]"),
    "start": ("([", "])"),
    "subflow": ("[[", "]]"),
    "undo": (">", "]"),
}


@record
class Node:
    """A box of the diagram: ``kind`` is a step's type, ``start``, ``end`` or ``undo``."""

    name: str
    kind: str
    lines: tuple[str, ...]


@record
class Edge:
    """A way from one node to another; a dotted one is taken when something has failed, or names a subflow."""

    source: str
    target: str
    label: str = ""
    dotted: bool = False


def flow_diagram(config: WorkflowConfig, flows: Sequence[str] = (), language: str | None = None) -> str:
    """The flowchart of some flows with the subflows that they run, or of all, one ``subgraph`` each.

    Texts are shown in ``language``, by default the workflow's first, as templates.

    Raises:
        UnknownFlow: the workflow has no such flow.
    """
    by_id = {flow.id: flow for flow in config.flows}
    writes = {tool.id: tool for tool in config.tools if tool.effect == "write"}
    shown = list(_with_subflows(by_id, flows or list(by_id)))
    lines, links = ["flowchart TD"], []
    for number, flow in enumerate(shown):
        chart = FlowChart(
            flow, f"f{number}", writes, language or config.default_language, config.default_language
        )
        lines.append(f'  subgraph f{number}["{_quoted(flow.id)}"]')
        lines += [f"    {_drawn(node)}" for node in chart.nodes]
        lines += [f"    {_arrow(edge)}" for edge in chart.edges]
        lines.append("  end")
        links += [
            Edge(source, f"f{shown.index(by_id[called])}_start", "runs", dotted=True)
            for source, called in chart.calls
            if called in by_id
        ]
    lines += [f"  {_arrow(edge)}" for edge in links]
    return "\n".join(lines) + "\n"


class FlowChart:
    """The nodes and edges of one flow; all names begin with ``prefix``."""

    def __init__(
        self, flow: Flow, prefix: str, writes: Mapping[str, Tool], language: str, default_language: str
    ) -> None:
        self._flow = flow
        self._prefix = prefix
        self._writes = writes
        self._languages = language, default_language
        self._positions = {step.id: index for index, step in enumerate(flow.steps) if step.id is not None}
        self._ends: dict[tuple[str, ...], Node] = {}
        self.nodes = [Node(f"{prefix}_start", "start", (self._text(flow.label) or flow.id,))]
        self.edges = [Edge(f"{prefix}_start", self._step(0))]
        self.calls: list[tuple[str, str]] = []
        """Steps that run a subflow, with the flow that they run."""
        for index, step in enumerate(flow.steps):
            self._add(index, step)
        self.nodes += self._ends.values()

    def _add(self, index: int, step: Step) -> None:
        name = self._step(index)
        self.nodes.append(Node(name, step.type, tuple(self._lines(step))))
        self.edges += self._ways(index, step)
        if isinstance(step, SubflowStep):
            self.calls.append((name, step.flow))
        if isinstance(step, CallStep) and step.compensation is not None:
            undo = f"{name}_undo"
            self.nodes.append(Node(undo, "undo", (f"Undo: {step.compensation.tool}",)))
            self.edges.append(Edge(name, undo, "if the flow fails later", dotted=True))
        if isinstance(step, AskStep | CallStep | ConfirmStep | SubflowStep):
            self.edges.append(self._on_error(name, step))

    def _ways(self, index: int, step: Step) -> Iterator[Edge]:
        """Where the step goes when it has done its work."""
        name = self._step(index)
        following = self._step(index + 1) if step.next is None else self._named(step.next)
        match step:
            case EndStep():
                yield Edge(name, self._end(step.outcome, step.action))
            case BranchStep():
                for case in step.cases:
                    yield Edge(name, self._named(case.next), case.when)
                yield Edge(name, following, "else")
            case ConfirmStep():
                declined = self._end("cancelled") if step.on_no is None else self._named(step.on_no)
                yield Edge(name, following, "yes")
                yield Edge(name, declined, "no")
            case CallStep() if step.tool in self._writes and self._writes[step.tool].confirm == "always":
                yield Edge(name, following)
                yield Edge(name, self._end("cancelled"), "no, if asked here", dotted=True)
            case _:
                yield Edge(name, following)

    def _on_error(self, name: str, step: Step) -> Edge:
        handler = step.on_error or self._flow.on_error or OnError()
        label = (
            f"error, {handler.retries} retries" if handler.retries and isinstance(step, CallStep) else "error"
        )
        if handler.next is not None:
            return Edge(name, self._named(handler.next), label, dotted=True)
        return Edge(name, self._end("failed", handler.action), label, dotted=True)

    def _lines(self, step: Step) -> Iterator[str]:
        match step:
            case AskStep():
                slots = {slot.id: slot for slot in self._flow.slots}
                slot = slots.get(step.slot)
                yield f"Ask: {step.slot}" + (f" ({slot.type})" if slot is not None else "")
                yield self._text(step.prompt or (slot.prompt if slot is not None else None))
            case CallStep():
                yield f"{'Write' if step.tool in self._writes else 'Call'}: {step.tool}"
            case SetStep():
                yield f"Set: {', '.join(step.values)}"
            case BranchStep():
                yield step.id or "Which?"
            case ConfirmStep():
                yield f"Confirm: {self._text(step.prompt)}"
            case ReplyStep():
                template = None if step.template is None else self._flow.templates.get(step.template)
                yield f"Reply: {step.template}" if step.template is not None else "Reply"
                yield self._text(template or step.text)
            case SubflowStep():
                yield f"Subflow: {step.flow}"
            case EndStep():
                yield step.id or "End"

    def _step(self, index: int) -> str:
        return f"{self._prefix}_s{index}" if index < len(self._flow.steps) else self._end("completed")

    def _named(self, step_id: str) -> str:
        return self._step(self._positions.get(step_id, len(self._flow.steps)))

    def _end(self, outcome: str, action: str | None = None) -> str:
        """The end node of an outcome, made when it is first needed."""
        lines = (_ENDS[outcome],) if action is None else (_ENDS[outcome], f"action: {action}")
        made = self._ends.setdefault(lines, Node(f"{self._prefix}_end{len(self._ends)}", "end", lines))
        return made.name

    def _text(self, text: LocalizedText | None) -> str:
        return "" if text is None else _shortened(localized(text, *self._languages, "")[0])


def _with_subflows(by_id: dict[str, Flow], flows: Sequence[str]) -> Iterator[Flow]:
    """Flows, each once, with those that they run behind them."""
    pending, seen = list(flows), set[str]()
    while pending:
        flow_id = pending.pop(0)
        if flow_id in seen:
            continue
        seen.add(flow_id)
        if flow_id not in by_id:
            raise UnknownFlow(flow_id)
        flow = by_id[flow_id]
        yield flow
        pending += [step.flow for step in flow.steps if isinstance(step, SubflowStep) and step.flow in by_id]


def _drawn(node: Node) -> str:
    before, after = _SHAPES[node.kind]
    label = "<br/>".join(_quoted(line) for line in node.lines if line)
    return f'{node.name}{before}"{label}"{after}'


def _arrow(edge: Edge) -> str:
    label = f'|"{_quoted(_shortened(edge.label))}"|' if edge.label else ""
    return f"{edge.source} {'-.->' if edge.dotted else '-->'}{label} {edge.target}"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def _quoted(text: str) -> str:
    """A text inside quotes: Mermaid has no escape characters, but entities by number (its "Entity codes")."""
    return "".join(char if char.isalnum() or char in " .,:?!_-/()…" else f"#{ord(char)};" for char in text)
