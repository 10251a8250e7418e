"""Carrying out what a model asks for: only offered tools, arguments read, writes written down first."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import orjson

from signalbox.common.arguments import check, compile_schema
from signalbox.common.record import record
from signalbox.common.storage import PreconditionFailed
from signalbox.common.tool_calls import visible_parameters
from signalbox.common.web import Emit
from signalbox.contracts.config import Subtask, Tool
from signalbox.contracts.events import ToolCallData, ToolCallEvent, ToolResultData, ToolResultEvent
from signalbox.contracts.llm import Message, ToolCall
from signalbox.contracts.pauses import Asked, Pause, Verdict
from signalbox.contracts.work import SkillRunRequest, ToolCallReply, ToolCallRequest, ToolError
from signalbox.skills.approval import first_of, pending, who_must_agree
from signalbox.skills.book import CompiledAgent, SkillBook
from signalbox.skills.errors import RunPaused
from signalbox.skills.journal import Journal, noted_reply
from signalbox.skills.ports import ToolCaller
from signalbox.skills.records import StepRecord
from signalbox.skills.sources import Sources
from signalbox.skills.untrusted import as_data
from signalbox.skills.write_check import WriteCheck

RunSubtask = Callable[[Subtask, dict[str, Any], str], Awaitable[ToolCallReply]]
"""Runs a subtask with the model's arguments under a run id of its own."""


@record
class _Asked:
    """One call as the model asked for it. ``refusal`` is why it is not made."""

    call: ToolCall
    key: str
    step: str
    part: Tool | Subtask | None
    arguments: dict[str, Any]
    refusal: ToolError | None
    waits_for: Asked | None = None
    """Whose word it needs."""

    @property
    def name(self) -> str:
        return self.part.id if isinstance(self.part, Tool) else self.call.function.name

    @property
    def is_write(self) -> bool:
        return isinstance(self.part, Tool) and self.part.effect == "write"


class ToolUse:
    """The tool calls of one run."""

    def __init__(
        self,
        book: SkillBook,
        agent: CompiledAgent,
        request: SkillRunRequest,
        *,
        tools: ToolCaller,
        journal: Journal,
        emit: Emit,
        run_subtask: RunSubtask,
        result_chars: int,
    ) -> None:
        self._book = book
        self._agent = agent
        self._policies = book.config.policies
        self._request = request
        self._tools = tools
        self._journal = journal
        self._emit = emit
        self._run_subtask = run_subtask
        self._result_chars = result_chars
        own = f"{request.run_id}/"
        self.verdicts = {
            call: verdict
            for call, verdict in request.verdicts.items()
            if call.startswith(own) and "/" not in call.removeprefix(own)
        }
        """What persons have said to calls of this run; those of its subtasks are theirs."""
        self.sources = Sources(agent.sources, len(request.passages), result_chars)

    async def answer(self, calls: Sequence[ToolCall], step: int) -> list[Message]:
        """The results of the calls of one model answer, in their order, as messages for the model.

        Calls that only read are made at once where the skill allows it; otherwise one after the other.

        Raises:
            RunPaused: a person has to say something first. Before an approval none of the calls is made.
        """
        asked = [self._understood(call, f"{step}.{position}") for position, call in enumerate(calls)]
        self._ask_first(asked)
        if self._at_once(asked):
            replies = await _all_of([self._carry_out(one) for one in asked])
        else:
            replies = [await self._carry_out(one) for one in asked]
        return [
            Message(role="tool", tool_call_id=one.call.id, content=self._told(one, reply))
            for one, reply in zip(asked, replies, strict=True)
        ]

    def _at_once(self, asked: Sequence[_Asked]) -> bool:
        skill = self._agent.skill
        if not skill.parallel_tool_calls or len(asked) < 2 or any(one.is_write for one in asked):
            return False
        return skill.subtask_order == "parallel" or not any(isinstance(one.part, Subtask) for one in asked)

    def _understood(self, call: ToolCall, step: str) -> _Asked:
        part = self._agent.offered.get(call.function.name)
        arguments, refusal = _arguments(call.function.arguments)
        if part is None:
            # Whatever made the model ask for it (a tool's output may have), the list of the config decides.
            refusal = ToolError(code="denied", detail=f"There is no tool '{call.function.name}' here.")
        key = f"{self._request.run_id}/{step}"
        waits_for: Asked | None = None
        if isinstance(part, Tool) and refusal is None and self._journal.earlier(step) is None:
            waits_for = who_must_agree(self._agent.skill, part, self._policies)
            if waits_for is not None:
                refusal = _unfit(part, arguments) or _refused(self.verdicts.get(key), waits_for)
        return _Asked(call, key, step, part, arguments, refusal, waits_for)

    def _ask_first(self, asked: Sequence[_Asked]) -> None:
        """Wait where a call needs a person's word that was not given yet.

        Raises:
            RunPaused: one does.
        """
        pauses = [
            Pause(
                by=one.waits_for,
                reason="approval",
                calls=[pending(self._book, self._request, one.part, one.arguments, one.key)],
            )
            for one in asked
            if one.waits_for is not None
            and one.refusal is None
            and isinstance(one.part, Tool)
            and one.key not in self.verdicts
        ]
        if pauses:
            raise RunPaused(first_of(pauses))

    async def _carry_out(self, asked: _Asked) -> ToolCallReply:
        shown = ToolCallData(call_id=asked.key, tool=asked.name, arguments=asked.arguments)
        self._emit(ToolCallEvent(data=shown))
        if asked.refusal is not None:
            reply = ToolCallReply(ok=False, error=asked.refusal, took_ms=0.0, attempts=0)
        elif isinstance(asked.part, Subtask):
            reply = await self._run_subtask(asked.part, asked.arguments, asked.key)
        elif isinstance(asked.part, Tool) and asked.is_write:
            reply = await self._write(asked, asked.part)
        else:
            reply = await self._call(asked)
        error = None if reply.error is None else f"{reply.error.code}: {reply.error.detail}"
        told = ToolResultData(
            call_id=asked.key,
            tool=asked.name,
            ok=reply.ok,
            output=reply.output,
            error=error,
            took_ms=reply.took_ms,
        )
        self._emit(ToolResultEvent(data=told))
        return reply

    async def _write(self, asked: _Asked, tool: Tool) -> ToolCallReply:
        """A write: noted before it is made, and made once, whatever became of this or an earlier attempt.

        Raises:
            RunPaused: nobody can say whether it was made.
        """
        note = self._journal.earlier(asked.step)
        if note is None:
            note = await self._journal.before_write(asked.step, asked.name, asked.arguments, asked.key)
            reply = await self._make(asked, note)
        else:
            reply = noted_reply(note)
        if not _is_unknown(reply):
            return reply
        verdict = self.verdicts.pop(asked.key, None)
        settles = verdict is not None and verdict.decision in ("happened", "repeat")
        if verdict is not None and settles and note.status == "unknown":
            return await self._settled(asked, note, verdict)
        checks = WriteCheck(self._book, self._request, self._tools)
        if tool.idempotent or await checks.was_not_made(tool, asked.arguments, asked.key):
            reply = await self._make(asked, note)
        elif checks.found is not None:
            reply = checks.found
            await self._note(note, reply)
        if _is_unknown(reply):
            raise await self._unknown(asked, tool, note, reply)
        return reply

    async def _settled(self, asked: _Asked, note: StepRecord, verdict: Verdict) -> ToolCallReply:
        """A write of unknown outcome, after somebody has looked where it writes to.

        Raises:
            RunPaused: it was made once more, and its answer was lost again.
        """
        if verdict.decision == "happened":
            reply = ToolCallReply(ok=True, output=verdict.output, took_ms=0.0, attempts=0)
            await self._note(note, reply)
            return reply
        # A process that is killed from here on leaves a write in doubt again, which this verdict does not settle.
        note = await self._journal.again(note)
        reply = await self._make(asked, note)
        if _is_unknown(reply) and isinstance(asked.part, Tool):
            raise await self._unknown(asked, asked.part, note, reply)
        return reply

    async def _unknown(self, asked: _Asked, tool: Tool, note: StepRecord, reply: ToolCallReply) -> RunPaused:
        """The pause of a write of which nobody can say whether it was made; its row says so, too."""
        if note.status == "begun":
            await self._note(note, reply)
        call = pending(self._book, self._request, tool, asked.arguments, asked.key)
        return RunPaused(Pause(by="operator", reason="unknown_outcome", calls=[call]))

    async def _make(self, asked: _Asked, note: StepRecord) -> ToolCallReply:
        """Make a write; once it is begun, its result is noted even if the run is cancelled."""
        made = asyncio.create_task(self._call(asked))
        try:
            reply = await asyncio.shield(made)
        except asyncio.CancelledError:
            await self._note(note, await made)
            raise
        await self._note(note, reply)
        return reply

    async def _note(self, note: StepRecord, reply: ToolCallReply) -> None:
        # The process that was taken for dead may have noted the same write's result meanwhile.
        with suppress(PreconditionFailed):
            await self._journal.after_write(note, reply)

    async def _call(self, asked: _Asked) -> ToolCallReply:
        request = ToolCallRequest(
            context=self._request.context,
            tool=asked.name,
            arguments=asked.arguments,
            idempotency_key=asked.key,
        )
        return await self._tools.call(request, write=asked.is_write)

    def _told(self, asked: _Asked, reply: ToolCallReply) -> str:
        if reply.error is not None and reply.output is None:
            error = reply.error.model_dump(exclude_none=True)
            return as_data({"error": error})
        if (found := self.sources.told(asked.call.function.name, reply.output)) is not None:
            return found
        content = as_data(reply.output)
        if len(content) <= self._result_chars:
            return content
        return as_data(
            {
                "incomplete": f"The result has {len(content)} characters; these are the first {self._result_chars}.",
                "beginning": content[: self._result_chars],
            }
        )


async def _all_of(work: Sequence[Coroutine[Any, Any, ToolCallReply]]) -> list[ToolCallReply]:
    """All replies, made at once. Where one raises, or the run is cancelled, none of the others is left behind.

    Raises:
        RunPaused: some of them wait for a person; the others have ended, and are not repeated.
    """
    tasks = [asyncio.create_task(_or_pause(one)) for one in work]
    try:
        ended = await asyncio.gather(*tasks)
        if pauses := [one for one in ended if isinstance(one, Pause)]:
            raise RunPaused(first_of(pauses))
        return [one for one in ended if isinstance(one, ToolCallReply)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _or_pause(work: Coroutine[Any, Any, ToolCallReply]) -> ToolCallReply | Pause:
    try:
        return await work
    except RunPaused as paused:
        return paused.pause


def _refused(verdict: Verdict | None, by: Asked) -> ToolError | None:
    """What the model is told of a call that was not approved; None where it was, or where nobody was asked yet."""
    if verdict is None or verdict.decision == "approve":
        return None
    note = f" They said: {verdict.note}" if verdict.note else ""
    return ToolError(
        code="denied",
        detail=f"The {by} was asked and refused this, so it was not done.{note} Do not ask for it again in other "
        "words; say that it was not done, and go on without it.",
    )


def _unfit(tool: Tool, arguments: dict[str, Any]) -> ToolError | None:
    """Why nobody is asked about a call: it could not be made with these arguments."""
    problems = check(compile_schema(visible_parameters(tool)), arguments)
    if not problems:
        return None
    pointer = problems[0].pointer
    return ToolError(code="invalid_arguments", detail=problems[0].detail, pointer=pointer)


def _is_unknown(reply: ToolCallReply) -> bool:
    return reply.error is not None and reply.error.code == "unknown_outcome"


def _arguments(text: str) -> tuple[dict[str, Any], ToolError | None]:
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        return {}, ToolError(code="invalid_arguments", detail=f"The arguments are not JSON: {error}.")
    if not isinstance(arguments, dict):
        return {}, ToolError(code="invalid_arguments", detail="The arguments must be one JSON object.")
    return arguments, None
