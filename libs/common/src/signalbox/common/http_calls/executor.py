"""Carrying out calls: authorised, within the deadline, repeated where that does no harm."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from signalbox.common.context import current_deadline
from signalbox.common.errors import DeadlineExceeded
from signalbox.common.http_calls.auth import Authoriser
from signalbox.common.http_calls.call import HttpCall
from signalbox.common.http_calls.circuits import CircuitOpen, Circuits, Outcome
from signalbox.common.http_calls.errors import CallFailed, FailureCode
from signalbox.common.http_calls.oauth2 import TokenSource
from signalbox.common.http_calls.rendering import RenderedRequest
from signalbox.common.record import record
from signalbox.common.secrets import SecretNotFound, SecretStore
from signalbox.common.transport import (
    Outbound,
    OutboundError,
    OutboundRefused,
    OutboundRequest,
    OutboundResponse,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)

IDEMPOTENCY_HEADER = "Idempotency-Key"
_DOWN = frozenset({500, 502, 503, 504})


@record
class CallResult:
    """What a call gave, and how many attempts it took."""

    output: Any
    attempts: int


class HttpCallExecutor:
    """Sends the requests of a process through the guarded transport; one instance serves all tenants."""

    def __init__(
        self,
        outbound: Outbound,
        secrets: SecretStore,
        *,
        authoriser: Authoriser | None = None,
        circuits: Circuits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._outbound = outbound
        self._authoriser = authoriser or Authoriser(secrets, TokenSource(outbound))
        self._circuits = circuits or Circuits()
        self._sleep = sleep

    async def execute(
        self, call: HttpCall, request: RenderedRequest, *, tenant: str, idempotency_key: str
    ) -> CallResult:
        """The value of the answer.

        A write carries ``idempotency_key`` downstream, the same on each attempt; one that is not repeatable is tried
        again only where nothing of it was sent. An attempt has the call's timeout, all together have what is left of
        the deadline. While the circuit of the call is open nothing is sent.

        Raises:
            CallFailed: there is no such value; ``error`` says why.
        """
        if call.write and not any(name.lower() == IDEMPOTENCY_HEADER.lower() for name in request.headers):
            request = replace(request, headers={**request.headers, IDEMPOTENCY_HEADER: idempotency_key})
        attempt = 0
        before: CallFailed | None = None
        while True:
            attempt += 1
            try:
                return CallResult(await self._attempt(call, request, tenant), attempt)
            except CircuitOpen:
                # What the attempt before met says more, for a write above all.
                if before is None:
                    raise
                raise before from None
            except CallFailed as failure:
                failure.attempts = attempt
                if not _may_repeat(call, failure, attempt):
                    raise
                wait = max(failure.retry_after_s, _backoff(call.backoff_s, attempt))
                if wait >= current_deadline().remaining():
                    raise
                before = failure
                await self._sleep(wait)

    async def _attempt(self, call: HttpCall, request: RenderedRequest, tenant: str) -> Any:
        try:
            authorised = await self._authoriser.authorise(request, call.auth, tenant)
            response = await self._send(call, authorised.request, tenant)
            if response.status == 401 and self._authoriser.forget(call.auth, tenant):
                authorised = await self._authoriser.authorise(request, call.auth, tenant)
                response = await self._send(call, authorised.request, tenant)
        except SecretNotFound as error:
            raise CallFailed("refused", error.detail) from error
        except DeadlineExceeded as error:
            raise CallFailed("timeout", error.detail) from error
        except OutboundError as error:
            raise _failure(error, write=call.write) from error
        return call.mapping.read(response, authorised.secrets, write=call.write)

    async def _send(self, call: HttpCall, request: RenderedRequest, tenant: str) -> OutboundResponse:
        timeout = min(call.timeout_s, current_deadline().check("this call"))
        sent = OutboundRequest(
            request.method, request.url, request.headers, request.body, timeout, call.mapping.max_bytes
        )
        if call.circuit is None:
            return await self._outbound.send(sent)
        circuit = self._circuits.of(tenant, call.name, request.url, call.circuit)
        trial = circuit.enter()
        outcome: Outcome = "unknown"
        try:
            response = await self._outbound.send(sent)
            outcome = "down" if response.status in _DOWN else "up"
        except OutboundError as error:
            outcome = _outcome(error, hurried=timeout < call.timeout_s)
            raise
        finally:
            circuit.leave(outcome, trial=trial)
        return response


def _may_repeat(call: HttpCall, failure: CallFailed, attempt: int) -> bool:
    """Whether to try again: what reached nobody may be repeated whatever it is."""
    return failure.retryable and attempt < call.attempts and (call.repeatable or failure.unsent)


def _outcome(error: OutboundError, *, hurried: bool) -> Outcome:
    """What a failure tells about the other side; one that was not given its whole time may still be well."""
    if isinstance(error, OutboundTimeout):
        return "unknown" if hurried else "down"
    if isinstance(error, OutboundUnreachable):
        return "down"
    return "up" if isinstance(error, OutboundTooLarge) else "unknown"


def _failure(error: OutboundError, *, write: bool) -> CallFailed:
    if isinstance(error, OutboundRefused):
        return CallFailed("refused", error.detail)
    if isinstance(error, OutboundTooLarge):
        # The other side did its work; only what it said about it is lost.
        return CallFailed("unknown_outcome" if write else "too_large", error.detail)
    if write and error.sent:
        return CallFailed("unknown_outcome", error.detail).worth_repeating()
    code: FailureCode = "timeout" if isinstance(error, OutboundTimeout) else "unreachable"
    failure = CallFailed(code, error.detail).worth_repeating()
    failure.unsent = not error.sent
    return failure


def _backoff(first_s: float, attempt: int) -> float:
    """The wait before the attempt after ``attempt``: doubled each time, of which half is chance."""
    whole = first_s * 2.0 ** (attempt - 1)
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
