"""Tools: function-call schemas with a request, or with a name alone."""

from collections.abc import Mapping
from typing import Any

from signalbox.common.importing.draft import Draft, Part
from signalbox.common.importing.parameters import Parameters, read_parameters
from signalbox.common.importing.requests import writes
from signalbox.common.importing.source import Entry, Source

_PARAMETERS = (
    "parameters",
    "input_schema",
    "input_parameters",
    "schema",
    "arguments",
    "args",
    "inputs",
    "params_schema",
)
_DESCRIPTION = ("description", "desc", "summary")


def tool_parts(entries: list[Entry], draft: Draft) -> list[Part]:
    """Ids of tools; ``{"type": "function", "function": {...}}`` is read as what is inside, with what is beside it."""
    return draft.parts(
        "tool", [_unwrapped(entry) for entry in entries], "tool_id", "tool_name", "function_name"
    )


def read_tool(part: Part, draft: Draft) -> None:
    """One tool."""
    source = part.source
    if source.text("type") not in ("", "function", "api", "http", "rest", "tool", "http_api"):
        draft.report.changed(source.at("type"), "the type of a tool", "it is read as a tool with a request.")
    parameters = tool_parameters(source, draft)
    made: dict[str, Any] = {"id": part.id}
    description = source.text(*_DESCRIPTION) or part.label
    if description:
        made["description"] = description
    carried = draft.requests.read(source, parameters, part.id)
    made["parameters"] = parameters.schema()
    effect = _effect(source)
    if carried is None:
        made["python"] = source.text("callable", "python", "handler", "module", "function_path") or part.id
        made["effect"] = effect or "write"
        draft.report.lost(
            part.entry.path,
            f"what the tool `{part.id}` does",
            "the file has no URL for it, only a name.",
            f"Install a function under the entry point `signalbox.tools` as `{made['python']}`, or write a `request`.",
        )
    else:
        made |= carried
        made["effect"] = effect or ("write" if writes(carried["request"]) else "read")
    if source.flag("idempotent", default=False):
        made["idempotent"] = True
    if source.flag("confirm", "need_confirm", "requires_confirmation", "require_approval", default=False):
        made["confirm"] = "always"
    cache = source.whole("cache_seconds", "cache_ttl", "cache", low=0, high=86_400)
    if cache:
        made["cache_seconds"] = cache
    source.close()
    draft.add("tools", made, part.entry.path)
    draft.tool_parts[part.id] = part


def tool_parameters(source: Source, draft: Draft) -> Parameters:
    """The parameters of a tool or function; ``params`` counts where it describes them, and is a query else."""
    for name in (*_PARAMETERS, "params"):
        if source.has(name) and (name != "params" or _describes(source.value.get("params"))):
            path = source.at(name)
            found = read_parameters(source.take(name), path, draft.report)
            required = source.take("required", "required_params", "required_parameters")
            if isinstance(required, list):
                found.required += [str(each) for each in required]
            return found
    return Parameters()


def _effect(source: Source) -> str | None:
    if source.has("effect"):
        word = source.text("effect").lower()
        return "read" if word in ("read", "query", "readonly", "read_only") else "write"
    if source.has("read_only", "readonly", "is_read", "is_query"):
        return (
            "read" if source.flag("read_only", "readonly", "is_read", "is_query", default=False) else "write"
        )
    return None


def _unwrapped(entry: Entry) -> Entry:
    inner = entry.source.value.get("function")
    if not isinstance(inner, Mapping):
        return entry
    beside = {key: value for key, value in entry.source.value.items() if key != "function"}
    return Entry(entry.path, entry.key, Source({**beside, **inner}, entry.path, entry.source.report))


def _describes(value: Any) -> bool:
    """Whether ``params`` says what the parameters are, and not what they are filled with."""
    if isinstance(value, list):
        return any(isinstance(item, Mapping) and ("type" in item or "description" in item) for item in value)
    if not isinstance(value, Mapping):
        return False
    if value.get("type") == "object":
        return True
    return any(
        isinstance(item, Mapping) and ("type" in item or "description" in item) for item in value.values()
    )
