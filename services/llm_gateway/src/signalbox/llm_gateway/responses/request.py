"""A request to create a response, as a chat request and as what the response repeats of it."""

from typing import Any, Self

import orjson

from signalbox.common.record import record
from signalbox.llm_gateway.protocol import RequestBody
from signalbox.llm_gateway.responses.body import OPENAI_ONLY, ResponsesBody
from signalbox.llm_gateway.responses.items import chat_messages, input_items
from signalbox.llm_gateway.responses.tools import tool_fields
from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]

_PASSED = ("temperature", "top_p", "user", *OPENAI_ONLY)
_LOGPROBS = "message.output_text.logprobs"
_ELSEWHERE = {
    "conversation": "the gateway keeps no conversations; continue a response with previous_response_id",
    "prompt": "the gateway keeps no prompts; send instructions and input",
}
_REPEATED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, with the values where nothing was asked. Source: OpenAI API reference,
"The response object"."""


@record
class ResponsesRequest:
    """What a call to ``/v1/responses`` asks for."""

    model: str
    items: list[Json]
    """The request's own input, as it is kept."""
    previous_response_id: str | None
    stream: bool
    background: bool
    store: bool
    truncates: bool
    """Whether the oldest input may be left out when it is too long for the model."""
    shows_reasoning: bool
    repeated: Json
    """The members of the response that say what was asked."""
    _instructions: str | None
    _fields: Json

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a body. Members that the gateway does not know are left out.

        Raises:
            MalformedCall: it is no JSON object, or something in it cannot be served; the error names the place.
        """
        asked = RequestBody.parse(raw)
        body = Node(asked.fields)
        for name, sentence in _ELSEWHERE.items():
            if (found := body.optional(name)) is not None:
                raise found.wrong(sentence)
        items = input_items(body.member("input"))
        chat_messages(Node(items, "/input"))  # wrong content is said before anything is called
        fields = _chat_fields(body)
        background, store = _flag(body, "background"), _flag(body, "store", default=True)
        if background and not store:
            raise body.member("store").wrong("a background response must be stored; leave store out")
        previous, instructions = body.optional("previous_response_id"), body.optional("instructions")
        truncation, reasoning = body.optional("truncation"), body.optional("reasoning")
        summary = None if reasoning is None else reasoning.optional("summary")
        return cls(
            model=asked.model,
            items=items,
            previous_response_id=None if previous is None else previous.text(),
            stream=_flag(body, "stream"),
            background=background,
            store=store,
            truncates=truncation is not None and truncation.one_of("auto", "disabled") == "auto",
            shows_reasoning=summary is not None,
            repeated=_repeated(body) | {"model": asked.model, "background": background, "store": store},
            _instructions=None if instructions is None else instructions.text(),
            _fields=fields,
        )

    def chat(self, items: list[Json], *, stream: bool) -> ResponsesBody:
        """The chat request for the items of a conversation, which end with the request's own."""
        messages = chat_messages(Node(items, "/input"))
        if self._instructions is not None:
            messages.insert(0, {"role": "system", "content": self._instructions})
        fields = {"model": self.model, "messages": messages, **self._fields}
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return ResponsesBody(orjson.dumps(fields), fields, self.model)


def _flag(body: Node, name: str, *, default: bool = False) -> bool:
    found = body.optional(name)
    return default if found is None else found.truth()


def _repeated(body: Node) -> Json:
    given = body.mapping()
    repeated: Json = {
        name: default if given.get(name) is None else given[name] for name, default in _REPEATED.items()
    }
    for name in ("reasoning", "text"):
        if body.optional(name) is not None:
            repeated[name] = {**_REPEATED[name], **body.member(name).mapping()}
    repeated["tools"] = [{"strict": False, **tool} for tool in repeated["tools"]]
    metadata = body.optional("metadata")
    if metadata is not None:
        for name in metadata.mapping():
            metadata.member(name).text()
    return repeated


def _chat_fields(body: Node) -> Json:
    """What goes to the model beside the messages."""
    fields = tool_fields(body)
    for name in _PASSED:
        if (value := body.optional(name)) is not None:
            fields[name] = value.value
    cap = body.optional("max_output_tokens")
    if cap is not None:
        fields["max_tokens"] = cap.count()
    reasoning = body.optional("reasoning")
    effort = None if reasoning is None else reasoning.optional("effort")
    if effort is not None:
        fields["reasoning_effort"] = effort.text()
    return fields | _text_fields(body) | _logprob_fields(body)


def _text_fields(body: Node) -> Json:
    """``response_format`` and ``verbosity``, from ``text``."""
    text = body.optional("text")
    if text is None:
        return {}
    fields: Json = {}
    verbosity = text.optional("verbosity")
    if verbosity is not None:
        fields["verbosity"] = verbosity.text()
    form = text.optional("format")
    if form is None:
        return fields
    match form.kind():
        case "text":
            return fields
        case "json_object":
            return fields | {"response_format": {"type": "json_object"}}
        case "json_schema":
            form.member("name").text()
            form.member("schema").mapping()
            named = {name: value for name, value in form.mapping().items() if name != "type"}
            return fields | {"response_format": {"type": "json_schema", "json_schema": named}}
        case _:
            raise form.wrong("its type must be text, json_object or json_schema")


def _logprob_fields(body: Node) -> Json:
    include = body.optional("include")
    wanted = include is not None and any(item.text() == _LOGPROBS for item in include.items())
    top = body.optional("top_logprobs")
    if not wanted:
        return {}
    return {"logprobs": True} | ({} if top is None or top.value == 0 else {"top_logprobs": top.count()})
