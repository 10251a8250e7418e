"""The body of a model call: what the gateway must know of it, and the bytes that go on."""

import re
from typing import Any, Literal, Self

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.errors import MalformedCall
from signalbox.llm_gateway.protocol.duplicates import repeated_member
from signalbox.llm_gateway.protocol.spans import append_member, replace_members, replace_text
from signalbox.llm_gateway.protocol.tokens import MAX_TOKENS

Extension = Literal["cache_control", "cache_marks", "max_tokens", "thinking", "top_k"]
Extensions = frozenset[Extension]
COMMON_EXTENSIONS: Extensions = frozenset({"max_tokens"})
"""What providers that speak OpenAI's protocol know beside what OpenAI's own API takes for every model."""

_CAPS = ("max_completion_tokens", "max_tokens")
_MAX_CHOICES = 128
"""Of ``n``. Source: OpenAI API reference, "Create chat completion"."""

_COUNTED = ((_CAPS[0], MAX_TOKENS), (_CAPS[1], MAX_TOKENS), ("n", _MAX_CHOICES))
_MODEL_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@record
class RequestBody:
    """A chat or embeddings request as it came: ``raw`` bytes, and ``fields`` read from them, never changed."""

    raw: bytes
    fields: dict[str, Any]
    model: str

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a body.

        Raises:
            MalformedCall: it is no JSON object, names no model, or has a member twice that we act on.
        """
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise MalformedCall(f"The body is not JSON: {error}.") from error
        if not isinstance(fields, dict):
            raise MalformedCall("The body must be a JSON object.")
        model = fields.get("model")
        if not isinstance(model, str) or not _MODEL_NAME.fullmatch(model):
            raise MalformedCall(
                "Name a model of at most 200 characters; GET /llm/v1/models lists them.", pointer="/model"
            )
        repeated = repeated_member(raw, fields)
        if repeated is not None:
            raise MalformedCall(f"'{repeated}' is there twice; send it once.", pointer=f"/{repeated}")
        return cls(raw, fields, model)

    def check_chat(self) -> Self:
        """The body itself, when it is a chat request.

        Raises:
            MalformedCall: it has no messages, ``stream`` is no boolean, or a cap or ``n`` is no count in its bounds:
                what is reserved for a call is reckoned from these, so none goes on that was not understood.
        """
        messages = self.fields.get("messages")
        if not isinstance(messages, list) or not {dict}.issuperset(map(type, messages)):
            raise MalformedCall("'messages' must be a list of objects.", pointer="/messages")
        stream = self.fields.get("stream")
        if stream is not None and stream.__class__ is not bool:
            raise MalformedCall("'stream' must be true or false.", pointer="/stream")
        for name, most in _COUNTED:
            if name in self.fields:
                self._check_count(name, most)
        return self

    def _check_count(self, name: str, most: int) -> None:
        value = self.fields.get(name)
        if value is not None and not 1 <= _count(value) <= most:
            raise MalformedCall(f"'{name}' must be a whole number from 1 to {most}.", pointer=f"/{name}")

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.fields.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        """Whether the caller asked for the usage at the end of a stream."""
        options = self.fields.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def output_cap(self) -> int | None:
        """The tokens that the answer may have, where the request says so.

        Of two caps the larger one: both go on, and which of them a provider heeds is not known.
        """
        first, second = self.fields.get(_CAPS[0]), self.fields.get(_CAPS[1])
        if first is None:
            return _count(second) or None
        return max(_count(first), _count(second)) or None

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The functions that the model may call; none when the request forbids calling them."""
        tools = self.fields.get("tools")
        if not isinstance(tools, list) or self.fields.get("tool_choice") == "none":
            return []
        return [tool for tool in tools if isinstance(tool, dict) and isinstance(tool.get("function"), dict)]

    @property
    def json_format(self) -> dict[str, Any] | None:
        """``response_format``, when it asks for JSON."""
        wanted = self.fields.get("response_format")
        if isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}:
            return wanted
        return None

    def for_upstream(
        self,
        model: str,
        *,
        ask_usage: bool,
        extensions: Extensions = COMMON_EXTENSIONS,
        output_cap: int | None = None,
    ) -> bytes:
        """The bytes for a provider that knows the model as ``model``.

        ``ask_usage`` makes a streamed answer end with its usage, whether or not the caller asked for it.
        ``extensions`` is what the provider takes beyond OpenAI's own API. It changes nothing that the caller wrote,
        who may send a provider what it likes; bodies that the gateway writes itself obey it.
        ``output_cap`` is sent where the request has no cap of its own.
        """
        edits: dict[str, bytes] = {}
        if model != self.model:
            edits["model"] = orjson.dumps(model)
        added: dict[str, bytes] = {}
        if output_cap is not None and self.output_cap is None:
            name = cap_name(extensions)
            (edits if name in self.fields else added)[name] = b"%d" % output_cap
        if ask_usage and self.stream and not self.wants_usage:
            options = self.fields.get("stream_options")
            asked = {**(options if isinstance(options, dict) else {}), "include_usage": True}
            if "stream_options" in self.fields:
                edits["stream_options"] = orjson.dumps(asked)
            else:
                added["stream_options"] = b'{"include_usage":true}'
        body = self.raw
        if edits.keys() == {"model"}:
            body = replace_text(body, "model", self.model, edits["model"])
        elif edits:
            body = replace_members(body, edits)
        for name, value in added.items():
            body = append_member(body, name, value)
        return body


def _count(value: Any) -> int:
    """A whole number of at least one; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def cap_name(extensions: Extensions) -> str:
    """How a provider calls the cap of the output.

    OpenAI itself takes ``max_completion_tokens`` for every model, ``max_tokens`` not for those that reason; the other
    way round elsewhere.
    """
    return "max_tokens" if "max_tokens" in extensions else "max_completion_tokens"
