"""The recorded model as a provider: a chat completion is answered with what the model said at that point.

The point is found from the request's messages alone, which must continue the recording word for word: whatever a
conversation's prompt lacks, doubles or misorders is a difference, noted with the conversation and answered with 400.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from replay.recordings import Recording, Step, Turn
from signalbox_fake_provider import DEFAULT_MODELS
from signalbox_fake_provider.app import ProviderState
from signalbox_fake_provider.faults import Fault, FaultKind
from signalbox_fake_provider.script import Reply, Request, Rule, Script, ToolCall
from signalbox_fake_provider.server import HOST, create_server, listen

MODEL = DEFAULT_MODELS[0]
THE_END = "(The recording ends here.)"
"""Said where the recording stops at results of tools, with nothing for the user."""


class Differs(Exception):
    """A request does not continue the recording."""


@dataclass
class Heard:
    """What the model was shown of one conversation."""

    recording: Recording
    results: dict[int, Any] = field(default_factory=dict)
    """By the place of the call: the result as the model was told it, parsed."""
    differences: list[str] = field(default_factory=list)


class RecordedModel(Script):
    """Answers by recordings. Of those played at the same time, no two begin with the same message."""

    def __init__(self) -> None:
        super().__init__()
        self._playing: dict[str, Heard] = {}
        self._lock = threading.Lock()

    def begin(self, recording: Recording) -> Heard:
        """Answer by this recording from now on."""
        heard = Heard(recording)
        with self._lock:
            assert recording.turns[0].user not in self._playing, "two conversations cannot be told apart"
            self._playing[recording.turns[0].user] = heard
        return heard

    def end(self, recording: Recording) -> None:
        """Forget a recording."""
        with self._lock:
            del self._playing[recording.turns[0].user]

    def select(self, request: Request) -> Rule:
        """See `Script.select`: the recorded answer, or 400."""
        messages = list(request.body.get("messages") or [])
        opening = next((message["content"] for message in messages if message["role"] == "user"), "")
        with self._lock:
            heard = self._playing.get(opening)
        if heard is None:
            return _refused("no conversation that is being played begins like this")
        try:
            step = answer_to(heard, messages)
        except Differs as difference:
            heard.differences.append(str(difference))
            return _refused(str(difference))
        calls = tuple(ToolCall(call.tool, json.dumps(call.arguments), call.id) for call in step.calls)
        return Rule(reply=Reply(step.text or None, calls), usage=step.usage or True, chunks=8)


def answer_to(heard: Heard, messages: list[Mapping[str, Any]]) -> Step:
    """What the model said after these messages; the results of tools among them are kept.

    Raises:
        Differs: they are not those of the recording.
    """
    recording = heard.recording
    said = [message for message in messages if message["role"] != "system"]
    places = [index for index, message in enumerate(said) if message["role"] == "user"]
    turns = recording.turns[: len(places)]
    if len(turns) != len(places):
        raise Differs(
            f"{len(places)} messages of the user, of which the recording has {len(recording.turns)}"
        )
    earlier = [text for turn in turns[:-1] for text in (turn.user, _reply(recording, turn))]
    before = said[: places[-1]]
    _check_remembered(turns[:-1], before)
    shown = [
        message.get("content") or ""
        for message in before
        if message["role"] != "tool" and not message.get("tool_calls")
    ]
    if shown != earlier or said[places[-1]]["content"] != turns[-1].user:
        raise Differs(f"turn {len(turns)}: the conversation so far is not the recorded one")
    return _next_step(heard, turns[-1], said[places[-1] + 1 :], f"turn {len(turns)}")


def _check_remembered(turns: Sequence[Turn], before: list[Mapping[str, Any]]) -> None:
    """Earlier calls that are shown again are the recorded ones, each with its result; old ones may be left out.

    Raises:
        Differs: a call is none of the recording, or has no result right behind it.
    """
    recorded = [(call.tool, call.arguments) for turn in turns for step in turn.steps for call in step.calls]
    waiting: list[str] = []
    for message in before:
        if message["role"] == "tool":
            if not waiting or message.get("tool_call_id") != waiting.pop(0):
                raise Differs("an earlier result stands behind no call")
            continue
        if waiting:
            raise Differs("an earlier call has no result")
        for call in message.get("tool_calls") or []:
            made = (call["function"]["name"], json.loads(call["function"]["arguments"]))
            if made not in recorded:
                raise Differs("an earlier call is none of the recording")
            del recorded[: recorded.index(made) + 1]
            waiting.append(call["id"])


def _next_step(heard: Heard, turn: Turn, done: list[Mapping[str, Any]], place: str) -> Step:
    """The answer after the steps of a turn that are done: each an answer with calls, and their results in order."""
    rest = list(done)
    for step in turn.steps:
        if not rest:
            return step
        answer = rest.pop(0)
        asked = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in answer.get("tool_calls") or []
        ]
        if asked != [(call.id, call.tool, call.arguments) for call in step.calls]:
            raise Differs(f"{place}: the calls are not the model's")
        results, rest = rest[: len(asked)], rest[len(asked) :]
        if [result.get("tool_call_id") for result in results] != [call.id for call in step.calls]:
            raise Differs(f"{place}: a call has no result, or in another order")
        for call, result in zip(step.calls, results, strict=True):
            heard.results[call.place] = json.loads(result["content"])
    if rest:
        raise Differs(f"{place}: more was said than recorded")
    return Step(THE_END)


def _reply(recording: Recording, turn: Turn) -> str:
    """What the user was told in a turn, the greeting in the first."""
    return reply_of(recording, turn, greeted=turn is not recording.turns[0])


def reply_of(recording: Recording, turn: Turn, *, greeted: bool) -> str:
    """What Signalbox must answer to a turn's message."""
    text = turn.steps[-1].text.strip() if turn.is_whole else THE_END
    return text if greeted or not recording.greeting else f"{recording.greeting}\n\n{text}"


def _refused(reason: str) -> Rule:
    return Rule(fault=Fault(FaultKind.STATUS, status=400, message=reason))


class RecordedProvider:
    """The model on a free loopback port; a context manager."""

    def __init__(self, model: RecordedModel) -> None:
        self._listener = listen(0)
        self._server = create_server(ProviderState(model))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="model", daemon=True
        )

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client, ending in ``/v1``."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
