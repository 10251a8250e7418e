"""``parameter_mapping``: which value of a message, or of the session, becomes which parameter."""

import re
from dataclasses import field
from typing import Any

from signalbox.common.importing.draft import CONTEXT_NAMES, Draft
from signalbox.common.importing.names import identifier
from signalbox.common.importing.parameters import read_parameters, slot_type
from signalbox.common.importing.patterns import Untranslatable, translate
from signalbox.common.importing.source import Entry, Source
from signalbox.common.pointers import Path
from signalbox.common.record import record

_GROUP = re.compile(
    r"\A\s*(?:\$|\\|group[ _:]?|match[ _.:]?|regex[ _.:]?|捕获组)?\{?(?P<number>[1-9]\d?)\}?\s*\Z",
    re.IGNORECASE,
)
_IN_PATTERN = re.compile(r"[\\\[(|*+?]")
_GROUP_NAMES = re.compile(r"\(\?P?<([^>=!]+)>")
_SOURCES = ("source", "from", "value", "group", "group_index", "capture_group", "index", "entity", "field")
_WRAPPED = re.compile(
    r"\A\s*(?:\{\{\s*(?P<double>[^{}]+?)\s*\}\}|\$?\{(?P<single>[^{}]+)\}|\$\.?(?P<bare>[A-Za-z][\w.]*))\s*\Z"
)


@record
class Mapped:
    """One parameter of a flow, a skill or a tool, and where its value comes from."""

    name: str
    schema: dict[str, Any] = field(default_factory=dict)
    required: bool = True
    prompt: Any = None
    path: Path = ()
    expression: str | None = None
    """A template that computes it, where it does not come from the message."""
    pattern: str | None = None
    """An RE2 pattern of its own, looked for in the message."""

    @property
    def parameter(self) -> dict[str, Any]:
        """As a parameter of an intent."""
        made = slot_type(self.schema)
        if self.schema.get("description"):
            made["description"] = str(self.schema["description"])
        if self.pattern is not None:
            made["pattern"] = self.pattern
        return made


class ParameterMap:
    """All parameters of one part, and what the groups of its patterns are called from now on."""

    def __init__(self) -> None:
        self.mapped: dict[str, Mapped] = {}
        self.names: dict[str, str] = {}
        self.numbers: dict[int, str] = {}

    @property
    def places(self) -> dict[str, str]:
        """For ``{name}`` in a pattern: a pattern for such a value."""
        return {
            name: r"\d+" if each.schema.get("type") in ("integer", "number") else r"\S+"
            for name, each in self.mapped.items()
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """As parameters of an intent: what comes from the message."""
        return {name: each.parameter for name, each in self.mapped.items() if each.expression is None}

    @property
    def arguments(self) -> dict[str, Any]:
        """As arguments of a route; empty where the parameters go by their own names."""
        if all(each.expression is None for each in self.mapped.values()):
            return {}
        return {
            name: each.expression or f"{{{{ parameters.{name} | default(none) }}}}"
            for name, each in self.mapped.items()
        }


def read_mapping(source: Source, patterns: list[str], draft: Draft) -> ParameterMap:
    """The parameters that a part declares (``slots``, ``parameters``) and what ``parameter_mapping`` says of them."""
    found = ParameterMap()
    for names in (
        ("slots", "required_slots", "entities"),
        ("parameters", "inputs", "input_schema", "required_params", "required_parameters", "params"),
    ):
        if source.has(*names):
            path = source.at(*names)
            declared = read_parameters(source.take(*names), path, draft.report)
            everything = names[0] == "slots"
            for given, schema in declared.properties.items():
                name = _parameter_name(given, found, (*path, given), draft)
                required = given in declared.required or (everything and "default" not in schema)
                found.mapped[name] = Mapped(
                    name, schema, required, declared.prompts.get(given), (*path, given)
                )
    groups = {name for pattern in patterns for name in _GROUP_NAMES.findall(pattern)}
    for entry in source.entries(
        "parameter_mapping",
        "param_mapping",
        "parameters_mapping",
        "parameter_map",
        "slot_mapping",
        words="source",
    ):
        _read_entry(entry, groups, found, draft)
    for name in sorted(groups - found.names.keys()):
        ours = _parameter_name(name, found, source.path, draft)
        found.mapped.setdefault(ours, Mapped(ours, {}, required=False, path=source.path))
        found.names[name] = ours
    return found


def _read_entry(entry: Entry, groups: set[str], found: ParameterMap, draft: Draft) -> None:
    source = entry.source
    given = entry.key or source.text("name", "param", "parameter", "target", "slot", "to")
    source.take("name", "param", "parameter", "target", "slot", "to")
    kind = (
        source.text("source")
        if source.has("group", "group_index", "capture_group", "pattern", "regex")
        else ""
    )
    pattern = source.text("pattern", "regex")
    where = source.text("group", "group_index", "capture_group", "index") or source.text(*_SOURCES) or kind
    if (
        entry.key in groups
        and where
        and where not in groups
        and not _GROUP.match(where)
        and identifier(where)
    ):
        # Written the other way round: what was captured, and then what it is for.
        given, where = where, entry.key
    if not given:
        draft.report.lost(entry.path, "a parameter", "it has no name.", "Write it by hand.")
        return
    name = _parameter_name(given, found, entry.path, draft)
    before = found.mapped.get(name)
    schema = {
        key: value
        for key in ("type", "description", "enum", "default", "format")
        if (value := source.take(key)) is not None
    }
    read = read_parameters({name: schema or {}}, entry.path, draft.report).properties.get(name, {})
    required = source.flag("required", default=before.required if before is not None else True)
    prompt = source.take("prompt", "question", "ask") or (before.prompt if before is not None else None)
    source.close()
    expression = _origin(where, groups, given, found, entry.path, draft, name)
    if not pattern and expression is None and _IN_PATTERN.search(where) and not _GROUP.match(where):
        pattern = where
    found.mapped[name] = Mapped(
        name,
        {**(before.schema if before is not None else {}), **read},
        required,
        prompt,
        entry.path,
        expression,
        _own_pattern(pattern, entry.path, draft) if pattern else None,
    )


def _origin(
    where: str, groups: set[str], given: str, found: ParameterMap, path: Path, draft: Draft, name: str
) -> str | None:
    """Note which group fills the parameter; or return the template that does."""
    number = _GROUP.match(where)
    if number is not None:
        found.numbers[int(number["number"])] = name
        return None
    wrapped = _WRAPPED.match(where)
    inner = (wrapped["double"] or wrapped["single"] or wrapped["bare"]) if wrapped is not None else where
    inner = inner.strip()
    if inner in groups or given in groups:
        found.names[inner if inner in groups else given] = name
        return None
    resolved = draft.scope.resolve(inner) if wrapped is not None or inner.startswith("context.") else None
    if resolved is None and inner in CONTEXT_NAMES and inner not in found.mapped:
        resolved = f"context.{CONTEXT_NAMES[inner]}"
    if resolved is not None and not resolved.startswith("parameters"):
        return f"{{{{ {resolved} | default(none) }}}}" if "." in resolved else f"{{{{ {resolved} }}}}"
    if inner not in ("", "regex", "message", "user_input", "llm", "extract", "input", name, given) and not (
        _IN_PATTERN.search(inner)
    ):
        draft.report.changed(
            path,
            "where a parameter comes from",
            "it is read from the message, or asked for.",
            "Name a group of a pattern, or write `then.arguments` of the intent.",
        )
    return None


def _own_pattern(pattern: str, path: Path, draft: Draft) -> str | None:
    try:
        made = translate(pattern, {}, {1: "value"} if "(" in pattern else {}, {})
    except Untranslatable as error:
        draft.report.lost(path, "a pattern", f"{error}.".replace("..", "."), "Write one in RE2's syntax.")
        return None
    return made.pattern


def _parameter_name(given: str, found: ParameterMap, path: Path, draft: Draft) -> str:
    name = re.sub(r"[.-]", "_", identifier(given))
    if not name:
        name = f"value_{len(found.mapped) + 1}"
        draft.report.changed(
            path, "the name of a parameter", f"names have ASCII letters here; it is `{name}` now."
        )
    return name
