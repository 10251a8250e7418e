"""One model call, from a request body to an answer, with its row in the ledger however it ends."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson
from opentelemetry import trace

from signalbox.common.context import Deadline
from signalbox.common.errors import SignalboxError
from signalbox.common.ids import new_id
from signalbox.contracts import headers as names
from signalbox.contracts.identity import Principal, Scope
from signalbox.llm_gateway.accounting import AttemptAccount, CallAccount
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.deployments import Deployment, UpstreamKind
from signalbox.llm_gateway.errors import AnswerInvalid, NotAChatModel, ProviderBroke, ProviderRefused
from signalbox.llm_gateway.fallbacks import PromptedCall, WrongAnswer, lack_named_by, lacking
from signalbox.llm_gateway.ports import (
    Ledger,
    Operation,
    Upstream,
    UpstreamAnswer,
    UpstreamRequest,
)
from signalbox.llm_gateway.prices import Prices
from signalbox.llm_gateway.protocol import (
    RequestBody,
    Tokens,
    provider_error,
    refusal_in,
    replace_members,
)
from signalbox.llm_gateway.records import Labels
from signalbox.llm_gateway.relay import StreamRelay, relayed


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, why, and until when (None: as long as the deployment allows)."""

    principal: Principal
    labels: Labels
    deadline: Deadline | None = None

    @property
    def is_service(self) -> bool:
        """Whether this is a service of ours, acting for the principal."""
        return self.principal.may(Scope.SERVICE)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way."""

    body: RequestBody
    caller: Caller
    deployment: Deployment
    account: CallAccount

    def request(self, operation: Operation, body: bytes) -> UpstreamRequest:
        timeout = self.deployment.timeout_s
        if self.caller.deadline is not None:
            timeout = min(timeout, self.caller.deadline.check("a model call"))
        return UpstreamRequest(self.deployment, operation, body, timeout)

    def headers(self, cost: str | None = None) -> dict[str, str]:
        """Response headers."""
        headers = {names.LEDGER_CALL_ID: self.account.call_id}
        if cost is not None:
            headers[names.LEDGER_COST] = cost
        if self.account.emulated is not None:
            headers[names.LLM_EMULATED] = self.account.emulated
        return headers


class ModelCalls:
    """Calls models for principals."""

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Mapping[UpstreamKind, Upstream],
        prices: Prices,
        ledger: Ledger,
        tracer: trace.Tracer,
    ) -> None:
        self._catalog = catalog
        self._upstreams = upstreams
        self._prices = prices
        self._ledger = ledger
        self._tracer = tracer

    async def embed(self, body: RequestBody, caller: Caller) -> WholeAnswer:
        """An embeddings request, passed through.

        Raises as ``chat`` does.
        """
        call = await self._begin(body, caller, "embeddings")
        if call.deployment.capabilities.embeddings is False:
            raise NotAChatModel(f"The model '{body.model}' makes no embeddings.", pointer="/model")
        with call.account.failing():
            answer = await self._native(call, "embeddings")
        return self._finished(call, answer)

    async def chat(self, body: RequestBody, caller: Caller) -> WholeAnswer | StreamedAnswer:
        """A chat completion; streamed when the body says so.

        Raises:
            ModelNotFound, NotAChatModel: before anything is called; no row is written.
            LedgerFull: rows wait for the database.
            ProviderRefused, ProviderUnreachable, ProviderTimeout, ProviderBroke, BadDeployment: the provider's side.
            AnswerInvalid: a model without tools or JSON mode failed twice.
            DeadlineExceeded: no time was left for the call.
        """
        call = await self._begin(body, caller, "chat/completions")
        abilities = call.deployment.capabilities
        if not abilities.chat:
            raise NotAChatModel(f"The model '{body.model}' does not chat.", pointer="/model")
        with call.account.failing():
            lacks = lacking(body, tools=abilities.tools, json_mode=abilities.json_mode)
            if not lacks:
                try:
                    if body.stream:
                        return await self._streamed(call)
                    return self._finished(call, await self._native(call, "chat/completions"))
                except ProviderRefused as error:
                    named = lack_named_by(error, body)
                    if named is None:
                        raise
                    self._catalog.learn(call.deployment, lacks=named)
                    lacks = frozenset({named})
            completion = await self._emulated(call, lacks)
        if body.stream:
            return self._written_stream(call, completion)
        return self._finished(call, orjson.dumps(completion.body()))

    async def _begin(self, body: RequestBody, caller: Caller, operation: Operation) -> _Call:
        await self._ledger.admit()
        deployment = await self._catalog.find(body.model)
        account = CallAccount(
            self._ledger,
            self._tracer,
            principal=caller.principal,
            labels=caller.labels,
            operation=operation,
            model=body.model,
            streamed=body.stream,
        )
        return _Call(body, caller, deployment, account)

    def _finished(self, call: _Call, body: bytes) -> WholeAnswer:
        call.account.finish("ok", 200)
        return WholeAnswer(body, call.headers(call.account.cost))

    async def _native(self, call: _Call, operation: Operation) -> bytes:
        """The provider's own answer, whole."""
        deployment = call.deployment
        sent = call.body.for_upstream(
            deployment.provider_model, ask_usage=False, extensions=deployment.extensions
        )
        _, answer, _ = await self._attempt(call, operation, sent)
        if deployment.provider_model == call.body.model:
            return answer
        return replace_members(answer, {"model": orjson.dumps(call.body.model)})

    async def _attempt(
        self, call: _Call, operation: Operation, sent: bytes
    ) -> tuple[AttemptAccount, bytes, dict[str, Any]]:
        """One whole attempt: its account, the answer, and the answer parsed."""
        deployment = call.deployment
        request = call.request(operation, sent)
        attempt = call.account.attempt(deployment, await self._prices.of(deployment), len(sent))
        try:
            answer = await self._upstreams[deployment.kind].send(request)
            parsed = _parsed(answer, deployment)
        except SignalboxError as error:
            problem = error.problem()
            attempt.close("error" if problem.status != 504 else "timeout", problem.status, problem.code)
            raise
        attempt.received(len(answer.body))
        attempt.answered(parsed.get("model"))
        usage = parsed.get("usage")
        if isinstance(usage, dict):
            attempt.reported(usage)
        attempt.close("ok", 200)
        return attempt, answer.body, parsed

    async def _streamed(self, call: _Call) -> StreamedAnswer:
        """The provider's own stream, once its head is there."""
        deployment = call.deployment
        sent = call.body.for_upstream(
            deployment.provider_model,
            ask_usage=deployment.capabilities.stream_usage,
            extensions=deployment.extensions,
        )
        request = call.request("chat/completions", sent)
        attempt = call.account.attempt(deployment, await self._prices.of(deployment), len(sent))
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self._upstreams[deployment.kind].stream(request))
            if stream.status != 200:
                refusal = provider_error(stream.status, stream.headers, await stream.read(), deployment.name)
                attempt.close("error", refusal.problem().status, refusal.problem().code)
                raise refusal
            resources = stack.pop_all()
        relay = StreamRelay(
            attempt,
            model=call.body.model,
            wants_usage=call.body.wants_usage,
            tells_cost=call.caller.is_service,
        )
        return StreamedAnswer(relayed(call.account, relay, stream), call.headers(), call.account, resources)

    async def _emulated(self, call: _Call, lacks: frozenset[str]) -> Completion:
        """An answer of a model that lacks something, prompted, checked and repaired at most once."""
        deployment = call.deployment
        call.account.emulated = ",".join(sorted(lacks))
        json_mode = deployment.capabilities.json_mode is True and "json_mode" not in lacks
        sent = call.body.for_upstream(
            deployment.provider_model, ask_usage=False, extensions=deployment.extensions
        )
        prompted = PromptedCall(RequestBody.parse(sent), lacks, has_json_mode=json_mode)
        failed: tuple[str, str] | None = None
        tokens = Tokens()
        for _ in range(2):
            sent = prompted.request(deployment.provider_model, failed)
            _, _, parsed = await self._attempt(call, "chat/completions", sent)
            usage = parsed.get("usage")
            tokens += Tokens.reported(usage) if isinstance(usage, dict) else Tokens()
            message = _message(parsed, deployment)
            try:
                read = prompted.read(message)
            except WrongAnswer as error:
                failed = (str(message.get("content") or ""), str(error))
                continue
            return Completion(new_id("chatcmpl"), call.body.model, read, tokens)
        reason = failed[1] if failed else ""
        raise AnswerInvalid(
            f"The model '{call.body.model}' lacks {' and '.join(sorted(lacks))} and did not do as prompted "
            f"({reason}) Use a model that has it."
        )

    def _written_stream(self, call: _Call, completion: Completion) -> StreamedAnswer:
        """A finished answer in the form of a stream."""
        call.account.finish("ok", 200)
        cost = call.account.cost

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"".join(
                completion.events(
                    with_usage=call.body.wants_usage, cost=cost if call.caller.is_service else None
                )
            )

        return StreamedAnswer(chunks(), call.headers(cost), call.account, AsyncExitStack())


def _parsed(answer: UpstreamAnswer, deployment: Deployment) -> dict[str, Any]:
    """A provider's whole answer; raises what it says when it is an error."""
    if answer.status != 200:
        raise provider_error(answer.status, answer.headers, answer.body, deployment.name)
    try:
        parsed = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise ProviderBroke(f"'{deployment.name}' answered with something that is not JSON.") from error
    if not isinstance(parsed, dict):
        raise ProviderBroke(f"'{deployment.name}' answered with something that is no JSON object.")
    refusal = refusal_in(parsed, deployment.name)
    if refusal is not None:
        raise refusal
    return parsed


def _message(parsed: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    choices = parsed.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise ProviderBroke(f"'{deployment.name}' answered without a message.")
    return message
