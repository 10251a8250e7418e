"""Where a run stands, as it is stored: enough to go on in another process after this one was killed."""

from typing import Literal

from pydantic import BaseModel

from signalbox.contracts.config import RoleModel
from signalbox.contracts.events import UsageData
from signalbox.contracts.llm import Message, ToolCall
from signalbox.contracts.pauses import Verdict


class Checkpoint(BaseModel):
    """The conversation with the model and what was used so far.

    When the last message asks for tools they are still to be called, or some were: which writes were made is in the
    rows of the writes, and reads may be made again.
    """

    version: Literal[1] = 1
    messages: list[Message]
    head: int | None = None
    """How many of the messages the run began with; None of a release that did not say so."""
    step: int
    text: str = ""
    repaired: bool = False
    degraded: str | None = None
    shortened: int = 0
    model: RoleModel
    used: list[UsageData] = []
    tool_calls: int = 0
    verdicts: dict[str, Verdict] = {}
    """What persons have said to calls that are still to be made."""
    seconds: float = 0.0
    """How long the run had worked."""

    @property
    def open_calls(self) -> list[ToolCall]:
        """The tool calls that the model waits for."""
        last = self.messages[-1]
        return list(last.tool_calls or []) if last.role == "assistant" else []
