"""Templates and expressions: each parses, and the slots and variables that it names exist."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel

from signalbox.common.pointers import Path
from signalbox.common.templates import TemplateError, Templates
from signalbox.common.validation.references import slot_names
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Node, Submission, strings
from signalbox.common.validation.suggest import Suggestions
from signalbox.contracts.config import (
    Action,
    Branch,
    CallStep,
    Compensation,
    Flow,
    HttpRequest,
    Knowledge,
    McpSource,
    OAuth2Auth,
    ReplyStep,
    Route,
    SetStep,
    SlotValidation,
    StatusCheck,
    SubflowStep,
    Subtask,
    Tool,
    WebhookRequest,
)

_Kind = Literal["template", "expression", "url"]

_FIELDS: dict[type[BaseModel], dict[str, _Kind]] = {
    Action: {"profile": "template"},
    Branch: {"when": "expression"},
    CallStep: {"arguments": "template"},
    Compensation: {"arguments": "template"},
    HttpRequest: {"url": "url", "headers": "template", "query": "template", "body": "template"},
    Knowledge: {"arguments": "template"},
    McpSource: {"url": "url"},
    OAuth2Auth: {"token_url": "url"},
    ReplyStep: {"parts": "template"},
    Route: {"arguments": "template"},
    SetStep: {"values": "template"},
    SlotValidation: {"arguments": "template", "accept": "expression"},
    StatusCheck: {"arguments": "template", "done_when": "expression"},
    SubflowStep: {"arguments": "template"},
    Subtask: {"arguments": "template"},
    Tool: {"context": "template"},
    WebhookRequest: {"url": "url", "headers": "template", "payload": "template"},
}
# What templates may read, wherever they stand; a name that is nearly one of these is probably a slip.
_ROOTS = (
    "arguments",
    "context",
    "message",
    "output",
    "parameters",
    "profile",
    "result",
    "results",
    "slots",
    "subtasks",
    "vars",
)
_MIN_SLIP = 3


def check_templates(
    submission: Submission, templates: Templates, suggestions: Suggestions
) -> Iterator[Finding]:
    """``bad_template``, ``bad_expression``, and ``unknown_reference`` for slots and variables that are not there."""
    for path, source, kind, node in _sources(submission):
        try:
            if kind == "expression":
                templates.check_expression(source)
            elif kind == "url":
                templates.check_url(source)
            else:
                templates.check(source)
            names = templates.references(source, expression=kind == "expression")
        except TemplateError as error:
            code = "bad_expression" if kind == "expression" else "bad_template"
            yield Finding(path, code, f"The {kind} is refused: {error.reason}")
            continue
        for chain in sorted(names):
            yield from _unknown(submission, path, node, chain, suggestions)


def warn_about_names(submission: Submission, templates: Templates) -> Iterator[Finding]:
    """``unknown_name``: a name in a template that is nearly one of those that there are."""
    suggestions = Suggestions()
    for path, source, kind, node in _sources(submission):
        try:
            names = {chain[0] for chain in templates.references(source, expression=kind == "expression")}
        except TemplateError:
            continue
        for name in sorted(names - set(_ROOTS) - _results(node)):
            meant = suggestions.nearest(name, _ROOTS) if len(name) >= _MIN_SLIP else None
            if meant is not None:
                yield Finding(
                    path, "unknown_name", f"Nothing is called `{name}` in templates; did you mean `{meant}`?"
                )


def _sources(submission: Submission) -> Iterator[tuple[Path, str, _Kind, Node]]:
    for node in submission.nodes:
        for field, kind in _FIELDS.get(type(node.model), {}).items():
            for path, source in strings(getattr(node.model, field), (*node.path, field)):
                if kind != "template" or "{" in source:
                    yield path, source, kind, node
    for text in submission.texts:
        for path, source in text.strings():
            if "{" in source:
                yield path, source, "template", text.node


def _unknown(
    submission: Submission, path: Path, node: Node, chain: tuple[str, ...], suggestions: Suggestions
) -> Iterator[Finding]:
    if len(chain) < 2:
        return
    root, name = chain[:2]
    if root == "vars":
        known = submission.names(("variables",))
        kind = "variable"
    elif root == "slots" and (flow := node.enclosing(Flow)) is not None:
        known = slot_names(submission, flow[0]) | _set_names(flow[1])
        kind = "slot"
    else:
        return
    if name not in known:
        yield Finding(
            path, "unknown_reference", f"There is no {kind} `{name}`; {suggestions.advice(name, known, kind)}"
        )


def _set_names(flow: Flow) -> set[str]:
    return {name for step in flow.steps if isinstance(step, SetStep) for name in step.values}


def _results(node: Node) -> set[str]:
    found = node.enclosing(Flow)
    if found is None:
        return set()
    saved = {
        step.save_as for step in found[1].steps if isinstance(step, CallStep | SubflowStep) and step.save_as
    }
    return saved | _set_names(found[1]) | {slot.id for slot in found[1].slots}
