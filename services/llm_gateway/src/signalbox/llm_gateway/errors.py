"""What a model call can fail with.

::

    SignalboxError
    ├── BadRequest
    │   ├── MalformedCall          400  the body is no chat or embeddings request
    │   ├── NotAChatModel          400  the model cannot do what the endpoint is for
    │   ├── WrongCorrection        400  what a call's cost is to be corrected by cannot be true of it
    │   ├── PreviousNotFound       400  the response that is to be continued is not there, or not whole
    │   └── NotInBackground        400  only responses in the background can be cancelled or followed
    ├── NotFound
    │   ├── ModelNotFound          404  no deployment has the name
    │   ├── RuleNotFound           404  the tenant has no limit or budget of its own of this name
    │   ├── CallNotFound           404  the tenant's ledger has no such call
    │   └── ResponseNotFound       404  no such response, or not the caller's
    ├── ValidationFailed
    │   └── IdempotencyKeyReused   422  the Idempotency-Key was used with another body
    ├── Conflict
    │   ├── DeclaredInFile         409  the gateway's file has a rule of this name, which goes before
    │   ├── IdempotencyInProgress  409  the first call with the Idempotency-Key is still being answered
    │   └── IdempotencyNotReplayable 409  it was made, and its answer is too large to be kept
    ├── Unavailable
    │   ├── IdempotencyUnavailable 503  keys cannot be looked up, and a setting says that no call is made then
    │   ├── BackgroundFull         503  too many responses run in the background
    │   ├── LimitsUnavailable      503  limits cannot be counted, and a policy says that no call is made then
    │   ├── LedgerFull             503  calls cannot be accounted for now, so none is started
    │   ├── ModelNotAsked       503  the model asked for was left alone, and its fallbacks failed
    │   └── ProviderUnreachable    503  no connection to the provider
    │       └── ProviderSilent     503  none came about in time
    ├── RateLimited
    │   ├── AllCoolingDown         429  every provider of the model has asked to be left alone for a while
    │   ├── LimitExceeded          429  a limit has no room; Retry-After says when it has
    │   └── BudgetExceeded         429  what the call may cost does not fit a budget
    ├── Forbidden
    │   ├── ModelNotAllowed        403  the key is for other models
    │   └── UnpricedModel          403  a hard budget applies, and the model has no price
    ├── RequestTooSlow             408  the rest of a request did not come
    ├── ProviderTimeout            504  the provider took longer than it may
    ├── ProviderBroke              502  the provider's answer broke off or is none
    ├── AnswerInvalid              502  a model without tools or JSON mode failed the prompted fallback twice
    ├── ResponseInterrupted        500  the process that worked on a background response is gone
    ├── BadDeployment              500  a deployment's settings cannot work
    └── ProviderRefused                 the provider's own error: its status, message and code
        └── OperatorsRefusal       it is about the gateway's own account: an error of ours
            ├── UpstreamCredentialRefused 502  the provider refused the gateway's credential
            └── UpstreamAccountSpent      503  what the gateway's account paid for is used up
"""

import math
from collections.abc import Mapping
from typing import ClassVar

from signalbox.common.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    SignalboxError,
    Unavailable,
    ValidationFailed,
)
from signalbox.contracts.problem import Problem

_MAX_IN_SHORT = 200
"""Characters of one error's sentence inside that of another."""


class MalformedCall(BadRequest):
    """The body is not a request that this endpoint understands."""

    code: ClassVar[str] = "malformed_request"


class NotAChatModel(BadRequest):
    """The model cannot do what the endpoint is for."""

    code: ClassVar[str] = "model_cannot"


class WrongCorrection(BadRequest):
    """A correction is in another currency than the call's cost, or takes away more than that."""

    code: ClassVar[str] = "correction_wrong"


class ModelNotFound(NotFound):
    """No deployment has the name."""

    code: ClassVar[str] = "model_not_found"


class RuleNotFound(NotFound):
    """The tenant has no limit or budget of its own of this name."""

    code: ClassVar[str] = "rule_not_found"


class CallNotFound(NotFound):
    """The tenant's ledger has no such call."""

    code: ClassVar[str] = "call_not_found"


class DeclaredInFile(Conflict):
    """The gateway's file has a rule of this name, which goes before one that is stored."""

    code: ClassVar[str] = "declared_in_file"


class PreviousNotFound(BadRequest):
    """The response that is to be continued is not there, or has no answer that could be continued."""

    code: ClassVar[str] = "previous_response_not_found"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, pointer="/previous_response_id")


class NotInBackground(BadRequest):
    """Only responses that were created with ``background: true`` can be cancelled or followed."""

    code: ClassVar[str] = "not_in_background"


class ResponseNotFound(NotFound):
    """There is no such response, or it is not the caller's."""

    code: ClassVar[str] = "response_not_found"


class BackgroundFull(Unavailable):
    """This process works on as many background responses as it may."""

    code: ClassVar[str] = "background_full"


class ResponseInterrupted(SignalboxError):
    """The process that worked on a background response stopped or died."""

    code: ClassVar[str] = "response_interrupted"


class AllCoolingDown(RateLimited):
    """Every provider of the model has asked to be left alone; ``Retry-After`` says when the first may be asked."""

    code: ClassVar[str] = "all_cooling_down"

    def __init__(self, model: str, wait_s: float) -> None:
        super().__init__(
            f"Every provider of '{model}' has asked to be left alone for a while; come again in {wait_s:.0f} s.",
            headers={"Retry-After": str(math.ceil(wait_s))},
        )


class LimitExceeded(RateLimited):
    """A limit has no room for the call; ``Retry-After`` says when it has, and the sentence names it."""

    code: ClassVar[str] = "limit_exceeded"


class BudgetExceeded(RateLimited):
    """What the call may cost does not fit into what is left of a budget, which the sentence names."""

    code: ClassVar[str] = "budget_exceeded"


class ModelNotAllowed(Forbidden):
    """The key is for other models."""

    code: ClassVar[str] = "model_not_allowed"


class UnpricedModel(Forbidden):
    """A hard budget applies, and nobody has said what the model costs."""

    code: ClassVar[str] = "model_unpriced"


class LimitsUnavailable(Unavailable):
    """What counts limits and budgets cannot be reached, and a policy says that no call is made uncounted."""

    code: ClassVar[str] = "limits_unavailable"


class LedgerFull(Unavailable):
    """Rows wait for the database; a call that could not be accounted for is not started."""

    code: ClassVar[str] = "ledger_unavailable"


class IdempotencyKeyReused(ValidationFailed):
    """The Idempotency-Key was used with another body."""

    code: ClassVar[str] = "idempotency_key_reused"


class IdempotencyInProgress(Conflict):
    """The first call with the Idempotency-Key is still being answered; ``Retry-After`` says when to come again."""

    code: ClassVar[str] = "idempotency_in_progress"


class IdempotencyNotReplayable(Conflict):
    """The call was made and paid for, and what it got is not kept."""

    code: ClassVar[str] = "idempotency_not_replayable"


class IdempotencyUnavailable(Unavailable):
    """Whether the key was used cannot be looked up, so no call was made."""

    code: ClassVar[str] = "idempotency_unavailable"


class ModelNotAsked(Unavailable):
    """The model asked for was not asked, as its providers are left alone now, and its fallbacks failed.

    ``why`` says why it was not asked, ``fallbacks`` what each one failed with; ``wait_s``: when one may answer again.
    """

    code: ClassVar[str] = "model_not_asked"

    def __init__(self, model: str, why: str, fallbacks: Mapping[str, SignalboxError], wait_s: float) -> None:
        failed = "; ".join(f"'{name}': {_in_short(error)}" for name, error in fallbacks.items())
        wait = max(1, math.ceil(wait_s))
        super().__init__(
            f"'{model}' was not asked, as {why}, and its fallbacks failed ({failed}). Come again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )


SAID_ONCE = (LimitsUnavailable, LedgerFull)
"""Errors of whole times, not of calls: the log has a line when such a time begins, not one for each call in it."""


class ProviderUnreachable(Unavailable):
    """No connection to the provider, or it ended before an answer began."""

    code: ClassVar[str] = "provider_unreachable"


class ProviderSilent(ProviderUnreachable):
    """It did not even accept a connection in time; asking it again would only take as long again."""


class RequestTooSlow(SignalboxError):
    """The head or the body of a request did not come in time."""

    code: ClassVar[str] = "request_timeout"
    status: ClassVar[int] = 408
    title: ClassVar[str] = "Request timed out"


class ProviderTimeout(SignalboxError):
    """The provider took longer than the deployment or the caller's deadline allows."""

    code: ClassVar[str] = "provider_timeout"
    status: ClassVar[int] = 504
    title: ClassVar[str] = "Provider timed out"


class ProviderBroke(SignalboxError):
    """The provider's answer broke off, or is not what the protocol says."""

    code: ClassVar[str] = "provider_broke_off"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "Provider broke off"


class AnswerInvalid(SignalboxError):
    """A model without tools or JSON mode did not give what was prompted, also not when told what was wrong."""

    code: ClassVar[str] = "model_answer_invalid"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "Model answer invalid"


class BadDeployment(SignalboxError):
    """A deployment's settings cannot work; the sentence says which one to change."""

    code: ClassVar[str] = "bad_deployment"


def _in_short(error: SignalboxError) -> str:
    problem = error.problem()
    return f"{problem.status} {problem.code}: {(problem.detail or '')[:_MAX_IN_SHORT]}"


def internal_error() -> SignalboxError:
    """What the client is told of a bug."""
    return SignalboxError("Something went wrong on our side; the request id finds it.")


class ProviderRefused(SignalboxError):
    """The provider answered with an error, which is passed on: status, message, type and code."""

    code: ClassVar[str] = "provider_error"

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        provider_code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, headers=headers)
        self.provider_status = status
        self.provider_code = provider_code
        self.kind = kind
        self.param = param

    def problem(
        self, *, instance: str | None = None, request_id: str | None = None, trace_id: str | None = None
    ) -> Problem:
        """The provider's error as problem details."""
        return Problem(
            type=f"urn:signalbox:problem:{self.code}",
            title="The provider refused the call",
            status=self.provider_status,
            code=self.provider_code or self.code,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            trace_id=trace_id,
        )


class OperatorsRefusal(ProviderRefused):
    """The provider refused the gateway itself, whoever calls: nothing that the caller could mend.

    ``provider_status`` is the provider's; the caller gets ours, and none of the provider's words (``said``), which may
    show whose account it is or a part of the key: they are for the log.
    """

    sentence: ClassVar[str]

    def __init__(
        self, status: int, deployment: str, said: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(
            status,
            f"The provider of '{deployment}' {self.sentence} Your key is not at fault; the gateway's operator "
            "finds the provider's words in its log.",
            headers=headers,
        )
        self.said = said

    def problem(
        self, *, instance: str | None = None, request_id: str | None = None, trace_id: str | None = None
    ) -> Problem:
        """An error of ours."""
        problem = super().problem(instance=instance, request_id=request_id, trace_id=trace_id)
        return problem.model_copy(update={"status": self.status, "title": self.title})


class UpstreamCredentialRefused(OperatorsRefusal):
    """The provider refused the credential that the gateway has for it (401, 403)."""

    code: ClassVar[str] = "upstream_credential_refused"
    status: ClassVar[int] = 502
    title: ClassVar[str] = "Gateway credential refused"
    sentence: ClassVar[str] = "refused the gateway's own credential."


class UpstreamAccountSpent(OperatorsRefusal):
    """What the operator paid the provider for is used up (402, or 429 with such a code)."""

    code: ClassVar[str] = "upstream_account_spent"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "Gateway account spent"
    sentence: ClassVar[str] = "has no credit left for the gateway."
