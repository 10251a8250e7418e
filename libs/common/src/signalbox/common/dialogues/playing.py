"""Plays dialogues against a running Signalbox, several at a time; each has its own session."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import TYPE_CHECKING, Any

import orjson

from signalbox.common.dialogues.checking import Answer, Difference, choices, differences
from signalbox.common.dialogues.script import Dialogue, DialogueTurn, Repeated
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import new_id
from signalbox.common.record import record

if TYPE_CHECKING:
    from signalbox.common.cli.http import Client

_LOOK_AGAIN_S = 0.2


@record
class Played:
    """One turn as it went."""

    number: int
    turn: DialogueTurn
    answer: Answer
    differences: list[Difference]


@record
class Outcome:
    """A dialogue that was played, up to its first turn that went wrong."""

    dialogue: Dialogue
    seconds: float
    turns: list[Played] = field(default_factory=list)
    broken: str | None = None
    """Why it could not be played: nobody answers, or what stands in the dialogue cannot be done."""

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return self.broken is None and not any(played.differences for played in self.turns)


def play_all(
    client: "Client", dialogues: Sequence[Dialogue], *, workflow: str | None = None, parallel: int = 4
) -> Iterator[Outcome]:
    """Play dialogues, ``parallel`` at a time; the outcomes come in the order of the dialogues."""
    with ThreadPoolExecutor(max_workers=max(parallel, 1)) as pool:
        yield from pool.map(lambda dialogue: _Play(client, dialogue, workflow).run(), dialogues)


class _Play:
    """One dialogue while it is played."""

    def __init__(self, client: "Client", dialogue: Dialogue, workflow: str | None) -> None:
        self._client = client
        self._dialogue = dialogue
        self._workflow = dialogue.workflow or workflow
        self._session = new_id("test")
        self._language: str | None = None
        self._last: Mapping[str, Any] | None = None
        self._seen = 0
        self._own: set[str] = set()

    def run(self) -> Outcome:
        started = time.monotonic()
        turns: list[Played] = []
        broken = None
        try:
            for number, turn in enumerate(self._dialogue.turns, 1):
                answer = self._act(turn)
                found = differences(turn, answer, self._dialogue.language)
                turns.append(Played(number, turn, answer, found))
                if found:
                    break
        except SignalboxError as error:
            broken = f"turn {len(turns) + 1}: {error.detail}"
        return Outcome(self._dialogue, time.monotonic() - started, turns, broken)

    def _act(self, turn: DialogueTurn) -> Answer:
        if turn.new_session:
            self._session, self._last, self._seen = new_id("test"), None, 0
        if turn.language is not None:
            self._language = turn.language
        if turn.silence is not None:
            return self._wait(turn.silence)
        message = turn.user.text if isinstance(turn.user, Repeated) else turn.user
        answer = self._say(self._chosen(turn.choose) if message is None else message, turn.skill)
        if turn.slots is not None or turn.flow is not None:
            return Answer(answer.reply, answer.said, answer.parameters, answer.calls, self._open_flow(),
                          answer.refused, answer.detail)  # fmt: skip
        return answer

    def _chosen(self, wanted: str | None) -> str:
        offered = choices(self._last or {})
        for choice in offered:
            if wanted in (choice["label"], choice["value"]):
                return str(choice["value"])
        named = ", ".join(repr(choice["label"]) for choice in offered) or "none"
        raise SignalboxError(f"The last reply offers no choice {wanted!r}; it offers {named}.")

    def _say(self, message: str, skill: str | None) -> Answer:
        """Post a message and read its events. A problem is an answer too: the message was refused."""
        from signalbox.common.cli.http import Refused, raise_for_problem, reaching  # noqa: PLC0415 - httpx

        body: dict[str, Any] = {"session_id": self._session, "message": message}
        if self._workflow is not None:
            body["workflow_id"] = self._workflow
        if self._dialogue.metadata:
            body["metadata"] = self._dialogue.metadata
        if self._dialogue.timezone is not None:
            body["timezone"] = self._dialogue.timezone
        if skill is not None:
            body["skill"] = skill
        if self._language is not None:
            body["language"] = self._language
        try:
            with (
                reaching(self._client),
                self._client.stream("POST", "/api/v1/query/stream", json=body) as response,
            ):
                raise_for_problem(response)
                events = [
                    orjson.loads(line[5:]) for line in response.iter_lines() if line.startswith("data:")
                ]
        except Refused as error:
            return Answer(refused=error.problem_code, detail=error.detail)
        return self._answer(events)

    def _answer(self, events: list[dict[str, Any]]) -> Answer:
        last: dict[str, Any] = events[-1] if events else {"type": "none", "data": {}}
        if last["type"] != "complete":
            return Answer(
                refused=str(last["data"].get("code", "no_answer")), detail=str(last["data"].get("detail", ""))
            )
        reply: dict[str, Any] = last["data"]
        self._last = reply
        self._own.add(reply["turn_id"])
        parameters: dict[str, Any] = {}
        for event in events:
            if event["type"] == "intent":
                parameters |= event["data"].get("parameters") or {}
        ended = {
            event["data"]["call_id"]: {"ok": event["data"]["ok"], "output": event["data"].get("output")}
            for event in events
            if event["type"] == "tool_result"
        }
        calls = tuple(
            {**event["data"], **ended.get(event["data"]["call_id"], {"ok": False, "output": None})}
            for event in events
            if event["type"] == "tool_call"
        )
        greeting = reply.get("greeting") or ""
        return Answer(reply, reply["message"].removeprefix(greeting).lstrip("\n"), parameters, calls)

    def _open_flow(self) -> Mapping[str, Any] | None:
        from signalbox.common.cli.http import call  # noqa: PLC0415 - httpx

        exported = call(self._client, "GET", f"/api/v1/session/{self._session}/export")
        flow: Mapping[str, Any] | None = exported["session"]["state"].get("flow")
        return flow

    def _wait(self, seconds: float) -> Answer:
        """Wait for what the assistant says by itself."""
        from signalbox.common.cli.http import call  # noqa: PLC0415 - httpx

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            view = call(self._client, "GET", f"/api/v1/session/{self._session}?after={self._seen}")
            for message in view["messages"]:
                self._seen = message["seq"]
                if message["role"] == "assistant" and message["turn_id"] not in self._own:
                    return Answer(said=message["text"])
            time.sleep(_LOOK_AGAIN_S)
        raise SignalboxError(f"The assistant said nothing by itself within {seconds:g} s.")
