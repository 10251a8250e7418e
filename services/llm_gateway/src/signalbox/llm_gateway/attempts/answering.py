"""The last step of a call: attempts, one after the other, until one is answered."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import orjson

from signalbox.common.errors import SignalboxError
from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.answers import StreamedAnswer, WholeAnswer
from signalbox.llm_gateway.attempts.continuation import ContinuedRelay, can_be_continued, with_prefill
from signalbox.llm_gateway.attempts.delivery import Begun, Delivery
from signalbox.llm_gateway.attempts.emulated import emulated
from signalbox.llm_gateway.attempts.hedging import hedged
from signalbox.llm_gateway.attempts.streams import OpenStream, open_stream
from signalbox.llm_gateway.attempts.whole import Providers
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.catalog import Catalog
from signalbox.llm_gateway.completion import Completion
from signalbox.llm_gateway.deployments import Deployment, UpstreamKind
from signalbox.llm_gateway.emulation import lack_named_by, lacking
from signalbox.llm_gateway.errors import ProviderRefused, ProviderTimeout
from signalbox.llm_gateway.money import Prices
from signalbox.llm_gateway.ports import Upstream
from signalbox.llm_gateway.protocol import replace_text
from signalbox.llm_gateway.relay import Sent, StreamRelay
from signalbox.llm_gateway.routing import Course, Turn
from signalbox.llm_gateway.routing.failures import Then, failure_of
from signalbox.llm_gateway.routing.pace import PaceBook

_FAIR_S = 5.0
"""A deployment that was given less time than this by a caller's deadline is not to blame for being late."""

_CLOCK_S = 0.01
"""Timers may be so early."""

Answer = bytes | Completion | OpenStream
Try = Callable[[Turn], Awaitable[Answer]]


class Attempts:
    """Answers calls by the deployments of their plan. ``rng`` and ``clock`` are replaced in tests."""

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Mapping[UpstreamKind, Upstream],
        prices: Prices,
        *,
        keep_content: bool = False,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._providers = Providers(upstreams, prices, keep_content)
        self._rng = rng or random.Random()  # noqa: S311 - spreads load and waits, guards nothing
        self._clock = clock
        self._paces = PaceBook()

    async def answer(self, call: Call) -> WholeAnswer | StreamedAnswer:
        """See ``call.Answering``."""
        course = Course(
            call.plan, self._rng, self._clock, streamed=call.body.stream, deadline=call.caller.deadline
        )
        answer = await self._first(call, course, partial(self._ask, call))
        if isinstance(answer, Begun):
            return self._streaming(call, course, answer)
        if isinstance(answer, Completion):
            if call.body.stream:
                return _written_stream(call, answer)
            answer = orjson.dumps(answer.body())
        call.account.finish("ok", 200)
        return WholeAnswer(answer, call.headers(call.account.cost))

    async def _first(self, call: Call, course: Course, ask: Try) -> bytes | Completion | Begun:
        """The first answer that comes, by whoever's turn it is then. Raises what ``Course.next`` does."""
        while True:
            turn = course.next()
            if turn.wait_s > 0:
                await asyncio.sleep(turn.wait_s)
                if not turn.candidate.health.admits(self._clock()):
                    continue
            hedge = turn.group.rule.hedge
            try:
                if hedge is None:
                    return await self._attempt(call, ask, turn)
                pace = self._paces.of(turn.group.model, hedge, streamed=call.body.stream)
                return await hedged(call, course, turn, pace, partial(self._attempt, call, ask))
            except SignalboxError as error:
                course.failed(turn, error)

    async def _attempt(self, call: Call, ask: Try, turn: Turn) -> bytes | Completion | Begun:
        began = self._clock()
        use = turn.candidate.health.begin()
        try:
            answer = await ask(turn)
        except SignalboxError as error:
            failure = failure_of(error)
            deadline = call.caller.deadline
            spent = deadline is not None and deadline.remaining() < _CLOCK_S
            if spent and isinstance(error, ProviderTimeout) and self._clock() - began < _FAIR_S:
                failure = replace(failure, counts=False)
            use.failed(failure, error.problem().code)
            raise
        except BaseException:
            use.close()
            raise
        use.answered(streamed=isinstance(answer, OpenStream))
        if isinstance(answer, OpenStream):
            return Begun(answer, turn, use)
        use.close()
        return answer

    async def _ask(self, call: Call, turn: Turn) -> Answer:
        deployment = self._catalog.as_learned(turn.candidate.deployment)
        model = turn.group.model
        call.account.emulated = None  # What an earlier deployment lacked is nothing to this one.
        if call.operation == "embeddings":
            return await self._native(call, deployment, model)
        body, able = call.body, deployment.capabilities
        lacks: frozenset[str] = frozenset()
        if able.tools is False or able.json_mode is False:
            lacks = lacking(body, tools=able.tools, json_mode=able.json_mode)
        if not lacks:
            try:
                if body.stream:
                    return await self._stream(call, deployment, model)
                return await self._native(call, deployment, model)
            except ProviderRefused as error:
                named = lack_named_by(error, body)
                if named is None:
                    raise
                self._catalog.learn(deployment, lacks=named)
                lacks = frozenset({named})
        return await emulated(self._providers, call, deployment, model, lacks)

    async def _native(self, call: Call, deployment: Deployment, model: str) -> bytes:
        """The provider's own answer, whole."""
        sent = call.body.for_upstream(
            deployment.provider_model,
            ask_usage=False,
            extensions=deployment.extensions,
            output_cap=call.output_cap,
        )
        answer, parsed = await self._providers.whole(call, deployment, sent)
        named = parsed.get("model")
        if deployment.provider_model == model or not isinstance(named, str):
            return answer
        return replace_text(answer, "model", named, orjson.dumps(model))

    async def _stream(self, call: Call, deployment: Deployment, model: str) -> OpenStream:
        """The provider's own stream."""
        track = can_be_continued(call.body) and call.plan.prefills

        def relay(attempt: AttemptAccount) -> StreamRelay:
            return StreamRelay(
                attempt,
                model=model,
                wants_usage=call.body.wants_usage,
                cost=(lambda: call.account.cost) if call.caller.is_service else None,
                sent=Sent() if track else None,
            )

        return await open_stream(self._providers, call, deployment, _streamed_body(call, deployment), relay)

    def _streaming(self, call: Call, course: Course, begun: Begun) -> StreamedAnswer:
        delivery = Delivery(call, begun, partial(self._continued, call, course))
        resources = AsyncExitStack()
        resources.push_async_callback(delivery.aclose)
        return StreamedAnswer(delivery.chunks(), call.headers(), call.account, resources)

    async def _continued(
        self, call: Call, course: Course, broken: Begun, error: SignalboxError
    ) -> Begun | None:
        """The stream that goes on where ``broken`` ended with ``error``; None where there is none."""
        failure = failure_of(error)
        broken.use.failed(failure, error.problem().code)
        await broken.aclose()
        sent = broken.stream.relay.sent
        text = None if sent is None else sent.text
        if (
            sent is None
            or text is None
            or not text.strip()
            or failure.then not in {Then.RETRY, Then.ELSEWHERE}
        ):
            return None
        course.failed(broken.turn, error)
        course.continue_with_prefill()

        async def ask(turn: Turn) -> OpenStream:
            deployment = turn.candidate.deployment
            body = with_prefill(_streamed_body(call, deployment), deployment, text)
            return await open_stream(
                self._providers,
                call,
                deployment,
                body,
                lambda attempt: ContinuedRelay(
                    attempt,
                    call.account,
                    sent,
                    wants_usage=call.body.wants_usage,
                    cost=(lambda: call.account.cost) if call.caller.is_service else None,
                ),
            )

        try:
            begun = await self._first(call, course, ask)
        except SignalboxError:
            # What broke is what the client must hear of, not why nobody could mend it.
            return None
        return begun if isinstance(begun, Begun) else None


def _streamed_body(call: Call, deployment: Deployment) -> bytes:
    return call.body.for_upstream(
        deployment.provider_model,
        ask_usage=deployment.capabilities.stream_usage,
        extensions=deployment.extensions,
        output_cap=call.output_cap,
    )


def _written_stream(call: Call, completion: Completion) -> StreamedAnswer:
    """A finished answer in the form of a stream."""
    call.account.finish("ok", 200)
    cost = call.account.cost

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"".join(
            completion.events(with_usage=call.body.wants_usage, cost=cost if call.caller.is_service else None)
        )

    return StreamedAnswer(chunks(), call.headers(cost), call.account, AsyncExitStack())
