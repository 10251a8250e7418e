"""A script: ordered rules that say what the provider answers to which request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from signalbox_fake_provider.faults import Fault
from signalbox_fake_provider.fields import Fields, ScriptError
from signalbox_fake_provider.tokens import messages_of, text_of

# A client may list the models at any time; a rule that means every question should not be used up by that.
_ANSWERING = ("chat", "embeddings")
_LAST_USER = "{last_user}"


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule is matched with; header names are in lower case."""

    endpoint: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.body.get("stream") is True

    @property
    def last_user(self) -> str:
        """Text of the last user message, empty when there is none."""
        texts = [text_of(m.get("content")) for m in messages_of(self.body) if m.get("role") == "user"]
        return texts[-1] if texts else ""

    @property
    def last_role(self) -> str | None:
        """Role of the last message."""
        messages = messages_of(self.body)
        return str(messages[-1].get("role")) if messages else None

    @property
    def has_tool_result(self) -> bool:
        """Whether a tool message follows the last user message."""
        roles = [message.get("role") for message in messages_of(self.body)]
        after = roles[len(roles) - roles[::-1].index("user") :] if "user" in roles else roles
        return "tool" in after


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold; one that is ``None`` or empty always holds.

    ``endpoint`` is chat, embeddings or models, without it one of the first two; ``last_user_contains``
    ignores case; ``last_role`` is the role of the last message (``assistant``: a prefill); ``header`` maps
    names to the exact values they must have.
    """

    endpoint: str | None = None
    model: str | None = None
    last_user_contains: str | None = None
    last_role: str | None = None
    has_tool_result: bool | None = None
    stream: bool | None = None
    header: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, place: str) -> "Match":
        """Read the conditions; raises `ScriptError`."""
        fields = Fields(value, place)
        match = cls(
            endpoint=fields.take("endpoint", str),
            model=fields.take("model", str),
            last_user_contains=fields.take("last_user_contains", str),
            last_role=fields.take("last_role", str),
            has_tool_result=fields.take("has_tool_result", bool),
            stream=fields.take("stream", bool),
            header={name.lower(): text for name, text in fields.take_texts("header").items()},
        )
        fields.end()
        return match

    def accepts(self, request: Request) -> bool:
        """Whether every condition holds for ``request``."""
        exact = (
            (self.model, request.body.get("model")),
            (self.last_role, request.last_role),
            (self.has_tool_result, request.has_tool_result),
            (self.stream, request.stream),
        )
        wanted = self.last_user_contains
        return (
            request.endpoint in ((self.endpoint,) if self.endpoint else _ANSWERING)
            and all(expected is None or expected == actual for expected, actual in exact)
            and (wanted is None or wanted.lower() in request.last_user.lower())
            and all(request.headers.get(name) == text for name, text in self.header.items())
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of the tool ``name`` with ``arguments`` as JSON text; without ``id`` one is made up."""

    name: str
    arguments: str
    id: str | None = None

    @classmethod
    def parse(cls, value: object, place: str) -> "ToolCall":
        """Read a call; arguments are a mapping, or a text that is sent as it is; raises `ScriptError`."""
        fields = Fields(value, place)
        name, identifier, arguments = (
            fields.take("name", str),
            fields.take("id", str),
            fields.take_any("arguments"),
        )
        fields.end()
        if not name:
            raise ScriptError(f"{place}.name: a tool call needs the name of the tool")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        return cls(name, text, identifier)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the assistant says: content, tool calls, or both; a finish reason replaces the usual one."""

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None

    def about(self, last_user: str) -> "Reply":
        """The same reply with the last user message where content or arguments say ``{last_user}``."""
        texts = [self.content or "", *(call.arguments for call in self.tool_calls)]
        if not any(_LAST_USER in text for text in texts):
            return self
        quoted = json.dumps(last_user, ensure_ascii=False)[1:-1]
        return replace(
            self,
            content=None if self.content is None else self.content.replace(_LAST_USER, last_user),
            tool_calls=tuple(
                replace(call, arguments=call.arguments.replace(_LAST_USER, quoted))
                for call in self.tool_calls
            ),
        )

    @classmethod
    def parse(cls, value: object, place: str) -> "Reply":
        """Read a reply: a text, or content, ``json`` (content as JSON), tool calls; raises `ScriptError`."""
        fields = Fields({"content": value} if isinstance(value, str) else value, place)
        content, data, calls = (
            fields.take("content", str),
            fields.take_any("json"),
            fields.take("tool_calls", list),
        )
        if data is not None:
            content = json.dumps(data, ensure_ascii=False)
        reply = cls(
            content=content,
            tool_calls=tuple(
                ToolCall.parse(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(calls or [])
            ),
            finish_reason=fields.take("finish_reason", str),
        )
        fields.end()
        return reply


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with requests that ``match``, at most ``times`` times.

    Without ``reply`` the provider answers as it would without a script. ``usage`` overrides counted figures
    by name; ``usage=False`` never reports any. ``chunks`` cuts the content of a stream into that many
    pieces; without it each token is one. Times are milliseconds: ``latency_ms`` before the first byte,
    ``chunk_delay_ms`` before each piece.
    """

    match: Match = field(default_factory=Match)
    reply: Reply | None = None
    usage: Mapping[str, Any] | bool = True
    latency_ms: int = 0
    chunk_delay_ms: int = 0
    chunks: int | None = None
    fault: Fault | None = None
    times: int | None = None
    name: str = ""

    @classmethod
    def parse(cls, value: object, place: str) -> "Rule":
        """Read a rule; raises `ScriptError`."""
        fields = Fields(value, place)
        match, reply = fields.take_any("match"), fields.take_any("reply")
        fault, usage = fields.take_any("fault"), fields.take_any("usage")
        if not isinstance(usage, dict | bool | None):
            raise ScriptError(f"{place}.usage: expected a mapping, or false to report none, got {usage!r}")
        rule = cls(
            match=Match() if match is None else Match.parse(match, f"{place}.match"),
            reply=None if reply is None else Reply.parse(reply, f"{place}.reply"),
            usage=True if usage is None else usage,
            latency_ms=fields.take_count("latency_ms") or 0,
            chunk_delay_ms=fields.take_count("chunk_delay_ms") or 0,
            chunks=fields.take_count("chunks"),
            fault=None if fault is None else Fault.parse(fault, f"{place}.fault"),
            times=fields.take_count("times"),
            name=fields.take("name", str) or place,
        )
        fields.end()
        return rule


class Script:
    """Rules in order, and how often each was used."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        """Make a script of ``rules``; without any, every request gets the default answer."""
        self.rules = rules
        self.uses = [0] * len(rules)

    @classmethod
    def parse(cls, document: object) -> "Script":
        """Read a script: a list of rules, or a mapping with one under ``rules``; raises `ScriptError`."""
        if isinstance(document, Mapping):
            fields = Fields(document, "script")
            document = fields.take("rules", list)
            fields.end()
        if not isinstance(document, list):
            raise ScriptError("script: expected a list of rules, or a mapping with the list under `rules`")
        return cls(tuple(Rule.parse(item, f"rules[{number}]") for number, item in enumerate(document)))

    @classmethod
    def from_text(cls, text: str) -> "Script":
        """Read a script from YAML or JSON; raises `ScriptError`."""
        try:
            return cls.parse(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ScriptError(f"script: neither YAML nor JSON: {error}") from error

    def select(self, request: Request) -> Rule | None:
        """The first rule that accepts ``request`` and has uses left, one of which it takes; else ``None``."""
        for number, rule in enumerate(self.rules):
            if (rule.times is None or self.uses[number] < rule.times) and rule.match.accepts(request):
                self.uses[number] += 1
                return rule
        return None
