"""``kb_config``: the tool that is asked for passages, and questions with their answers."""

import copy
from typing import Any

from signalbox.common.importing.draft import Draft
from signalbox.common.importing.parameters import Parameters, argument
from signalbox.common.importing.source import Source, entries
from signalbox.common.pointers import Path

_ENABLED = ("enabled", "enable", "is_enabled")
_TOOL = ("tool", "tool_name", "search_tool", "retrieval_tool", "kb_tool", "tool_id")
_QUERY = ("query", "question", "q", "keyword", "keywords", "text", "search", "input", "message")
_RETRIEVAL = ("retrieval", "retrieval_settings", "retrieval_config", "search_config", "settings", "search")
_TOP = ("top_k", "topk", "limit", "max_results", "size")
_WHEN = {
    "always": "before_answer",
    "before_answer": "before_answer",
    "every_turn": "before_answer",
    "auto": "on_demand",
    "on_demand": "on_demand",
    "tool": "on_demand",
    "manual": "on_demand",
    "fallback": "on_fallback",
    "on_fallback": "on_fallback",
    "no_match": "on_fallback",
}
_QUESTIONS = ("faqs", "faq", "qa_pairs", "qa", "questions", "entries", "documents")


def read_knowledge(root: Source, draft: Draft) -> None:
    """The knowledge base or bases of a file."""
    names = ("kb_config", "knowledge_base", "knowledge", "kb", "knowledge_config", "knowledge_bases")
    path = root.at(*names)
    value = root.take(*names)
    if isinstance(value, dict) and any(
        name in value for name in (*_TOOL, *_ENABLED, *_QUESTIONS, *_TOP, *_RETRIEVAL, "url")
    ):
        _read(Source(value, path, draft.report), path, "knowledge", draft)
        return
    for entry in entries(value, path, draft.report, "tool"):
        _read(entry.source, entry.path, entry.key, draft)


def _read(source: Source, path: Path, key: str, draft: Draft) -> None:
    label = source.text("name", "id", "kb_id", "kb_name", "title") or key
    source.take("id")
    source.take("kb_id")
    if not source.flag(*_ENABLED, default=True):
        draft.report.lost(
            path, "the knowledge base", "it is switched off.", "Add it under `knowledge` if it is wanted."
        )
        return
    _questions(source, draft)
    tool = _tool(source, label, path, draft)
    if tool is None:
        source.close()
        return
    made: dict[str, Any] = {"id": draft.names["knowledge"].give(label, "knowledge"), "tool": tool["id"]}
    description = source.text("description", "desc")
    if description:
        made["description"] = description
    settings = source.object(*_RETRIEVAL)
    arguments: dict[str, Any] = {}
    for holder in [source, *([settings] if settings is not None else [])]:
        _settings(holder, made, arguments, tool)
    if arguments:
        made["arguments"] = arguments
    source.close()
    if settings is not None:
        settings.close()
    draft.add("knowledge", made, path)


def _settings(source: Source, made: dict[str, Any], arguments: dict[str, Any], tool: dict[str, Any]) -> None:
    top = source.whole(*_TOP, low=1, high=50)
    if top is not None:
        made["top_k"] = top
    path = source.at("when", "trigger", "mode", "retrieval_mode", "trigger_mode", "search_when")
    word = source.text("when", "trigger", "mode", "retrieval_mode", "trigger_mode", "search_when").lower()
    if word in _WHEN:
        made["when"] = _WHEN[word]
    elif word:
        source.report.lost(
            path,
            "how knowledge is looked up",
            "that is up to the service behind the tool.",
            "Set it there, or as an argument of the tool.",
        )
    for name in tool["parameters"]["properties"]:
        if name != "query" and source.has(name):
            arguments[name] = source.take(name)
    if "limit" in tool["parameters"]["properties"] and top is not None:
        arguments.setdefault("limit", top)


def _tool(source: Source, label: str, path: Path, draft: Draft) -> dict[str, Any] | None:
    """A read tool that takes ``query``: the named one, a copy of it with that name, or one made of a URL."""
    names_path = source.at(*_TOOL)
    name = source.text(*_TOOL)
    known = draft.names["tool"].find(name) if name else None
    tool = next((each for each in draft.tools if each["id"] == known), None)
    if tool is not None:
        return _reading(tool, path, draft)
    if source.has("url", "endpoint", "api_url", "request", "http"):
        parameters = Parameters()
        parameters.properties["query"] = {"type": "string"}
        parameters.required.append("query")
        new = draft.names["tool"].give(f"search_{label}", "search_knowledge")
        carried = draft.requests.read(source, parameters, new)
        if carried is not None:
            made = {
                "id": new,
                "description": f"Search {label}.",
                "parameters": parameters.schema(),
                **carried,
                "effect": "read",
            }
            draft.add("tools", made, path)
            return made
    if name:
        new = draft.names["tool"].give(name)
        schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
        made = {
            "id": new,
            "description": f"Search {label}.",
            "parameters": schema,
            "python": new,
            "effect": "read",
        }
        draft.add("tools", made, path)
        draft.report.lost(
            names_path,
            f"what the tool `{name}` does",
            "the file has no URL for it, only a name.",
            f"Install a function under the entry point `signalbox.tools` as `{new}`, or write a `request`.",
        )
        return made
    if not any(source.has(each) for each in _QUESTIONS):
        draft.report.lost(
            path,
            "the knowledge base",
            "the file names no tool that searches it.",
            "Add a tool that takes `query`, and name it under `knowledge`.",
        )
    return None


def _reading(tool: dict[str, Any], path: Path, draft: Draft) -> dict[str, Any]:
    properties = tool["parameters"].get("properties", {})
    asked = next((name for name in _QUERY if name in properties), None)
    if asked == "query":
        if tool["effect"] != "read":
            tool["effect"] = "read"
            draft.report.changed(path, f"the tool `{tool['id']}`", "it searches, so it counts as a read.")
        return tool
    if asked is None or "python" in tool:
        asked = asked or next(iter(properties), None)
    copied: dict[str, Any] = copy.deepcopy(tool)
    copied["id"] = draft.names["tool"].give(f"{tool['id']}_passages")
    copied["effect"] = "read"
    if asked is not None:
        before, after = argument(asked), argument("query")
        copied["parameters"]["properties"] = {
            ("query" if key == asked else key): item for key, item in properties.items()
        }
        required = tool["parameters"].get("required", [])
        copied["parameters"]["required"] = [("query" if key == asked else key) for key in required]
        if "request" in copied:
            copied["request"] = _renamed(copied["request"], before, after)
    draft.add("tools", copied, path)
    draft.report.changed(
        path,
        f"the tool `{tool['id']}`",
        f"knowledge asks with `query`: `{copied['id']}` is a copy that does.",
    )
    return copied


def _renamed(value: Any, before: str, after: str) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, before, after) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, before, after) for item in value]
    return value.replace(before, after) if isinstance(value, str) else value


def _questions(source: Source, draft: Draft) -> None:
    """Questions with fixed answers become intents with examples."""
    for entry in source.entries(*_QUESTIONS, words="question"):
        given = entry.source
        asked = [
            text
            for name in (
                "question",
                "questions",
                "q",
                "title",
                "similar_questions",
                "similar",
                "variants",
                "aliases",
            )
            if given.has(name)
            for _, text in given.texts(name)
        ]
        answer = draft.texts.localized(given.take("answer", "a", "reply", "content"), entry.path, draft.scope)
        label = given.text("id", "category") if given.has("id") else ""
        when: dict[str, Any] = {"examples": list(dict.fromkeys(asked))}
        keywords = given.texts("keywords", "keyword")
        if keywords:
            when["keywords"] = [word for _, word in keywords]
        given.close()
        if not asked or not answer:
            draft.report.lost(
                entry.path, "a question", "it has no words, or no answer.", "Write it as an intent."
            )
            continue
        new = draft.names["intent"].give(label, asked[0] if asked[0].isascii() else "", entry.key)
        draft.add(
            "intents",
            {"id": new, "description": asked[0], "when": when, "then": {"reply": answer}},
            entry.path,
        )
