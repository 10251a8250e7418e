"""The Mermaid diagram of flows: every way of the interpreter is an edge, and texts cannot break the syntax."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.flow_talk import TOOLS, FakeTools, Talk, failing
from typer.testing import CliRunner

from signalbox.common.documents import parse
from signalbox.common.errors import ValidationFailed
from signalbox.contracts.workflow_config import WorkflowConfig
from signalbox.flows.cli import app
from signalbox.flows.diagram import FlowChart, flow_diagram
from signalbox.flows.errors import UnknownFlow

SHOP = Path(__file__).parents[3] / "examples" / "shop" / "workflow.yaml"
TRIP: dict[str, Any] = {
    "id": "trip",
    "slots": [{"id": "town", "prompt": {"en": 'Where "to"; [now]?', "zh": "去哪里？"}}],
    "steps": [
        {"type": "ask", "slot": "town", "on_error": {"next": "sorry"}},
        {"type": "set", "values": {"fee": 5}},
        {"type": "branch", "cases": [{"when": "town == 'Ulm'", "next": "sorry"}]},
        {"type": "confirm", "prompt": "Book?"},
        {"type": "call", "tool": "book", "compensation": {"tool": "undo_book"}, "on_error": {"retries": 2}},
        {"type": "subflow", "flow": "pay"},
        {"type": "reply", "text": "Booked.", "next": "over"},
        {"id": "sorry", "type": "reply", "text": "Sorry."},
        {"id": "over", "type": "end", "action": "handoff"},
    ],
    "on_error": {"action": "handoff"},
}
PAY: dict[str, Any] = {"id": "pay", "steps": [{"type": "call", "tool": "charge"}]}


def config(*flows: dict[str, Any]) -> WorkflowConfig:
    return WorkflowConfig.model_validate(
        {"workflow_id": "w", "name": "W", "languages": ["en", "zh"], "tools": TOOLS, "flows": list(flows)}
    )


def test_every_way_that_a_step_can_take_is_drawn():
    lines = [line.strip() for line in flow_diagram(config(TRIP, PAY)).splitlines()]
    ends = dict(re.findall(r'(f\d_end\d)\(\["(.*?)"\]\)', "\n".join(lines)))
    ways = {re.sub(r"f\d_end\d", lambda found: ends[found[0]], line) for line in lines if "->" in line}
    assert ways == {
        "f0_start --> f0_s0",
        "f0_s0 --> f0_s1",
        'f0_s0 -.->|"error"| f0_s7',
        "f0_s1 --> f0_s2",
        'f0_s2 -->|"town #61;#61; #39;Ulm#39;"| f0_s7',
        'f0_s2 -->|"else"| f0_s3',
        'f0_s3 -->|"yes"| f0_s4',
        'f0_s3 -->|"no"| Cancelled',
        'f0_s3 -.->|"error"| Failed<br/>action: handoff',
        "f0_s4 --> f0_s5",
        'f0_s4 -.->|"if the flow fails later"| f0_s4_undo',
        'f0_s4 -.->|"error, 2 retries"| Failed',
        "f0_s5 --> f0_s6",
        'f0_s5 -.->|"error"| Failed<br/>action: handoff',
        'f0_s5 -.->|"runs"| f1_start',
        "f0_s6 --> f0_s8",
        "f0_s7 --> f0_s8",
        "f0_s8 --> Completed<br/>action: handoff",
        "f1_start --> f1_s0",
        "f1_s0 --> Completed",
        'f1_s0 -.->|"error"| Failed',
    }


def test_a_call_that_asks_by_itself_shows_the_no():
    chart = flow_diagram(config({"id": "c", "steps": [{"type": "call", "tool": "close"}]}))
    end = re.search(r'(f0_end\d)\(\["Cancelled"\]\)', chart)
    assert end is not None
    assert f'f0_s0 -.->|"no, if asked here"| {end[1]}' in chart


def test_texts_are_in_the_language_and_cannot_break_the_syntax():
    english = flow_diagram(config(TRIP), ["trip"])
    assert 'f0_s0[/"Ask: town (text)<br/>Where #34;to#34;#59; #91;now#93;?"/]' in english
    assert 'f0_s4[["Write: book"]]' in english
    assert "去哪里？" in re.sub(
        r"#(\d+);", lambda code: chr(int(code[1])), flow_diagram(config(TRIP), language="zh")
    )


def test_a_flow_comes_with_its_subflows_and_an_unknown_one_is_refused():
    assert "f1" not in flow_diagram(config(TRIP, PAY), ["pay"])
    assert 'subgraph f1["pay"]' in flow_diagram(config(TRIP, PAY), ["trip"])
    with pytest.raises(UnknownFlow):
        flow_diagram(config(TRIP), ["no"])


async def test_the_interpreter_takes_the_ways_that_are_drawn():
    """Where it waits, and which calls it makes, is found by following the edges."""
    chart = FlowChart(config(TRIP, PAY).flows[0], "f", {}, "en", "en")
    ways = {(edge.source, edge.label): edge.target for edge in chart.edges}
    talk = Talk([TRIP, PAY], FakeTools(book=lambda _: 1, charge=failing("refused"), undo_book=lambda _: 1))
    await talk.say("go")
    place = ways["f_start", ""]
    assert place == f"f_s{talk.state.step}"
    await talk.say("Bonn")
    place = ways[ways[ways[place, ""], ""], "else"]
    assert place == f"f_s{talk.state.step}"
    ended = await talk.say("yes")
    place = ways[ways[place, "yes"], ""]
    failed = next(node for node in chart.nodes if node.name == ways[place, "error"])
    assert (ended.status, ended.action) == ("failed", "handoff")
    assert failed.lines == ("Failed", "action: handoff")
    assert talk.tools.names == ["book", "charge", "undo_book"]


def test_every_step_of_the_shop_is_drawn_and_reached():
    shop = WorkflowConfig.model_validate(parse(SHOP.read_bytes()))
    for flow in shop.flows:
        chart = FlowChart(flow, "f", {}, "en", "en")
        reached, pending = set[str](), ["f_start"]
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending += [edge.target for edge in chart.edges if edge.source == name]
        assert reached == {node.name for node in chart.nodes}
        assert {f"f_s{index}" for index in range(len(flow.steps))} <= reached


def test_the_command_prints_the_diagram(tmp_path):
    printed = CliRunner().invoke(app, ["flows", "diagram", str(SHOP.parent), "--flow", "cancel_order"])
    assert printed.exit_code == 0
    assert printed.stdout.startswith('flowchart TD\n  subgraph f0["cancel_order"]')
    broken = tmp_path / "workflow.yaml"
    broken.write_text("workflow_id: w\n")
    refused = CliRunner().invoke(app, ["flows", "diagram", str(broken)])
    assert isinstance(refused.exception, ValidationFailed)
