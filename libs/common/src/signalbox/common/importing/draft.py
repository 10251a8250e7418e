"""The workflow document while it is being made, and what all parts of an import share."""

from typing import Any

from signalbox.common.importing.names import Names, identifier
from signalbox.common.importing.report import Report
from signalbox.common.importing.requests import Requests
from signalbox.common.importing.source import Entry, Source
from signalbox.common.importing.texts import Scope, Texts
from signalbox.common.pointers import Path
from signalbox.common.record import record

CONTEXT_NAMES = {
    "user_id": "user_id",
    "session_id": "session_id",
    "language": "language",
    "timezone": "timezone",
    "today": "today",
    "conversation_id": "session_id",
    "current_date": "today",
}
KINDS = ("intent", "flow", "skill", "tool", "action", "timer", "knowledge", "book")
_ENABLED = ("enabled", "enable", "is_enabled", "active", "is_active")
_LABELS = ("name", "title", "label", "display_name")


@record
class Part:
    """One part of the earlier file that has an id of ours, before it is read whole."""

    id: str
    entry: Entry
    label: str
    """What people call it."""

    @property
    def source(self) -> Source:
        """Its fields."""
        return self.entry.source


class Draft:
    """The parts of the new document."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.texts = Texts(report)
        self.requests = Requests(report, self.texts, CONTEXT_NAMES)
        self.names = {kind: Names(kind) for kind in KINDS}
        self.head: dict[str, Any] = {}
        self.instructions: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.intents: list[dict[str, Any]] = []
        self.flows: list[dict[str, Any]] = []
        self.skills: list[dict[str, Any]] = []
        self.tools: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.timers: list[dict[str, Any]] = []
        self.knowledge: list[dict[str, Any]] = []
        self.tool_parts: dict[str, Part] = {}
        self.origins: dict[tuple[str, str], Path] = {}
        """By collection and id: where a part stood in the earlier file."""

    @property
    def languages(self) -> list[str]:
        """The workflow's languages, the default first."""
        found: list[str] = self.head.get("languages", ["en"])
        return found

    @property
    def scope(self) -> Scope:
        """The names that a text outside of flows may use."""
        roots = {name: f"context.{ours}" for name, ours in CONTEXT_NAMES.items()}
        roots |= {
            "context": "context",
            "user": "context.profile",
            "profile": "context.profile",
            "vars": "vars",
        }
        roots |= {name: f"vars.{name}" for name in self.requests.variables}
        roots |= {"parameters": "parameters", "params": "parameters", "slots": "parameters"}
        return Scope(roots)

    def parts(self, kind: str, found: list[Entry], *id_names: str) -> list[Part]:
        """Give every entry of a collection its id; one that is switched off is left out and reported."""
        made = []
        for entry in found:
            source = entry.source
            named = [source.text(name) for name in (*id_names, "id", "key", "code") if source.has(name)]
            label = source.text(*_LABELS) or next(iter(named), "") or entry.key
            if not source.flag(*_ENABLED, default=True):
                self.report.lost(
                    entry.path,
                    f"the {kind} `{label}`",
                    "it is switched off.",
                    "Add it by hand if it is wanted.",
                )
                continue
            new = self.names[kind].give(*named, label, entry.key)
            given = next((name for name in (*named, label, entry.key) if name), "")
            if given and new != given and identifier(given) != new:
                self.report.changed(
                    entry.path, f"the name of a {kind}", f"ids have ASCII letters here; it is `{new}` now."
                )
            made.append(Part(new, entry, label))
        return made

    def add(self, collection: str, part: dict[str, Any], path: Path) -> None:
        """Add a part to one of the document's lists."""
        items: list[dict[str, Any]] = getattr(self, collection)
        items.append(part)
        self.origins[collection, part["id"]] = path

    def action(self, kind: str, path: Path) -> str:
        """The id of the action of a type; one is made where there is none."""
        for action in self.actions:
            if action["type"] == kind:
                return str(action["id"])
        new = self.names["action"].give(kind)
        self.add("actions", {"id": new, "type": kind}, path)
        return new

    def document(self) -> dict[str, Any]:
        """The document as it stands."""
        made = {"schema_version": "1", **self.head}
        if self.requests.variables:
            made["variables"] = self.requests.variables
        if self.instructions:
            made["instructions"] = self.instructions
        for collection in ("intents", "flows", "skills", "tools", "actions", "timers", "knowledge"):
            items = getattr(self, collection)
            if items:
                made[collection] = items
        if self.policies:
            made["policies"] = self.policies
        return made
