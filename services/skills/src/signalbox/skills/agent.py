"""Agent mode: a model works in steps, with tools, until it answers without asking for one."""

import logging
from typing import Any

import orjson

from signalbox.common.arguments import check
from signalbox.common.clients import CallLabels
from signalbox.common.templates import TemplateError
from signalbox.contracts.base import LocalizedText
from signalbox.contracts.config import RoleModel
from signalbox.contracts.llm import Message, ToolCall
from signalbox.contracts.pauses import Pause
from signalbox.contracts.work import SkillResult, SkillRunRequest
from signalbox.skills import messages
from signalbox.skills.approval import question
from signalbox.skills.book import CompiledAgent, SkillBook
from signalbox.skills.budget import Meter
from signalbox.skills.checkpoint import Checkpoint
from signalbox.skills.compaction import Compaction, tokens_of_messages
from signalbox.skills.errors import ModelRefused, ModelUnavailable, OutOfTime, RunPaused
from signalbox.skills.journal import Journal
from signalbox.skills.memory import Memory
from signalbox.skills.model import Conversation, chat_request
from signalbox.skills.prompt import first_messages, stable_ends
from signalbox.skills.tool_use import ToolUse
from signalbox.skills.transcript import NOT_KNOWN, NOT_MADE, Transcript, transcript_of

_LOG = logging.getLogger(__name__)
_MAX_NAMED = 5
_LEAST_MEMORY = 1000
"""Tokens of earlier results; where there is no room for so many, none are shown."""


class _BadOutput(Exception):
    """The answer is not what the output schema asks for; the message tells the model."""


class AgentRun:
    """One run of an agent skill."""

    def __init__(
        self,
        book: SkillBook,
        agent: CompiledAgent,
        request: SkillRunRequest,
        *,
        model: RoleModel,
        conversation: Conversation,
        tool_use: ToolUse,
        meter: Meter,
        context_tokens: int,
        transcript_chars: int,
        memory: Memory,
        journal: Journal,
    ) -> None:
        self._book = book
        self._agent = agent
        self._request = request
        self._model = model
        self._conversation = conversation
        self._tool_use = tool_use
        self._meter = meter
        self._memory = memory
        self._memory_tokens = min(agent.skill.history.tool_results, context_tokens // 3)
        self._transcript_chars = transcript_chars
        self._messages = self._beginning()
        self._compaction = Compaction(conversation, head=len(self._messages), tokens=context_tokens)
        self._shortened = 0
        self._step = 0
        self._repaired = False
        self._text = ""
        self._degraded: str | None = None
        self._journal = journal
        self._open_calls: list[ToolCall] = []
        journal.stands(self._stand)
        journal.leaves(self._left)
        if (stood := journal.checkpoint) is not None:
            self._go_on_from(stood)

    async def run(self) -> SkillResult:
        """Work until the model answers, or until a cap ends the run with what it has."""
        try:
            if self._open_calls:
                await self._use_tools(self._open_calls)
            while True:
                if self._step >= self._agent.skill.max_steps:
                    return self._cut_off("max_steps")
                if (reason := self._meter.exceeded()) is not None:
                    return self._cut_off(reason)
                ended = await self._take_step()
                if ended is not None:
                    return ended
        except OutOfTime as error:
            return self._cut_off(error.reason)
        except ModelUnavailable as error:
            self._degraded = error.reason
            policy = self._book.config.policies.degradation
            result = self._failed(error.code, policy.reply or messages.NO_MODEL)
            return result.model_copy(update={"action": policy.action})
        except ModelRefused as error:
            return self._failed(error.code, messages.SORRY)
        except RunPaused as paused:
            return self._paused(paused.pause)

    def _paused(self, pause: Pause) -> SkillResult:
        """The run waits: its model's open calls are kept, and the user is told."""
        if pause.by == "operator":
            run_id = self._request.run_id
            _LOG.log(
                logging.ERROR if pause.reason == "unknown_outcome" else logging.INFO,
                "a run waits for an operator: %s of '%s'",
                pause.reason,
                pause.calls[0].tool,
                extra={"run_id": run_id},
            )
        asked, parts = question(self._book, self._request, pause)
        self._conversation.say(asked)
        before = str(self._messages[-1].content or "").strip() if self._agent.output is None else ""
        message = f"{before}\n\n{asked}" if before else asked
        return self._result("waiting", message, reason=pause.reason).model_copy(
            update={"parts": parts, "pause": pause}
        )

    def _go_on_from(self, stood: Checkpoint) -> None:
        """Take up an earlier attempt where it stood. What it has used counts."""
        self._messages = list(stood.messages)
        if stood.head is not None:
            self._compaction.head = stood.head
        self._tool_use.sources.restore(self._messages)
        self._model = stood.model
        self._step = stood.step
        self._repaired = stood.repaired
        self._text = stood.text
        self._degraded = stood.degraded
        self._shortened = stood.shortened
        self._open_calls = stood.open_calls
        self._conversation.used += stood.used
        for usage in stood.used:
            self._meter.charge(usage)
        self._meter.charge_tools(stood.tool_calls)
        self._tool_use.verdicts = {**stood.verdicts, **self._tool_use.verdicts}
        self._meter.charge_time(stood.seconds)

    def _stand(self) -> Checkpoint:
        return Checkpoint(
            messages=self._messages,
            head=self._compaction.head,
            step=self._step,
            text=self._text,
            repaired=self._repaired,
            degraded=self._degraded,
            shortened=self._shortened,
            model=self._model,
            used=self._conversation.used,
            tool_calls=self._meter.spent.tool_calls,
            verdicts=self._tool_use.verdicts,
            seconds=self._meter.seconds,
        )

    async def _use_tools(self, calls: list[ToolCall]) -> None:
        self._messages += await self._tool_use.answer(calls, self._step)
        await self._journal.step_ended()

    async def _take_step(self) -> SkillResult | None:
        """One model call and the tool calls that it asks for; the result when it asks for none."""
        skill = self._agent.skill
        if not self._compaction.fits(self._messages):
            await self._shorten()
        request = chat_request(
            self._model,
            self._messages,
            self._agent.definitions,
            parallel=skill.parallel_tool_calls,
            response_format=self._response_format(),
        )
        labels = self._labels(
            "model" if self._degraded is None else "cheaper",
            stable_ends=stable_ends(self._messages, self._compaction.head),
        )
        try:
            answer = await self._conversation.ask(request, labels, aloud=skill.output_schema is None)
        except ModelUnavailable as error:
            cheaper = self._book.config.policies.degradation.model
            if cheaper in (None, self._model.model) or error.said:
                raise
            # The run goes on from here: what its tools have done stays done.
            self._model = self._model.model_copy(update={"model": cheaper})
            self._degraded = error.reason
            return await self._take_step()
        except ModelRefused as error:
            # Tokens are estimated here, and how many a model reads is not known: the provider has the last word.
            if not error.too_long or not await self._shorten(by_half=True):
                raise
            return await self._take_step()
        self._step += 1
        self._text = answer.text.strip() or self._text
        self._messages.append(answer.message())
        if not answer.calls:
            return self._answered(answer.text.strip())
        if (reason := self._meter.exceeded(len(answer.calls))) is not None:
            return self._cut_off(reason)
        self._meter.charge_tools(len(answer.calls))
        await self._use_tools(answer.calls)
        return None

    async def _shorten(self, *, by_half: bool = False) -> bool:
        """Make room among the run's own steps; whether there was any to be made."""
        labels = self._labels("compaction", purpose="compaction")
        before = self._messages
        self._messages = await self._compaction.shortened(before, self._model, labels, by_half=by_half)
        self._shortened += 1
        return self._messages is not before or self._remember_less()

    def _remember_less(self) -> bool:
        """Make room among what earlier turns have left, where the run's own steps leave none; whether there was any."""
        if not self._memory or self._memory_tokens == 0:
            return False
        own = self._messages[self._compaction.head :]
        before = tokens_of_messages(self._messages)
        while self._memory_tokens and tokens_of_messages(self._messages) >= before:
            self._memory_tokens = self._memory_tokens // 4 if self._memory_tokens > _LEAST_MEMORY else 0
            beginning = self._beginning()
            self._compaction.head = len(beginning)
            self._messages = [*beginning, *own]
        return tokens_of_messages(self._messages) < before

    def _beginning(self) -> list[Message]:
        remembered = self._memory.within(self._memory_tokens)
        return first_messages(self._agent.system, self._request, remembered)

    def _left(self, result: SkillResult) -> Transcript | None:
        """What later turns are shown; nothing of a run that was stopped, whose turn is not in the conversation."""
        if result.status == "cancelled" or self._agent.skill.history.tool_results == 0:
            return None
        own = self._messages[self._compaction.head :]
        unanswered = NOT_KNOWN if result.reason == "unknown_outcome" else NOT_MADE
        return transcript_of(self._agent, self._request.run_id, own, unanswered, self._transcript_chars)

    def _labels(self, what: str, **more: Any) -> CallLabels:
        """Labels of the next model call. Another prompt for the same step is another call."""
        context = self._request.context
        again = f"/{self._shortened}" if self._shortened else ""
        if self._request.attempt > 1:
            # What tools have read may differ from what the interrupted attempt was told.
            again += f"/attempt{self._request.attempt}"
        return CallLabels(
            idempotency_key=f"{self._request.run_id}/{self._step}/{what}{again}",
            session_id=context.session_id,
            workflow_id=context.workflow_id,
            skill_id=self._agent.skill.id,
            user_id=context.user_id or "",
            **more,
        )

    def _answered(self, text: str) -> SkillResult | None:
        if self._agent.output is None:
            return self._result("completed", text) if text else self._failed("empty_answer", messages.SORRY)
        try:
            output = self._read_output(text)
            message = self._book.reply_of(self._agent.skill, self._request, output)
        except _BadOutput as error:
            if self._repaired:
                return self._failed("bad_output", messages.SORRY)
            self._repaired = True
            self._messages.append(Message(role="user", content=str(error)))
            return None
        except TemplateError:
            return self._failed("template_error", messages.SORRY)
        self._conversation.say(message)
        return self._result("completed", message, output=output)

    def _read_output(self, text: str) -> Any:
        try:
            output = orjson.loads(_without_fence(text))
        except orjson.JSONDecodeError as error:
            raise _BadOutput(
                f"That is not JSON ({error}). Answer again, with nothing but the JSON."
            ) from error
        assert self._agent.output is not None  # noqa: S101 - asked for only with a schema
        problems = check(self._agent.output, output)
        if problems:
            named = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in problems[:_MAX_NAMED])
            raise _BadOutput(
                f"That does not fit the schema: {named}. Answer again, with nothing but the JSON."
            )
        return output

    def _response_format(self) -> dict[str, Any] | None:
        schema = self._agent.skill.output_schema
        if schema is None:
            return None
        name = self._agent.skill.id.replace(".", "_")
        return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}

    def _cut_off(self, reason: str) -> SkillResult:
        """What there is when a cap is reached: the model's last words, if they were for the user."""
        if self._text and self._agent.output is None:
            return self._result("completed", self._text, reason=reason)
        return self._failed(reason, messages.UNFINISHED)

    def _failed(self, reason: str, text: LocalizedText) -> SkillResult:
        message = self._book.text(text, self._request.context, {})
        self._conversation.say(message)
        return self._result("failed", message, reason=reason)

    def _result(
        self, status: Any, message: str, *, output: Any = None, reason: str | None = None
    ) -> SkillResult:
        return SkillResult(
            status=status,
            message=message,
            output=output,
            parts=[*self._tool_use.sources.cited(message)],
            reason=reason,
            degraded=self._degraded,
            steps=self._step,
            usage=self._conversation.used,
        )


def _without_fence(text: str) -> str:
    """The text without a Markdown code fence around it, which some models add in spite of everything."""
    lines = text.strip().splitlines()
    if len(lines) >= 3 and lines[0].startswith("```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text
