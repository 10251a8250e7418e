"""One attempt at an answer that comes whole."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.record import record
from signalbox.llm_gateway.accounting import AttemptAccount
from signalbox.llm_gateway.call import Call
from signalbox.llm_gateway.deployments import Deployment, UpstreamKind
from signalbox.llm_gateway.errors import OperatorsRefusal, ProviderBroke, ProviderRefused
from signalbox.llm_gateway.money import Prices, worst_case
from signalbox.llm_gateway.ports import Operation, Upstream, UpstreamAnswer, UpstreamRequest
from signalbox.llm_gateway.protocol import provider_error, refusal_in
from signalbox.llm_gateway.telemetry import Content, redacted

_LOG = logging.getLogger(__name__)

_MAX_LOGGED = 500
"""Characters of a provider's sentence."""


@record
class Providers:
    """What an attempt is made with."""

    upstreams: Mapping[UpstreamKind, Upstream]
    prices: Prices
    keep_content: bool = False
    """Whether spans are to have what was said."""

    async def begin(
        self, call: Call, deployment: Deployment, sent: bytes
    ) -> tuple[UpstreamRequest, AttemptAccount]:
        """The request that is to be made, and its account.

        Raises:
            LimitExceeded, BudgetExceeded: as ``Ticket.attempt`` says; nothing is to be made.
            DeadlineExceeded: no time is left for it.
        """
        account = call.account
        terms = self.prices.known(deployment) or await self.prices.terms(deployment)
        # The first attempt is what was reserved for the call.
        worst = worst_case(call.asked, [(deployment, terms)]) if account.tried else call.worst
        slot = await call.ticket.attempt(deployment, worst, spent_pico=account.spent_pico)
        try:
            request = call.upstream_request(deployment, sent)
        except DeadlineExceeded:
            slot.free()
            raise
        attempt = account.attempt(deployment, terms.price, len(sent), slot)
        attempt.at_most_pico = worst.cost_pico or 0
        if self.keep_content:
            attempt.content = Content(sent)
        return request, attempt

    async def whole(self, call: Call, deployment: Deployment, sent: bytes) -> tuple[bytes, dict[str, Any]]:
        """A whole answer to ``sent``: its bytes, and what they say. Raises what the provider's side fails with."""
        request, attempt = await self.begin(call, deployment, sent)
        try:
            answer = await self.upstreams[deployment.kind].send(request)
            parsed = _parsed(answer, deployment)
            _check_answer(parsed, request.operation, deployment)
        except SignalboxError as error:
            close_failed(attempt, error)
            raise
        attempt.received(len(answer.body))
        attempt.answered(parsed.get("model"))
        if attempt.content is not None:
            attempt.content.add(parsed)
        usage = parsed.get("usage")
        if isinstance(usage, dict):
            attempt.reported(usage)
        attempt.close("ok", 200)
        return answer.body, parsed


def _check_answer(parsed: Mapping[str, Any], operation: Operation, deployment: Deployment) -> None:
    """Raise ProviderBroke for an object that is no answer: no client could read it, and somebody else may answer."""
    if operation == "embeddings":
        if not isinstance(parsed.get("data"), list):
            raise ProviderBroke(f"'{deployment.name}' answered without 'data'; try again.")
        return
    choices = parsed.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ProviderBroke(f"'{deployment.name}' answered without 'choices'; try again.")


def close_failed(attempt: AttemptAccount, error: SignalboxError) -> None:
    """The attempt ended with ``error``. Its row has the provider's own status, whatever the caller is told."""
    problem = error.problem()
    status = error.provider_status if isinstance(error, ProviderRefused) else problem.status
    if isinstance(error, OperatorsRefusal):
        _LOG.warning(
            "%s refuses the gateway: %s",
            attempt.deployment.name,
            error.code,
            extra={"provider_status": status, "provider_said": redacted(error.said[:_MAX_LOGGED])},
        )
    attempt.close("error" if problem.status != 504 else "timeout", status, problem.code)


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
