"""Client of the LLM Gateway, for our own services: typed chat, labelled for the ledger."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from pydantic import BeforeValidator, Field

from signalbox.common.clients.base import ServiceCallFailed, lines
from signalbox.common.clients.keeping import KeepingClient
from signalbox.common.record import record
from signalbox.contracts import headers as names
from signalbox.contracts.base import WireModel
from signalbox.contracts.events import UsageData
from signalbox.contracts.identity import Principal
from signalbox.contracts.llm import ChatReply, ChatRequest, EmbeddingsReply, ModelList, Usage
from signalbox.contracts.problem import Problem


@record
class CallLabels:
    """What the ledger keeps about the origin of a model call."""

    idempotency_key: str
    session_id: str = ""
    workflow_id: str = ""
    skill_id: str = ""
    purpose: str = "production"
    user_id: str = ""
    """The session's owner, for limits and budgets of users."""
    stable_ends: tuple[int, ...] = ()
    """Indexes of messages with which beginnings of the prompt end that later calls share; for providers' caches."""

    def numbered(self, number: int) -> "CallLabels":
        """The labels of one of several calls for the same thing."""
        return replace(self, idempotency_key=f"{self.idempotency_key}/{number}")

    def headers(self) -> dict[str, str]:
        """The labels as request headers; values are percent-encoded where a header could not hold them."""
        labels = {
            names.SESSION_ID: self.session_id,
            names.WORKFLOW_ID: self.workflow_id,
            names.SKILL_ID: self.skill_id,
            names.PURPOSE: self.purpose,
            names.USER_ID: self.user_id,
        }
        named = {name: quote(value, safe="") for name, value in labels.items() if value}
        if self.stable_ends:
            named[names.LLM_CACHE_MARKS] = ",".join(map(str, self.stable_ends))
        return named


class ChatAnswer(WireModel):
    """A chat completion with what it cost."""

    reply: ChatReply
    usage: UsageData


class Embedded(WireModel):
    """Vectors, in the order of what they are of, with what they cost."""

    vectors: list[list[float]]
    usage: UsageData


def _list_or_none(value: Any) -> Any:
    return [] if value is None else value


class _Delta(WireModel):
    content: str | None = None
    # Many providers send null where OpenAI leaves the field out.
    tool_calls: Annotated[list[dict[str, Any]], BeforeValidator(_list_or_none)] = Field(default_factory=list)


class _ChunkChoice(WireModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class ChatChunk(WireModel):
    """One chunk of a streamed chat completion."""

    id: str = ""
    model: str = ""
    choices: Annotated[list[_ChunkChoice], BeforeValidator(_list_or_none)] = []
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    signalbox_cost: str | None = None
    """Set by the gateway on the chunk that carries the usage."""

    @property
    def text(self) -> str:
        """The text that this chunk adds."""
        return "".join(choice.delta.content or "" for choice in self.choices)


class GatewayClient(KeepingClient):
    """Calls models."""

    service = "llm_gateway"

    async def chat(self, request: ChatRequest, principal: Principal, labels: CallLabels) -> ChatAnswer:
        """A whole answer.

        Raises:
            ServiceCallFailed: the gateway or the provider refused; ``upstream.code`` says why.
            HopError: the gateway could not be reached, or not in time.
        """
        body = request.model_copy(update={"stream": False}).model_dump_json(exclude_none=True).encode()
        async with self._open(
            "POST",
            "/llm/v1/chat/completions",
            body,
            principal=principal,
            idempotency_key=labels.idempotency_key,
            headers=labels.headers(),
        ) as stream:
            content = await stream.read()
            cost = stream.headers.get(names.LEDGER_COST)
        reply = self._parsed(ChatReply, content)
        return ChatAnswer(reply=reply, usage=_usage(reply.model, reply.usage, cost))

    async def chat_stream(
        self, request: ChatRequest, principal: Principal, labels: CallLabels
    ) -> AsyncGenerator[ChatChunk, None]:
        """The chunks of a streamed answer, the last with its usage. Raises as ``chat`` does, also late."""
        body = (
            request.model_copy(update={"stream": True, "stream_options": {"include_usage": True}})
            .model_dump_json(exclude_none=True)
            .encode()
        )
        async with (
            self._open(
                "POST",
                "/llm/v1/chat/completions",
                body,
                principal=principal,
                idempotency_key=labels.idempotency_key,
                headers=labels.headers(),
            ) as stream,
            aclosing(lines(stream)) as received,
        ):
            async for line in received:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                chunk = self._parsed(ChatChunk, data)
                if chunk.error is not None:
                    raise ServiceCallFailed(self.service, _in_band_problem(chunk.error), {})
                yield chunk

    async def embed(
        self, model: str, texts: Sequence[str], principal: Principal, labels: CallLabels
    ) -> Embedded:
        """A vector for each text. Raises as ``chat`` does."""
        asked = {"model": model, "input": list(texts), "encoding_format": "float"}
        async with self._open(
            "POST",
            "/llm/v1/embeddings",
            orjson.dumps(asked),
            principal=principal,
            idempotency_key=labels.idempotency_key,
            headers=labels.headers(),
        ) as stream:
            content = await stream.read()
            cost = stream.headers.get(names.LEDGER_COST)
        reply = self._parsed(EmbeddingsReply, content)
        vectors = [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            problem = f"{len(vectors)} vectors came for {len(texts)} texts, or of several lengths."
            raise ServiceCallFailed(self.service, _in_band_problem({"message": problem}), {})
        return Embedded(vectors=vectors, usage=_usage(reply.model, reply.usage, cost))

    async def models(self, principal: Principal) -> ModelList:
        """The models that the principal may use, and the operator's default of each role."""
        return await self._call("GET", "/llm/v1/models", ModelList, principal=principal)

    def _failure(self, status: int, body: bytes, headers: Mapping[str, str]) -> ServiceCallFailed:
        """The gateway answers in OpenAI's error shape; its ``code`` is ours."""
        try:
            error = orjson.loads(body)["error"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            error = None
        if not isinstance(error, dict):
            # What every service answers alike (a body over the limit, a bug) comes as problem details.
            return super()._failure(status, body, headers)
        return ServiceCallFailed(self.service, _in_band_problem(error, status), headers)


def usage_of_chunk(chunk: ChatChunk) -> UsageData:
    """The usage that the last chunk of a stream carries."""
    return _usage(chunk.model, chunk.usage, chunk.signalbox_cost)


def _usage(model: str, usage: Usage | None, cost: str | None) -> UsageData:
    amount, _, currency = (cost or "").partition(" ")
    counted = usage or Usage()
    return UsageData(
        model=model,
        input_tokens=counted.prompt_tokens,
        output_tokens=counted.completion_tokens,
        cached_tokens=counted.cached_tokens,
        cost=amount or None,
        currency=currency or "USD",
    )


def _in_band_problem(error: dict[str, Any], status: int = 502) -> Problem:
    return Problem(
        title="The model call failed",
        status=status,
        code=str(error.get("code") or error.get("type") or "model_error"),
        detail=str(error.get("message") or "The model call failed."),
    )
