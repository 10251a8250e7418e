"""The events of one response, from the chunks of a chat stream, and the response that they make."""

from collections.abc import Iterator
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.protocol import error_body
from signalbox.llm_gateway.responses.output import REFUSAL, SUMMARY, TEXT, Output
from signalbox.llm_gateway.responses.request import ResponsesRequest
from signalbox.llm_gateway.responses.resource import ended, failed, usage_of

Json = dict[str, Any]

TERMINAL = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"}
)


class ResponseEvents:
    """Makes events, without numbers, of chunks; ``response`` is what they have made so far.

    ``prompt`` are the fields of the chat request, for an estimate of its tokens where the provider counts none.
    """

    def __init__(self, response: Json, request: ResponsesRequest, prompt: Json) -> None:
        self.response = response
        self._shows_reasoning = request.shows_reasoning
        self._prompt = prompt
        self._output = Output()
        self._finish: Any = None
        self._usage: Any = None

    def chunk(self, chunk: Json) -> Iterator[Json]:
        """The events of a chunk; a whole completion is one whose ``message`` is its ``delta``."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                yield from self._delta(choice.get("delta") or choice.get("message") or {}, _logprobs(choice))
                self._finish = choice.get("finish_reason") or self._finish

    def end(self) -> Iterator[Json]:
        """The end of a chat stream that ended as it should, up to the response's own last event."""
        final = ended(self.response, self._finish)
        yield from self._output.end(cut=final["status"] == "incomplete")
        usage = usage_of(self._usage, self._prompt, self._output.size)
        self.response = {**final, "output": self._output.items, "usage": usage}

    def fail(self, error: SignalboxError) -> None:
        """The response ended with an error; what was said stays in it."""
        for _ in self._output.end(cut=True):
            pass  # their ends are not told: the client learns of the error
        usage = None if self._usage is None else usage_of(self._usage, self._prompt, 0)
        self.response = {**failed(self.response, error), "output": self._output.items, "usage": usage}

    def _delta(self, delta: Json, logprobs: list[Json]) -> Iterator[Json]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if self._shows_reasoning and isinstance(thought, str) and thought:
            yield from self._output.say(SUMMARY, thought, [])
        for form, name in ((TEXT, "content"), (REFUSAL, "refusal")):
            text = delta.get(name)
            if isinstance(text, str) and text:
                yield from self._output.say(form, text, logprobs if form is TEXT else [])
        for position, call in enumerate(delta.get("tool_calls") or ()):
            # Some providers send whole calls without an index.
            yield from self._output.call(call.get("index", call.get("id", position)), call)


def opening_events(response: Json) -> Iterator[Json]:
    """How a response begins."""
    yield {"type": "response.created", "response": response}
    if response["status"] == "queued":
        yield {"type": "response.queued", "response": response}
    else:
        yield {"type": "response.in_progress", "response": response}


def last_events(response: Json, error: SignalboxError | None = None) -> Iterator[Json]:
    """How a response ends: by its status. One that failed is preceded by the error, as it is at OpenAI."""
    if response["status"] == "failed":
        yield error_event(error) if error is not None else _told(response["error"])
    yield {"type": f"response.{response['status']}", "response": response}


def error_event(error: SignalboxError) -> Json:
    """An event that tells of an error.

    OpenAI's reference has its members at the top, its server has them in ``error``, where its SDKs look.
    """
    return _told(orjson.loads(error_body(error)[1])["error"])


def _told(error: Json) -> Json:
    flat = {name: error.get(name) for name in ("code", "message", "param")}
    return {"type": "error", **flat, "error": error}


def written(event: Json, number: int) -> bytes:
    """An event as bytes of an event stream; ``number`` counts from 0 within a response."""
    return written_json(event["type"], orjson.dumps({**event, "sequence_number": number}))


def written_json(kind: str, data: bytes) -> bytes:
    """The same, of an event that is JSON already."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _logprobs(choice: Json) -> list[Json]:
    found = choice.get("logprobs")
    content = found.get("content") if isinstance(found, dict) else None
    return content if isinstance(content, list) else []
