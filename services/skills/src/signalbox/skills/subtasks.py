"""Subtasks: declared skills that an agent starts as parts of its own work.

Each is a run of its own: own id and row, own budget, own span under that of the run that started it. What it says is
for the model that started it, not for the user. One that fails is told as failed with what it has; the others go on.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.templates import TemplateError
from signalbox.common.web import Emit
from signalbox.common.write_gate import TurnStopped
from signalbox.contracts.config import AgentSkill, Budget, Subtask
from signalbox.contracts.events import TextEvent
from signalbox.contracts.work import SkillResult, SkillRunRequest, ToolCallReply, ToolError
from signalbox.skills.book import CompiledFunction, SkillBook
from signalbox.skills.budget import Meter
from signalbox.skills.errors import RunPaused

_LOG = logging.getLogger(__name__)
_MAX_DEPTH = 3
_EARLIER_CHARS = 4000


@record
class Parent:
    """The run that a subtask belongs to."""

    run_id: str
    meter: Meter
    depth: int
    budget: Budget


Start = Callable[[SkillRunRequest, Emit, Parent], Awaitable[SkillResult]]
"""Carries out a run under a parent."""


class Subtasks:
    """The subtasks of one run, and what they gave so far."""

    def __init__(
        self,
        book: SkillBook,
        skill: AgentSkill,
        request: SkillRunRequest,
        meter: Meter,
        depth: int,
        emit: Emit,
        start: Start,
    ) -> None:
        self._book = book
        self._skill = skill
        self._request = request
        self._meter = meter
        self._depth = depth
        self._emit = emit
        self._start = start
        self._gave: dict[str, dict[str, Any]] = {}

    async def run(self, subtask: Subtask, arguments: dict[str, Any], run_id: str) -> ToolCallReply:
        """Run a subtask with the model's ``arguments``; a failure of any kind is part of the reply.

        Raises:
            TurnStopped: the whole turn must end.
            RunPaused: the subtask waits for a person.
        """
        if self._depth >= _MAX_DEPTH:
            return _refused(f"Subtasks may be {_MAX_DEPTH} levels deep at most.")
        began = time.monotonic()
        try:
            below = self._request_of(subtask, arguments, run_id)
        except TemplateError as error:
            return _refused(f"The arguments of subtask '{subtask.id}' cannot be made: {error.detail}")
        parent = Parent(self._request.run_id, self._meter, self._depth, subtask.budget)
        try:
            result = await self._start(below, _without_text(self._emit), parent)
        except (TurnStopped, RunPaused):
            raise
        except SignalboxError as error:
            return _failed(error.detail, None, began)
        except Exception:  # noqa: BLE001 - one subtask does not end the others; logged with its traceback
            _LOG.exception("a subtask failed", extra={"skill": subtask.skill})
            return _failed("It ended by an error of the system.", None, began)
        if result.pause is not None:
            # The run that started it waits with it, and goes on when it has gone on.
            raise RunPaused(result.pause)
        gave: dict[str, Any] = {"status": result.status, "message": result.message, "output": result.output}
        if result.reason is not None:
            gave["reason"] = result.reason
        self._gave[subtask.id] = gave
        if result.status in ("failed", "cancelled"):
            return _failed(
                f"It ended as {result.status} ({result.reason or 'no reason given'}).", gave, began
            )
        return ToolCallReply(ok=True, output=gave, took_ms=_ms_since(began))

    def _request_of(self, subtask: Subtask, arguments: dict[str, Any], run_id: str) -> SkillRunRequest:
        """The run of a subtask. What the config gives it stands over what the model gives.

        Raises:
            TemplateError: a template needs what a subtask gives that has not run.
        """
        values = self._book.values(self._request, subtasks=self._gave)
        given = self._book.templates.render_value(subtask.arguments, values)
        message = self._request.message
        chosen = dict(arguments)
        if not isinstance(self._book.skill(subtask.skill), CompiledFunction):
            message = str(chosen.pop("message", "") or message)
            if self._skill.subtask_order == "sequence" and self._gave:
                given = {"earlier_subtasks": _short(self._gave), **given}
        return SkillRunRequest(
            context=self._request.context,
            skill=subtask.skill,
            run_id=run_id,
            arguments={**chosen, **given},
            message=message,
            model=self._request.model,
            verdicts=self._request.verdicts,
        )


def _short(gave: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What earlier subtasks gave, each within a bound."""
    shown: dict[str, Any] = {}
    for name, one in gave.items():
        text = orjson.dumps(one).decode()
        shown[name] = one if len(text) <= _EARLIER_CHARS else {"incomplete": text[:_EARLIER_CHARS]}
    return shown


def _without_text(emit: Emit) -> Emit:
    return lambda event: None if isinstance(event, TextEvent) else emit(event)


def _refused(detail: str) -> ToolCallReply:
    return ToolCallReply(ok=False, error=ToolError(code="refused", detail=detail), took_ms=0.0, attempts=0)


def _failed(detail: str, gave: dict[str, Any] | None, began: float) -> ToolCallReply:
    error = ToolError(code="upstream_error", detail=detail)
    return ToolCallReply(ok=False, output=gave, error=error, took_ms=_ms_since(began))


def _ms_since(began: float) -> float:
    return (time.monotonic() - began) * 1000
