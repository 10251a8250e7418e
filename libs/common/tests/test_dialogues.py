"""Dialogues as tests: what is compared, what is said of a difference, and what a file may hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import orjson
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from signalbox.common.cli.commands import build_cli
from signalbox.common.dialogues import (
    Dialogue,
    DialogueTurn,
    Outcome,
    as_junit,
    as_lines,
    play_all,
    read_dialogues,
)
from signalbox.common.errors import NotFound, ValidationFailed

TURN = {"user": "where is my order?"}


class Assistant:
    """An assistant that asks for a number, looks it up and says so; it speaks by itself when it is told to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.says_by_itself = ""
        self.refuses: dict[str, Any] | None = None
        self.client = httpx.Client(base_url="http://assistant", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return self._reply(orjson.loads(request.content))
        if request.url.path.endswith("/export"):
            state = {"flow": {"flow": "status", "step": 1, "slots": {"order": 1042, "day": None}}}
            return httpx.Response(200, json={"session": {"state": state}})
        messages = [
            {"seq": 1, "role": "user", "text": "hi", "turn_id": "t1"},
            {"seq": 2, "role": "assistant", "text": "Hello.", "turn_id": "t1"},
        ]
        if self.says_by_itself:
            messages.append({"seq": 3, "role": "assistant", "text": self.says_by_itself, "turn_id": "t9"})
        after = int(request.url.params.get("after", 0))
        return httpx.Response(200, json={"messages": [each for each in messages if each["seq"] > after]})

    def _reply(self, body: dict[str, Any]) -> httpx.Response:
        self.asked.append(body)
        if self.refuses is not None:
            return httpx.Response(self.refuses["status"], json=self.refuses)
        reply = {
            "session_id": body["session_id"],
            "message": "Hi!\n\nOrder 1042 is on its way.\nIt comes on Monday.",
            "greeting": "Hi!",
            "status": "success",
            "turn_id": "t1",
            "language": "en",
            "reason": None,
            "decision": {"stage": "rule", "intent": "status"},
            "parts": [
                {"type": "choices", "choices": [{"label": "Yes", "value": "yes"}]},
                {"type": "citation", "title": "Delivery", "url": None, "quote": "Monday"},
                {"type": "link", "url": "https://track.test/1042", "title": "Track it"},
            ],
        }
        events = [
            {"type": "intent", "data": {"parameters": {"order": 1042}}},
            {
                "type": "tool_call",
                "data": {"call_id": "c1", "tool": "get", "arguments": {"order": 1042, "deep": True}},
            },
            {
                "type": "tool_result",
                "data": {"call_id": "c1", "tool": "get", "ok": True, "output": {"status": "sent", "at": 3}},
            },
            {"type": "complete", "data": reply},
        ]
        lines = "".join(
            f"id: {number}\ndata: {orjson.dumps(event).decode()}\n\n"
            for number, event in enumerate(events, 1)
        )
        return httpx.Response(200, text=lines, headers={"content-type": "text/event-stream"})


def play(*turns: dict[str, Any], assistant: Assistant | None = None, **more: Any) -> Outcome:
    dialogue = Dialogue.model_validate(
        {
            "id": "it",
            "turns": [
                {**TURN, **turn} if "choose" not in turn and "silence" not in turn else turn for turn in turns
            ],
            **more,
        }
    )
    (outcome,) = play_all((assistant or Assistant()).client, [dialogue])
    return outcome


GOOD = {
    "intent": "status",
    "stage": "rule",
    "status": "success",
    "parameters": {"order": 1042},
    "flow": "status",
    "slots": {"order": 1042, "day": None},
    "calls": [{"tool": "get", "arguments": {"order": 1042}, "result": {"status": "sent"}}],
    "greeting": "Hi!",
    "reply": "Order 1042 is on its way.\nIt comes on Monday.",
    "reply_contains": ["on its way", "Hi!"],
    "reply_lacks": "1043",
    "reply_matches": r"^Order \d+ is.*Monday\.$",
    "choices": ["Yes"],
    "citations": ["Delivery"],
    "parts": [{"type": "link", "title": "Track it"}],
    "reply_language": "en",
}


def test_all_that_is_as_expected_passes() -> None:
    assert play(GOOD).passed


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("intent", "other"),
        ("stage", "llm"),
        ("status", "waiting"),
        ("parameters", {"order": "1042"}),
        ("flow", ""),
        ("slots", {"order": 1043}),
        ("calls", []),
        ("calls", [{"tool": "put"}]),
        ("calls", [{"tool": "get", "arguments": {"order": 1}}]),
        ("calls", [{"tool": "get", "arguments": {"deep": 1}}]),
        ("calls", [{"tool": "get", "ok": False}]),
        ("calls", [{"tool": "get", "result": {"status": "lost"}}]),
        ("calls", [{"tool": "get", "result": {"day": "Monday"}}]),
        ("greeting", ""),
        ("reply", "Order 1042 is on its way."),
        ("reply_contains", "Tuesday"),
        ("reply_lacks", "Monday"),
        ("reply_matches", "^Monday"),
        ("choices", []),
        ("citations", []),
        ("citations", ["Returns"]),
        ("parts", []),
        ("parts", [{"type": "card"}]),
        ("reply_language", "zh"),
        ("reason", "budget"),
        ("refused", "busy"),
    ],
)
def test_each_thing_that_is_not_as_expected_is_a_difference(field: str, wrong: Any) -> None:
    outcome = play({**GOOD, field: wrong})
    (played,) = outcome.turns
    assert [each.what.split(" ")[0].split(".")[0].rstrip("s") for each in played.differences] == [
        field.rstrip("s")
    ]
    assert not outcome.passed


def test_texts_are_compared_line_by_line() -> None:
    lines = [
        line.strip() for line in as_lines(play({"reply": "Order 1042 is on its way.\nIt comes on Sunday."}))
    ]
    assert {"- It comes on Sunday.", "+ It comes on Monday."} <= set(lines)


def test_what_follows_a_difference_is_not_played() -> None:
    assistant = Assistant()
    assert not play({"intent": "other"}, {}, assistant=assistant).passed
    assert len(assistant.asked) == 1


def test_the_language_of_the_dialogue_holds_for_each_reply_and_is_not_asked_for() -> None:
    assistant = Assistant()
    assert not play({}, assistant=assistant, language="zh").passed
    assert "language" not in assistant.asked[0]
    assert play({"language": "zh"}, assistant=assistant).passed
    assert assistant.asked[1]["language"] == "zh"
    assert "skill" not in assistant.asked[0]
    assert play({"skill": "helper"}, assistant=assistant).passed
    assert assistant.asked[2]["skill"] == "helper"


def test_a_choice_is_posted_by_its_value() -> None:
    assistant = Assistant()
    assert play({}, {"choose": "Yes"}, assistant=assistant).passed
    assert assistant.asked[1]["message"] == "yes"
    assert "offers no choice 'No'; it offers 'Yes'" in str(play({}, {"choose": "No"}).broken)


def test_a_silence_waits_for_what_the_assistant_says_by_itself() -> None:
    assistant = Assistant()
    assistant.says_by_itself = "Still there?"
    assert play({}, {"silence": 5, "reply": "Still there?"}, assistant=assistant).passed
    assert "said nothing by itself within 0.01 s" in str(play({}, {"silence": 0.01}).broken)


def test_a_new_session_has_another_id_and_repeated_messages_are_long() -> None:
    assistant = Assistant()
    play({"user": {"repeat": "ab", "times": 4000}}, {"new_session": True}, assistant=assistant)
    assert len(assistant.asked[0]["message"]) == 8000
    assert len({body["session_id"] for body in assistant.asked}) == 2


def test_a_refusal_can_be_what_is_expected() -> None:
    assistant = Assistant()
    assistant.refuses = {"title": "Too much", "status": 422, "code": "too_long", "detail": "It is too long."}
    assert play({"refused": "too_long"}, assistant=assistant).passed
    assert "too_long" in "\n".join(as_lines(play({}, assistant=assistant)))


def test_junit_has_a_case_for_each_dialogue() -> None:
    suite = ET.fromstring(as_junit([play(GOOD), play({"reply": "\x07"}), play({}, {"choose": "No"})]))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [len(case) for case in suite] == [0, 1, 1]


@pytest.mark.parametrize(
    "turn",
    [{}, {"user": "a", "silence": 1}, {"user": "a", "reply_matches": "("}, {"user": "a", "replies": "x"}],
)
def test_a_turn_that_says_nothing_or_two_things_is_refused(turn: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DialogueTurn.model_validate(turn)


def test_what_a_client_says_of_the_conversation_is_sent_with_every_message() -> None:
    assistant = Assistant()
    play({}, {}, assistant=assistant, metadata={"customer_id": "C-1"}, timezone="Asia/Shanghai")

    assert [(body["metadata"], body["timezone"]) for body in assistant.asked] == [
        ({"customer_id": "C-1"}, "Asia/Shanghai")
    ] * 2


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_folders_are_read_and_ids_are_given_once(tmp_path: Path) -> None:
    one = "dialogues: [{id: a, turns: [{user: hi}]}]"
    folder = write(tmp_path, b="dialogues: [{id: b, turns: [{user: hi}]}]", a=one)
    assert [dialogue.id for dialogue in read_dialogues([folder])] == ["a", "b"]
    with pytest.raises(ValidationFailed, match="'a'"):
        read_dialogues([write(tmp_path, c=one)])


@pytest.mark.parametrize(
    ("text", "error"), [("dialogues: [{id: a, turns: [{said: hi}]}]", ValidationFailed), (None, NotFound)]
)
def test_a_file_that_cannot_be_played_is_refused(
    tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    file = tmp_path / "it.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error):
        read_dialogues([file])


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command against the assistant."""
    assistant = Assistant()
    monkeypatch.setattr("signalbox.common.cli.http.open_client", lambda *_a, **_k: assistant.client)
    return lambda *arguments: CliRunner().invoke(build_cli(), ["test", *map(str, arguments)])


def test_the_command_says_what_failed_and_exits_with_1(tmp_path: Path, command: Callable[..., Any]) -> None:
    file = write(
        tmp_path, it="dialogues: [{id: a, turns: [{user: hi}]}, {id: b, turns: [{user: hi, intent: x}]}]"
    )
    done = command(file / "it.yaml", "--junit", tmp_path / "junit.xml")
    assert done.exit_code == 1
    assert "FAIL b" in done.stdout
    assert "1 passed, 1 failed" in done.stdout
    assert (tmp_path / "junit.xml").read_bytes().startswith(b"<?xml")
    assert isinstance(command(file, "--only", "c").exception, NotFound)


def test_the_command_plays_what_it_is_asked_for(tmp_path: Path, command: Callable[..., Any]) -> None:
    file = write(
        tmp_path, it="dialogues: [{id: a, turns: [{user: hi}]}, {id: b, turns: [{user: hi, intent: x}]}]"
    )
    assert command(file, "--only", "a").exit_code == 0
