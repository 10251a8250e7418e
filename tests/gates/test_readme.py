"""A newcomer who follows the README or the tutorial gets what they show."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gates.markdown import ROOT, table_under
from gates.terminal import Terminal, copy_repository

from signalbox.common.ids import new_id
from signalbox_local.ports import free_port

_README = ROOT / "README.md"
_TUTORIAL = ROOT / "docs" / "tutorial.md"
_HTTP_API = ROOT / "docs" / "http-api.md"
_MAX_LINES = 150


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(copy_repository(tmp_path / "signalbox"), free_port())
    yield terminal
    if terminal.endless is not None:
        terminal.endless.kill()


def _sample_questions() -> Iterator[tuple[str, str]]:
    """Questions of the README's table, with what it says about who answers."""
    text = _README.read_text(encoding="utf-8")
    rows = text.partition("| ask | what answers |\n|---|---|\n")[2].partition("\n\n")[0]
    for row in rows.splitlines():
        questions, answers = row.strip("|").split(" | ")
        for question in re.findall(r"`([^`]+)`", questions):
            yield question, answers


def _events(url: str, question: str) -> list[dict[str, Any]]:
    """The events of a streamed query."""
    body = {"session_id": new_id("readme"), "message": question}
    text = httpx.post(f"{url}/api/v1/query/stream", json=body, timeout=30.0, trust_env=False).text
    return [
        json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")
    ]


def _assert_as_documented(event: dict[str, Any]) -> None:
    """The event's data has the fields that the API page says, each that is required and none besides."""
    kind = event["type"]
    heading = {"complete": "### QueryReply", "error": "### Problem"}.get(kind, f"### `{kind}`")
    fields = table_under(_HTTP_API, heading)
    required = {name for name, (_, default, *_) in fields.items() if default == "**required**"}
    assert required <= set(event["data"]) <= set(fields), f"{kind} has the fields {sorted(event['data'])}"


def test_the_readme_does_what_it_shows(terminal: Terminal) -> None:
    terminal.follow(_README)
    assert terminal.endless is not None
    for question, answers in _sample_questions():
        events = _events(f"http://127.0.0.1:{terminal.port}", question)
        for event in events:
            _assert_as_documented(event)
        assert (events[0]["type"], events[-1]["type"]) == ("start", "complete")
        [decided] = [event["data"] for event in events if event["type"] == "intent"]
        assert decided["stage"] == "rule"
        assert decided["target"]["kind"] in answers, f"{question}: {decided}"
    assert terminal.endless.press_ctrl_c() < 5.0


def test_the_tutorial_does_what_it_shows(terminal: Terminal) -> None:
    terminal.follow(_TUTORIAL)
    assert terminal.endless is not None
    assert terminal.endless.press_ctrl_c() < 5.0


def test_the_readme_is_short() -> None:
    assert len(_README.read_text(encoding="utf-8").splitlines()) <= _MAX_LINES
