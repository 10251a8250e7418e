"""Calling a model: which one, in what words, and what it answered."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from pydantic import ConfigDict

from signalbox.common.clients import CallLabels, ChatChunk, DefaultRoles, GatewayClient, ServiceCallFailed
from signalbox.common.clients.gateway import usage_of_chunk
from signalbox.common.errors import DeadlineExceeded
from signalbox.common.transport import HopError, HopTimeout
from signalbox.common.web import Emit
from signalbox.contracts.config import ModelRole, RoleModel
from signalbox.contracts.events import TextData, TextEvent, UsageData, UsageEvent
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ChatRequest, FunctionCall, Message, ToolCall
from signalbox.skills.budget import Meter
from signalbox.skills.errors import ModelRefused, ModelUnavailable
from signalbox.skills.ports import Model

_REFUSED = frozenset({400, 413, 422})
_TOO_LONG = "context_length_exceeded"

Count = Callable[[UsageData], None]
"""Told of each model call's usage."""


class AgentChat(ChatRequest):
    """A chat request with whatever further fields the workflow wants passed through."""

    model_config = ConfigDict(extra="allow")


@dataclass(slots=True)
class ModelAnswer:
    """A whole answer."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    usage: UsageData | None = None
    finish_reason: str | None = None

    def message(self) -> Message:
        """The answer as it goes back to the model."""
        return Message(role="assistant", content=self.text or None, tool_calls=self.calls or None)


class GatewayModel:
    """The gateway, for one principal."""

    def __init__(self, gateway: GatewayClient, roles: DefaultRoles, principal: Principal) -> None:
        self._gateway = gateway
        self._roles = roles
        self._principal = principal

    def stream(self, request: ChatRequest, labels: CallLabels) -> AsyncGenerator[ChatChunk, None]:
        """See ``ports.Model``."""
        return self._gateway.chat_stream(request, self._principal, labels)

    async def default_model(self, role: ModelRole) -> str | None:
        """See ``ports.Model``."""
        return (await self._roles.of(self._principal)).get(role)


async def chosen_model(
    model: Model, role: ModelRole, declared: RoleModel | None, override: str | None
) -> RoleModel:
    """The model of a run: the caller's, else the workflow's for the role, else the operator's default.

    Raises:
        ModelUnavailable: nobody names one.
    """
    if declared is not None:
        return declared if override is None else declared.model_copy(update={"model": override})
    name = override
    if name is None:
        try:
            name = await model.default_model(role)
        except (ServiceCallFailed, HopError) as error:
            raise ModelUnavailable(
                f"The gateway does not say which models there are: {error.detail}",
                reason=error.problem().code,
            ) from error
    if name is None:
        raise ModelUnavailable(
            f"No model plays the role '{role}'; set one up in the gateway or the workflow."
        )
    return RoleModel(model=name)


def chat_request(
    chosen: RoleModel,
    messages: list[Message],
    tools: list[dict[str, Any]],
    *,
    parallel: bool,
    response_format: dict[str, Any] | None,
) -> AgentChat:
    """The request of one model call."""
    more: dict[str, Any] = {}
    if tools and not parallel:
        more["parallel_tool_calls"] = False
    return AgentChat(
        **{
            **chosen.extra,
            "model": chosen.model,
            "messages": messages,
            "tools": tools or None,
            "temperature": chosen.temperature,
            "max_tokens": chosen.max_output_tokens,
            "response_format": response_format,
            **more,
        }
    )


class Conversation:
    """The model calls of one run: timed, traced, charged, their text passed on as it comes."""

    def __init__(self, model: Model, tracer: trace.Tracer, meter: Meter, emit: Emit, count: Count) -> None:
        self._model = model
        self._tracer = tracer
        self._meter = meter
        self._emit = emit
        self._count = count
        self._spoke = False
        self._saying = False
        """Whether the user has heard a part of the answer under way."""
        self.used: list[UsageData] = []
        """Usage of each call so far."""

    async def ask(self, request: ChatRequest, labels: CallLabels, *, aloud: bool) -> ModelAnswer:
        """One model call; ``aloud`` streams its text to the user.

        Raises:
            OutOfTime: the run's time was used up before the answer was whole.
            ModelUnavailable: the gateway or the provider cannot be reached, or is exhausted.
            ModelRefused: the provider does not take the request.
        """
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": request.model}
        left = self._meter.time_left()
        # What a provider says of a failed call may repeat the prompt, which belongs in no span.
        with self._tracer.start_as_current_span(
            f"chat {request.model}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                async with asyncio.timeout(left):
                    answer = await self._read(request, labels, aloud=aloud)
            except (TimeoutError, HopTimeout, DeadlineExceeded) as error:
                span.set_status(Status(StatusCode.ERROR, "timeout"))
                raise self._meter.out_of_time() from error
            except HopError as error:
                span.set_status(Status(StatusCode.ERROR, error.code))
                raise ModelUnavailable(error.detail, reason=error.code, said=self._saying) from error
            except ServiceCallFailed as error:
                code = error.upstream.code
                span.set_status(Status(StatusCode.ERROR, code))
                if error.upstream.status in _REFUSED:
                    raise ModelRefused(error.detail, too_long=code == _TOO_LONG) from error
                raise ModelUnavailable(error.detail, reason=code, said=self._saying) from error
            usage = answer.usage or UsageData(model=request.model)
            span.set_attribute("gen_ai.response.model", usage.model)
            span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
            span.set_attribute("gen_ai.response.finish_reasons", [answer.finish_reason or "unknown"])
        self._meter.charge(usage)
        self.used.append(usage)
        self._count(usage)
        self._emit(UsageEvent(data=usage))
        return answer

    def say(self, text: str) -> None:
        """Pass on text that is not the model's."""
        self._say(text, begins=True)

    async def _read(self, request: ChatRequest, labels: CallLabels, *, aloud: bool) -> ModelAnswer:
        self._saying = False
        answer = ModelAnswer()
        pieces: list[str] = []
        calls: dict[int, ToolCall] = {}
        async with aclosing(self._model.stream(request, labels)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    if aloud:
                        self._say(chunk.text, begins=not pieces)
                        self._saying = True
                    pieces.append(chunk.text)
                for choice in chunk.choices:
                    answer.finish_reason = choice.finish_reason or answer.finish_reason
                    for delta in choice.delta.tool_calls:
                        _add_call(calls, delta)
                if chunk.usage is not None:
                    answer.usage = usage_of_chunk(chunk)
        answer.text = "".join(pieces)
        answer.calls = [calls[index] for index in sorted(calls)]
        return answer

    def _say(self, text: str, *, begins: bool) -> None:
        # Text before a tool call and text after it are paragraphs of their own.
        delta = f"\n\n{text}" if begins and self._spoke else text
        self._spoke = True
        self._emit(TextEvent(data=TextData(delta=delta)))


def _add_call(calls: dict[int, ToolCall], delta: dict[str, Any]) -> None:
    """Join a piece of a tool call to what came of it before; providers without an index send calls whole."""
    index = delta.get("index")
    if not isinstance(index, int):
        index = len(calls)
    function = delta.get("function") or {}
    call = calls.get(index)
    if call is None:
        call = calls[index] = ToolCall(
            id=delta.get("id") or f"call_{index}", function=FunctionCall(name="", arguments="")
        )
    elif delta.get("id"):
        call.id = delta["id"]
    call.function.name += function.get("name") or ""
    call.function.arguments += function.get("arguments") or ""
