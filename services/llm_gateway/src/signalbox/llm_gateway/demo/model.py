"""How the demo model answers a chat request."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.demo.arguments import Unfillable, fill
from signalbox.llm_gateway.demo.rendering import report, say
from signalbox.llm_gateway.demo.structured import structured
from signalbox.llm_gateway.demo.words import rank, word_set
from signalbox.llm_gateway.deployments import DEMO_MODEL
from signalbox.llm_gateway.protocol import RequestBody, Tokens, estimated_tokens

Json = Mapping[str, Any]

_CHANGES = frozenset(
    {
        "book",
        "cancel",
        "change",
        "close",
        "create",
        "delete",
        "pay",
        "refund",
        "remove",
        "send",
        "set",
        "start",
    }
)
"""Words at the beginning of the names of tools that change something: the demo model does not call those."""

_FINISHES = frozenset({"complete", "done", "final_answer", "finish", "submit_answer"})
_LEAST = 0.12
_CLOSE = 0.8
"""A second tool is called too when it fits at least this well, relative to the best."""

_MAX_CALLS = 2


class DemoModel:
    """Answers by comparing words. The same request always gets the same answer."""

    def complete(self, body: RequestBody) -> Completion:
        """The answer to a chat request; after results of tools always a text, so that no agent loops."""
        fields = body.fields
        messages = fields["messages"]
        asked = _user_texts(messages) or [""]
        results = _results(messages)
        tools = [tool["function"] for tool in body.tools]
        if results:
            message = _finished(tools, fields, report(results, asked[0]))
        elif tools:
            message = self._with_tools(tools, asked, fields.get("tool_choice"))
        else:
            message = _text(say("plain", asked[0]))
        if message.get("content") is not None and body.json_format is not None:
            message = _text(self._json(body.json_format, messages, asked))
        written = orjson.dumps(message)
        return Completion(
            id=f"chatcmpl-demo-{hashlib.sha256(body.raw).hexdigest()[:24]}",
            model=DEMO_MODEL,
            message=message,
            tokens=Tokens(input=estimated_tokens(len(body.raw)), output=estimated_tokens(len(written))),
        )

    def _json(self, wanted: Json, messages: Sequence[Json], asked: Sequence[str]) -> str:
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            return orjson.dumps({"message": say("plain", asked[0])}).decode()
        prompt = "\n".join(_content(one) for one in messages if one.get("role") in {"system", "developer"})
        return orjson.dumps(structured(schema, prompt, asked)).decode()

    def _with_tools(self, tools: Sequence[Json], asked: Sequence[str], choice: Any) -> dict[str, Any]:
        forced = choice["function"].get("name") if isinstance(choice, dict) and "function" in choice else None
        usable = [tool for tool in tools if tool.get("name") == forced] if forced else _reading(tools)
        calls, missing = [], None
        for tool in _fitting(usable, asked[0], must=forced is not None or choice == "required"):
            try:
                calls.append((tool, fill(_parameters(tool), asked)))
            except Unfillable as error:
                missing = missing or (tool, str(error))
        if calls:
            return _calls([(str(tool["name"]), arguments) for tool, arguments in calls[:_MAX_CALLS]])
        if missing is not None:
            return _text(_ask_for(*missing, asked[0]))
        names = ", ".join(str(tool.get("name")) for tool in usable)
        return _text(say("able", asked[0], tools=names or "-"))


def _reading(tools: Sequence[Json]) -> list[Json]:
    def reads(name: str) -> bool:
        return name not in _FINISHES and name.replace("-", "_").split("_")[0] not in _CHANGES

    return [tool for tool in tools if reads(str(tool.get("name", "")).lower())]


def _fitting(tools: Sequence[Json], message: str, *, must: bool) -> list[Json]:
    """The tools whose names and descriptions have words of the message; else one that searches for any text."""
    described = [f"{tool.get('name', '')} {tool.get('description', '')} {_enums(tool)}" for tool in tools]
    ranked = rank(message, described)
    best = ranked[0][0] if ranked else 0.0
    if best >= _LEAST:
        return [tools[index] for score, index in ranked if score >= best * _CLOSE]
    searching = [tool for tool in tools if _searches(tool)] if word_set(message) else []
    return searching[:1] or (list(tools[:1]) if must else [])


def _enums(tool: Json) -> str:
    """The values that a tool's parameters allow: a message about jackets is for the tool with that category."""
    properties = _parameters(tool).get("properties")
    parts = properties.values() if isinstance(properties, dict) else ()
    return " ".join(
        str(value) for part in parts if isinstance(part, dict) for value in part.get("enum") or ()
    )


def _searches(tool: Json) -> bool:
    required = _parameters(tool).get("required")
    name = required[0] if isinstance(required, list) and len(required) == 1 else ""
    return name in {"query", "q", "text", "question", "topic", "search"}


def _parameters(tool: Json) -> Json:
    parameters = tool.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _ask_for(tool: Json, name: str, message: str) -> str:
    properties = _parameters(tool).get("properties")
    described = properties.get(name) if isinstance(properties, dict) else None
    description = described.get("description") if isinstance(described, dict) else None
    missing = str(description or name.replace("_", " ")).rstrip(".")
    return say("missing", message, tool=str(tool.get("name")), missing=missing)


def _finished(tools: Sequence[Json], fields: Json, text: str) -> dict[str, Any]:
    """The end of an agent's work: a text, or the call that its protocol ends with."""
    last = next((tool for tool in tools if str(tool.get("name", "")).lower() in _FINISHES), None)
    if last is None or fields.get("tool_choice") == "none":
        return _text(text)
    properties = _parameters(last).get("properties")
    texts = [
        name
        for name, part in (properties if isinstance(properties, dict) else {}).items()
        if isinstance(part, dict) and part.get("type") == "string" and "enum" not in part
    ]
    return _calls([(str(last["name"]), {texts[0]: text} if texts else {})])


def _text(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _calls(calls: Sequence[tuple[str, Json]]) -> dict[str, Any]:
    made: list[dict[str, Any]] = []
    for name, arguments in calls:
        written = orjson.dumps(arguments).decode()
        digest = hashlib.sha256(f"{len(made)}{name}{written}".encode()).hexdigest()[:20]
        made.append(
            {"id": f"call_{digest}", "type": "function", "function": {"name": name, "arguments": written}}
        )
    return {"role": "assistant", "content": None, "tool_calls": made}


def _user_texts(messages: Sequence[Json]) -> list[str]:
    """What the user wrote, newest first."""
    return [text for one in reversed(messages) if one.get("role") == "user" and (text := _content(one))]


def _results(messages: Sequence[Json]) -> list[str]:
    """The results of tools since the user wrote last."""
    found: list[str] = []
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        if message.get("role") == "tool":
            found.append(_content(message))
    return found[::-1]


def _content(message: Json) -> str:
    """The text of a message, whose content is text or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(
        part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
