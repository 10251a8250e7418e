"""From an earlier ``workflow_config.json`` to a workflow document of ours that is valid.

The order matters: names are given first, so that every part can refer to every other; then each part is read after
what it may refer to. Whatever is not read is reported. What the validation refuses in the end is taken out, and
reported too: the result is always a document that can be published.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from signalbox.common.documents import Document
from signalbox.common.errors import ValidationFailed
from signalbox.common.importing.actions import read_action, read_timer
from signalbox.common.importing.books import read_book
from signalbox.common.importing.credentials import without_credentials
from signalbox.common.importing.draft import Draft
from signalbox.common.importing.flows import read_flow
from signalbox.common.importing.knowledge import read_knowledge
from signalbox.common.importing.report import Note, Report
from signalbox.common.importing.settings import read_settings
from signalbox.common.importing.skills import agent_skill, read_skill
from signalbox.common.importing.source import Source
from signalbox.common.importing.tools import read_tool, tool_parts
from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.validation import validate
from signalbox.contracts.problem import ProblemError

_ROUNDS = 50
_WRAPPERS = ("workflow_config", "workflow", "config", "agent_config", "bot_config", "data")
_KNOWN = (
    "basic_settings",
    "greeting",
    "sop",
    "tools",
    "skills",
    "flows",
    "system_actions",
    "action_books",
    "kb_config",
)


class NotImportable(ValidationFailed):
    """The file is no configuration that anything can be read of."""

    code = "not_importable"


@record
class Imported:
    """A valid workflow document, and all there is to say about how it came to be."""

    document: Document
    notes: list[Note]
    complete: bool
    """Whether nothing of the file was lost."""
    warnings: list[ProblemError]
    """What validation warns of."""


def import_workflow(document: Mapping[str, Any], stem: str = "imported") -> Imported:
    """Make a workflow of an earlier configuration; ``stem`` names it where it names itself nowhere.

    Raises:
        NotImportable: it is a workflow of ours, or holds none of the parts that an earlier one has.
    """
    report = Report()
    path, value = _unwrapped(document, report)
    if "schema_version" in value and "intents" in value:
        raise NotImportable("This is a workflow of Signalbox already; publish it with `signalbox publish`.")
    draft = Draft(report)
    root = Source(without_credentials(value, path, report), path, report)
    read_settings(root, draft, stem)
    _read_parts(root, draft)
    read_knowledge(root, draft)
    _version(root)
    root.close()
    if not any((draft.intents, draft.tools, draft.knowledge, draft.instructions, draft.head.get("greeting"))):
        raise NotImportable(
            f"Nothing of an earlier workflow_config.json is here: one of {', '.join(_KNOWN)}."
        )
    _answer_what_is_left(draft)
    return _valid(draft, report)


def _read_parts(root: Source, draft: Draft) -> None:
    tools = tool_parts(root.entries("tools", "tool_list", "functions", "apis"), draft)
    actions = draft.parts(
        "action", root.entries("system_actions", "system_action", "actions"), "action_id", "action_name"
    )
    skills = draft.parts("skill", root.entries("skills", "skill_list", "agents"), "skill_id", "skill_name")
    flows = draft.parts("flow", root.entries("flows", "flow_list", "workflows"), "flow_id", "flow_name")
    books = draft.parts(
        "book",
        root.entries("action_books", "action_book", "actionbooks", "playbooks"),
        "book_id",
        "action_book_id",
    )
    timers = draft.parts("timer", root.entries("timers", "timer"), "timer_id", "timer_name")
    for part in tools:
        draft.tool_parts[part.id] = part
    for part in tools:
        read_tool(part, draft)
    for part in actions:
        read_action(part, draft)
    for part in skills:
        read_skill(part, draft)
    for part in flows:
        read_flow(part, draft)
    for part in books:
        read_book(part, draft)
    for part in timers:
        read_timer(part, draft)


def _answer_what_is_left(draft: Draft) -> None:
    """A skill with all tools for what no intent covers: the earlier engine let a model decide over all of them."""
    tools = [tool["id"] for tool in draft.tools if "request" in tool]
    if not draft.instructions and not tools:
        return
    skill = draft.names["skill"].give("assistant")
    instructions = (
        "Help the user within the procedure and the rules below. Look things up before you state them."
    )
    draft.add("skills", agent_skill(skill, "Answers what no intent covers.", instructions, tools), ())
    draft.policies.setdefault("fallback", {})["skill"] = skill
    draft.report.changed(
        (),
        "what a model decides with all tools at hand",
        f"it is the skill `{skill}`, which answers what no intent covers.",
    )


def _version(root: Source) -> None:
    for name in (
        "version",
        "config_version",
        "schema",
        "$schema",
        "created_at",
        "updated_at",
        "create_time",
        "update_time",
    ):
        root.take(name)


def _unwrapped(document: Mapping[str, Any], report: Report) -> tuple[Path, Mapping[str, Any]]:
    """The configuration itself, where it stands alone inside of another object."""
    path: Path = ()
    value = document
    while not any(name in value for name in _KNOWN):
        inner = [name for name in _WRAPPERS if isinstance(value.get(name), Mapping)]
        if len(inner) != 1:
            break
        beside = Source(value, path, report)
        value = beside.take(inner[0])
        _version(beside)
        beside.close()
        path = (*path, inner[0])
    return path, value


def _valid(draft: Draft, report: Report) -> Imported:
    document = draft.document()
    for _ in range(_ROUNDS):
        result = validate(document)
        if not result.errors:
            return Imported(document, report.notes, report.complete, result.warnings)
        _take_out(document, result.errors, draft)
    raise NotImportable("No valid workflow can be made of this file.", errors=validate(document).errors)


def _take_out(document: Document, errors: Iterable[ProblemError], draft: Draft) -> None:
    """Remove what validation refuses, the last first, so that the places of the others stay."""
    places = {tuple(_parts(error.pointer)): error for error in errors}
    for place in sorted(places, key=lambda parts: [_order(part) for part in parts], reverse=True):
        error = places[place]
        origin = _origin(document, place, draft)
        where = "/".join(place[:1])
        draft.report.lost(
            origin,
            f"a part of `{where}`",
            f"it does not pass validation: {error.detail}",
            "Write it by hand.",
        )
        _remove(document, place)


def _remove(document: Document, place: tuple[str, ...]) -> None:
    """Remove the value at a place; where it is missing, or needed, what holds it."""
    value: Any = document
    holders: list[tuple[Any, Any]] = []
    for part in place:
        key: Any = int(part) if isinstance(value, list) else part
        holders.append((value, key))
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            holders.pop()
            break
    if not holders:
        document.pop(place[0], None)
        return
    holder, key = holders[-1]
    del holder[key]


def _origin(document: Document, place: tuple[str, ...], draft: Draft) -> Path:
    if len(place) >= 2 and isinstance(document.get(place[0]), list) and place[1].isdecimal():
        items = document[place[0]]
        if int(place[1]) < len(items):
            return draft.origins.get((place[0], items[int(place[1])].get("id", "")), ())
    return ()


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _order(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (-1, part)
