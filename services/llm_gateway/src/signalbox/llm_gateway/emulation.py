"""Tools and JSON answers for models that have neither: prompted, checked, and repaired once.

The request is written anew without the fields that the model does not know; what they would have done is said
in a system message; the model's text is read back into the message that the fields would have brought.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from signalbox.common.arguments import BadJsonSchema, check, compile_schema
from signalbox.common.ids import new_id
from signalbox.llm_gateway.errors import MalformedCall, ProviderRefused
from signalbox.llm_gateway.protocol import RequestBody

Json = dict[str, Any]

_MAX_NAMED = 5
"""Errors that the model is told of, of all in its answer."""

_REPLACED = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "stream", "stream_options")
_NOT = r"(?:not|n't) (?:currently )?(?:supported|available|allowed|enabled)|unsupported|unavailable"
_TOOL_WORDS = r"tools?|functions?|tool[ _](?:use|calls?|calling|choice)|function[ _]call(?:s|ing)?"
_JSON_WORDS = r"response_format|response format|json[ _](?:schema|object|mode|output)|structured outputs?"
_LACKS = {
    name: re.compile(
        rf"(?:not|n't) support (?:the |any )?['\"`]?(?:{words})\b|\b(?:{words})\b['\"`]?[^.;\[]{{0,60}}?(?:{_NOT})"
        rf"|(?:{_NOT})[^.;\[]{{0,30}}?\b(?:{words})\b['\"`]?(?!\[)|no endpoints found that support (?:{words})\b",
        re.IGNORECASE,
    )
    for name, words in (("tools", _TOOL_WORDS), ("json_mode", _JSON_WORDS))
}
"""Sentences that say that a model lacks something, not that one member of it is wrong (``tools[0].x``)."""

_TOOLS_PROMPT = """\
You can call these tools; their parameters are JSON schemas:
{tools}

To call tools, answer with nothing but this JSON object:
{{"tool_calls": [{{"name": "<tool>", "arguments": {{...}}}}]}}
{choice}"""
_MAY_CALL = "When you need no tool, answer the user as usual, without JSON."
_MUST_CALL = "You must call {what} now."
_MAY_CALL_JSON = 'When you need no tool, answer with {{"answer": <your answer>}}; <your answer> is {what}.'
_JSON_PROMPT = "Answer with nothing but {what}; no words before or after it, no code fence."


class WrongAnswer(Exception):
    """The model's text is not what was asked for; the message tells the model what is wrong."""


def lacking(body: RequestBody, *, tools: bool | None, json_mode: bool | None) -> frozenset[str]:
    """What a request asks for that the model is known not to have: ``tools``, ``json_mode``."""
    found = set()
    if body.tools and tools is False:
        found.add("tools")
    if body.json_format and json_mode is False:
        found.add("json_mode")
    return frozenset(found)


def lack_named_by(error: ProviderRefused, body: RequestBody) -> str | None:
    """What a provider's refusal says its model lacks, among what the request asks for."""
    if error.provider_status not in {400, 404, 422, 501}:
        return None
    if body.tools and _LACKS["tools"].search(error.detail):
        return "tools"
    if body.json_format and _LACKS["json_mode"].search(error.detail):
        return "json_mode"
    return None


class PromptedCall:
    """One call to a model that lacks ``lacks``."""

    def __init__(self, body: RequestBody, lacks: frozenset[str], *, has_json_mode: bool) -> None:
        self._tools = {
            str(tool["function"].get("name")): tool["function"] for tool in body.tools if "tools" in lacks
        }
        self._format = body.json_format
        self._prompts_json = "json_mode" in lacks or bool(self._tools and self._format)
        self._choice = body.fields.get("tool_choice")
        self._fields = {name: value for name, value in body.fields.items() if name not in _REPLACED}
        if "tools" not in lacks and body.fields.get("tools"):
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                if name in body.fields:
                    self._fields[name] = body.fields[name]
        if has_json_mode and self._must_be_json():
            self._fields["response_format"] = {"type": "json_object"}
        self._fields["messages"] = self._messages(body.fields["messages"])

    def request(self, model: str, failed: tuple[str, str] | None = None) -> bytes:
        """The body to send; ``failed`` is an earlier answer and what was wrong with it."""
        messages = self._fields["messages"]
        if failed is not None:
            answer, reason = failed
            messages = [
                *messages,
                {"role": "assistant", "content": answer},
                {
                    "role": "user",
                    "content": f"That cannot be used: {reason} Answer again, in the form asked for.",
                },
            ]
        return orjson.dumps({**self._fields, "model": model, "messages": messages})

    def read(self, message: Mapping[str, Any]) -> Json:
        """The assistant message that the model's own one stands for.

        Raises:
            WrongAnswer: it stands for none.
        """
        if message.get("tool_calls"):
            return dict(message)
        text = message.get("content")
        text = text if isinstance(text, str) else ""
        found = _json_in(text)
        if self._tools:
            if isinstance(found, dict) and "tool_calls" in found:
                return {"role": "assistant", "content": None, "tool_calls": self._calls(found["tool_calls"])}
            if self._needs_call() or '"tool_calls"' in text:
                raise WrongAnswer('there is no JSON object with "tool_calls" in it.')
            if isinstance(found, dict) and set(found) == {"answer"}:
                found, text = found["answer"], _text(found["answer"])
        if self._prompts_json:
            if found is None:
                raise WrongAnswer("there is no JSON in it.")
            _check(found, self._schema(), "the answer")
            return {"role": "assistant", "content": _text(found)}
        return {"role": "assistant", "content": text}

    def _needs_call(self) -> bool:
        return self._choice == "required" or isinstance(self._choice, dict)

    def _must_be_json(self) -> bool:
        return self._prompts_json or (bool(self._tools) and self._needs_call())

    def _schema(self) -> Any:
        described = (self._format or {}).get("json_schema")
        return described.get("schema") if isinstance(described, dict) else None

    def _calls(self, calls: Any) -> list[Json]:
        if not isinstance(calls, list) or not calls:
            raise WrongAnswer('"tool_calls" must be a list with at least one call.')
        read = []
        for call in calls:
            name = call.get("name") if isinstance(call, dict) else None
            if name not in self._tools:
                raise WrongAnswer(f"there is no tool {name!r}; there are: {', '.join(self._tools)}.")
            arguments = call.get("arguments", {})
            _check(arguments, self._tools[name].get("parameters"), f"the arguments of {name}")
            function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
            read.append({"id": new_id("call"), "type": "function", "function": function})
        return read

    def _messages(self, messages: Sequence[Json]) -> list[Json]:
        """The chat with what the model lacks said in words, after the caller's own system messages."""
        said = [_plain(message) for message in messages] if self._tools else list(messages)
        at = next(
            (index for index, one in enumerate(said) if one.get("role") not in {"system", "developer"}), 0
        )
        return [*said[:at], {"role": "system", "content": self._prompt()}, *said[at:]]

    def _prompt(self) -> str:
        what = "one JSON object"
        if (schema := self._schema()) is not None:
            what = f"JSON of this JSON schema: {orjson.dumps(schema).decode()}"
        if not self._tools:
            return _JSON_PROMPT.format(what=what)
        if self._needs_call():
            named = self._choice.get("function", {}).get("name") if isinstance(self._choice, dict) else None
            choice = _MUST_CALL.format(what=f"the tool {named}" if named else "a tool")
        else:
            choice = _MAY_CALL_JSON.format(what=what) if self._prompts_json else _MAY_CALL
        tools = "\n".join(f"- {orjson.dumps(function).decode()}" for function in self._tools.values())
        return _TOOLS_PROMPT.format(tools=tools, choice=choice)


def _plain(message: Json) -> Json:
    """A message about tools in words that a model without tools can read."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"Result of the tool call: {_text(message.get('content'))}"}
    calls = message.get("tool_calls")
    if not calls:
        return message
    made = [
        {
            "name": call["function"].get("name"),
            "arguments": _json_in(call["function"].get("arguments") or "{}"),
        }
        for call in calls
        if isinstance(call, dict) and isinstance(call.get("function"), dict)
    ]
    return {"role": "assistant", "content": orjson.dumps({"tool_calls": made}).decode()}


def _json_in(text: str) -> Any:
    """The first JSON object or array in a text, which may be wrapped in words or a code fence; None for none."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            value, _ = decoder.raw_decode(text, match.start())
        except ValueError:
            continue
        return value
    return None


def _check(value: Any, schema: Any, what: str) -> None:
    if not isinstance(schema, dict):
        return
    try:
        validator = compile_schema(schema)
    except BadJsonSchema as error:
        raise MalformedCall(f"The schema of {what} cannot be used: {error.detail}") from error
    wrong = [f"{error.pointer or 'the whole'}: {error.detail}" for error in check(validator, value)]
    if wrong:
        raise WrongAnswer(f"{what} does not fit its schema ({'; '.join(wrong[:_MAX_NAMED])}).")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
