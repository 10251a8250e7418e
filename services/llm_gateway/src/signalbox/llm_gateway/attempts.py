"""Attempts at providers that become one answer."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.common.ids import new_id
from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.deployments import Deployment, UpstreamKind
from signalbox.llm_gateway.errors import AnswerInvalid, ProviderBroke, ProviderRefused
from signalbox.llm_gateway.fallbacks import PromptedCall, WrongAnswer, lack_named_by, lacking
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.ports import Upstream, UpstreamAnswer
from signalbox.llm_gateway.protocol import (
    RequestBody,
    Tokens,
    provider_error,
    refusal_in,
    replace_members,
)
from signalbox.llm_gateway.relay import StreamRelay, relayed


class Attempts:
    """Answers calls by the deployments of their plan."""

    def __init__(self, catalog: Catalog, upstreams: Mapping[UpstreamKind, Upstream], prices: Prices) -> None:
        self._catalog = catalog
        self._upstreams = upstreams
        self._prices = prices

    async def answer(self, call: Call) -> WholeAnswer | StreamedAnswer:
        """See ``call.Answering``."""
        if call.operation == "embeddings":
            return self._finished(call, await self._native(call))
        body, abilities = call.body, call.plan.first.capabilities
        lacks = lacking(body, tools=abilities.tools, json_mode=abilities.json_mode)
        if not lacks:
            try:
                if body.stream:
                    return await self._streamed(call)
                return self._finished(call, await self._native(call))
            except ProviderRefused as error:
                named = lack_named_by(error, body)
                if named is None:
                    raise
                self._catalog.learn(call.plan.first, lacks=named)
                lacks = frozenset({named})
        completion = await self._emulated(call, lacks)
        if body.stream:
            return self._written_stream(call, completion)
        return self._finished(call, orjson.dumps(completion.body()))

    def _finished(self, call: Call, body: bytes) -> WholeAnswer:
        call.account.finish("ok", 200)
        return WholeAnswer(body, call.headers(call.account.cost))

    async def _native(self, call: Call) -> bytes:
        """The provider's own answer, whole."""
        deployment = call.plan.first
        sent = call.body.for_upstream(
            deployment.provider_model,
            ask_usage=False,
            extensions=deployment.extensions,
            output_cap=call.output_cap,
        )
        _, answer, _ = await self._attempt(call, sent)
        if deployment.provider_model == call.body.model:
            return answer
        return replace_members(answer, {"model": orjson.dumps(call.body.model)})

    async def _attempt(self, call: Call, sent: bytes) -> tuple[AttemptAccount, bytes, dict[str, Any]]:
        """One whole attempt: its account, the answer, and the answer parsed."""
        deployment = call.plan.first
        request = call.upstream_request(deployment, sent)
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

    async def _streamed(self, call: Call) -> StreamedAnswer:
        """The provider's own stream, once its head is there."""
        deployment = call.plan.first
        sent = call.body.for_upstream(
            deployment.provider_model,
            ask_usage=deployment.capabilities.stream_usage,
            extensions=deployment.extensions,
            output_cap=call.output_cap,
        )
        request = call.upstream_request(deployment, sent)
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

    async def _emulated(self, call: Call, lacks: frozenset[str]) -> Completion:
        """An answer of a model that lacks something, prompted, checked and repaired at most once."""
        deployment = call.plan.first
        call.account.emulated = ",".join(sorted(lacks))
        json_mode = deployment.capabilities.json_mode is True and "json_mode" not in lacks
        sent = call.body.for_upstream(
            deployment.provider_model,
            ask_usage=False,
            extensions=deployment.extensions,
            output_cap=call.output_cap,
        )
        prompted = PromptedCall(RequestBody.parse(sent), lacks, has_json_mode=json_mode)
        failed: tuple[str, str] | None = None
        tokens = Tokens()
        for _ in range(2):
            sent = prompted.request(deployment.provider_model, failed)
            _, _, parsed = await self._attempt(call, sent)
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

    def _written_stream(self, call: Call, completion: Completion) -> StreamedAnswer:
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
