"""Dialogues as tests of a workflow: what a user does, and what must come back.

How to write and run them: docs/how-to/test-with-dialogues.md.
"""

from signalbox.common.dialogues.checking import Difference
from signalbox.common.dialogues.playing import Outcome, Played, play_all
from signalbox.common.dialogues.reporting import as_junit, as_lines
from signalbox.common.dialogues.script import (
    Dialogue,
    DialogueFile,
    DialogueTurn,
    ExpectedCall,
    read_dialogues,
)

__all__ = [
    "Dialogue",
    "DialogueFile",
    "DialogueTurn",
    "Difference",
    "ExpectedCall",
    "Outcome",
    "Played",
    "as_junit",
    "as_lines",
    "play_all",
    "read_dialogues",
]
