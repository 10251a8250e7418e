"""What came back against what was expected."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from signalbox.common.dialogues.script import DialogueTurn, ExpectedCall
from signalbox.common.record import record

_SHOWN = 2_000


@record
class Answer:
    """What came back for one turn."""

    reply: Mapping[str, Any] | None = None
    """The reply as the query API gives it; none where the message was refused, and after a silence."""
    said: str = ""
    """What the assistant said, the greeting left out."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[Mapping[str, Any], ...] = ()
    """Tool, arguments, whether it went well and its output, in order."""
    flow: Mapping[str, Any] | None = None
    """The state of the open flow, where it was asked for."""
    refused: str | None = None
    detail: str = ""


@record
class Difference:
    """One thing that is not as expected."""

    what: str
    expected: Any
    found: Any

    def lines(self) -> list[str]:
        """For people; two texts are compared line by line."""
        if (
            not isinstance(self.expected, str)
            or not isinstance(self.found, str)
            or "\n" not in self.found + self.expected
        ):
            return [
                f"{self.what}: expected {_short(self.expected)}",
                f"{' ' * len(self.what)}  got      {_short(self.found)}",
            ]
        compared = difflib.ndiff(self.expected.splitlines(), self.found.splitlines())
        return [
            f"{self.what}: expected (-) and got (+)",
            *(f"  {line}" for line in compared if line[0] != "?"),
        ]


def differences(turn: DialogueTurn, answer: Answer, language: str | None) -> list[Difference]:
    """Everything that is not as a turn says; ``language`` is what replies are expected in."""
    if answer.refused is not None or turn.refused is not None:
        if answer.refused == turn.refused:
            return []
        got = answer.refused or f"an answer: {answer.said}"
        return [Difference("refused", turn.refused, f"{got} {answer.detail}".strip())]
    return [
        *_about_the_reply(turn, answer, language),
        *_about_the_work(turn, answer),
        *_about_words(turn, answer.said, (answer.reply or {}).get("greeting") or ""),
    ]


def _about_the_reply(turn: DialogueTurn, answer: Answer, language: str | None) -> Iterator[Difference]:
    reply = answer.reply
    if reply is None:
        return
    decision = reply.get("decision") or {}
    status = turn.status or "success"
    if reply["status"] != status:
        reason = f" ({reply['reason']})" if reply.get("reason") else ""
        yield Difference("status", status, f"{reply['status']}{reason}; it said {answer.said!r}")
    for name, expected in (("intent", turn.intent), ("stage", turn.stage)):
        if expected is not None and decision.get(name) != expected:
            yield Difference(name, expected, decision.get(name))
    if turn.reason is not None and reply.get("reason") != turn.reason:
        yield Difference("reason", turn.reason, reply.get("reason"))
    wanted = turn.reply_language or language
    if wanted is not None and reply.get("language") != wanted:
        yield Difference("reply_language", wanted, reply.get("language"))
    if (
        turn.choices is not None
        and (offered := [choice["label"] for choice in choices(reply)]) != turn.choices
    ):
        yield Difference("choices", turn.choices, offered)

    yield from _about_parts(turn, reply.get("parts") or [])


def _about_parts(turn: DialogueTurn, parts: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    cited = [part["title"] for part in parts if part["type"] == "citation"]
    if turn.citations is not None and cited != turn.citations:
        yield Difference("citations", turn.citations, cited)
    if turn.parts is None:
        return
    others = [part for part in parts if part["type"] not in {"choices", "citation"}]
    if len(others) != len(turn.parts):
        yield Difference("parts", turn.parts, others)
        return
    for number, (expected, found) in enumerate(zip(turn.parts, others, strict=True), 1):
        yield from _members(f"part {number}", expected, found)


def _about_the_work(turn: DialogueTurn, answer: Answer) -> Iterator[Difference]:
    if turn.parameters is not None:
        yield from _members("parameters", turn.parameters, answer.parameters)
    flow = answer.flow or {}
    if turn.flow is not None and (flow.get("flow") or "") != turn.flow:
        yield Difference("flow", turn.flow or "none", flow.get("flow") or "none")
    if turn.slots is not None:
        yield from _members("slots", turn.slots, flow.get("slots") or {})
    if turn.calls is not None:
        yield from _calls(turn.calls, answer.calls)


def _about_words(turn: DialogueTurn, said: str, greeting: str) -> Iterator[Difference]:
    if turn.greeting is not None and turn.greeting != greeting:
        yield Difference("greeting", turn.greeting, greeting)
    if turn.reply is not None and said != turn.reply:
        yield Difference("reply", turn.reply, said)
    for text in turn.reply_contains:
        if text not in greeting + said:
            yield Difference("reply_contains", text, said)
    for text in turn.reply_lacks:
        if text in said:
            yield Difference("reply_lacks", text, said)
    if turn.reply_matches is not None and re.search(turn.reply_matches, said, re.DOTALL) is None:
        yield Difference("reply_matches", turn.reply_matches, said)


def choices(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The choices that a reply offers."""
    return [choice for part in reply.get("parts") or [] for choice in part.get("choices") or []]


def _calls(expected: list[ExpectedCall], made: tuple[Mapping[str, Any], ...]) -> Iterator[Difference]:
    wanted, got = [call.tool for call in expected], [call["tool"] for call in made]
    if wanted != got:
        yield Difference("calls", wanted, got)
        return
    for number, (call, found) in enumerate(zip(expected, made, strict=True), 1):
        yield from _members(f"call {number} ({call.tool})", call.arguments, found["arguments"])
        if call.result is not None:
            output = found.get("output")
            yield from _members(
                f"call {number} ({call.tool}) result", call.result, output if isinstance(output, dict) else {}
            )
        if found["ok"] != call.ok:
            yield Difference(f"call {number} ({call.tool}) ok", call.ok, found["ok"])


def _members(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in expected.items():
        got = found.get(name)
        if got != value or type(got) is not type(value):
            yield Difference(f"{what}.{name}", value, got)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
