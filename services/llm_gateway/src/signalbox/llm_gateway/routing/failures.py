"""What a failed attempt means for the call: one table for every provider.

Sources of codes and words: OpenAI, "Error codes"; Azure OpenAI, "Content filtering"; Anthropic, "Errors"; vLLM,
llama.cpp, Gemini, Bedrock, Mistral, Cohere, xAI and OpenRouter by what their servers answer.
"""

import re
import time
from email.utils import parsedate_to_datetime
from enum import StrEnum

from signalbox.common.errors import DeadlineExceeded, SignalboxError
from signalbox.common.record import record
from signalbox.llm_gateway.errors import (
    AnswerInvalid,
    BadDeployment,
    BudgetExceeded,
    LimitExceeded,
    LimitsUnavailable,
    OperatorsRefusal,
    ProviderBroke,
    ProviderRefused,
    ProviderSilent,
    ProviderTimeout,
    ProviderUnreachable,
)
from signalbox.llm_gateway.protocol.refusals import codes_of, is_filtered


class Then(StrEnum):
    """What may be done after a failed attempt."""

    RETRY = "retry"
    """The same deployment may answer next time, and so may any other."""
    ELSEWHERE = "elsewhere"
    """This one will not answer this call; another one may."""
    LARGER = "larger"
    """The call is too long for the model."""
    FILTERED = "filtered"
    """A content filter refused: only models that are named for that may be asked."""
    FINAL = "final"
    """Every deployment of the model would say the same."""


@record
class Failure:
    """``counts``: held against the deployment. ``ours``: the operator's side is wrong, not the call or the provider."""

    then: Then
    counts: bool
    ours: bool = False
    retry_after_s: float | None = None


_RETRY = Failure(Then.RETRY, counts=True)
_ELSEWHERE = Failure(Then.ELSEWHERE, counts=True)
_OURS = Failure(Then.ELSEWHERE, counts=True, ours=True)
_FINAL = Failure(Then.FINAL, counts=False)
_LARGER = Failure(Then.LARGER, counts=False)
_FILTERED = Failure(Then.FILTERED, counts=False)

_BY_ERROR: tuple[tuple[type[SignalboxError], Failure], ...] = (
    (ProviderSilent, _ELSEWHERE),
    (ProviderUnreachable, _RETRY),
    (ProviderBroke, _RETRY),
    (ProviderTimeout, _ELSEWHERE),
    (BadDeployment, _OURS),
    (AnswerInvalid, Failure(Then.ELSEWHERE, counts=False)),
    (LimitExceeded, Failure(Then.ELSEWHERE, counts=False)),
    (BudgetExceeded, _FINAL),
    (LimitsUnavailable, _FINAL),
    (DeadlineExceeded, _FINAL),
)

_BY_STATUS = {
    404: Failure(Then.ELSEWHERE, counts=False, ours=True),
    408: _RETRY,
    409: Failure(Then.RETRY, counts=False),
    413: _LARGER,
    425: _RETRY,
    501: Failure(Then.ELSEWHERE, counts=False),
    504: _ELSEWHERE,
}
"""429 is told apart below; of the rest, below 500 is final and above is tried again."""

_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG = re.compile(
    r"maximum (?:context|prompt|model) length|context[ _](?:length|window|size|limit)|prompt is too long"
    r"|input is too long|(?:input )?token count[^.]{0,40}exceeds|too many (?:input )?tokens|reduce the length"
    r"|tokens in the prompt cannot exceed|maximum number of tokens allowed|tokens exceed the configured limit"
    r"|current length is \d+ while limit is|`inputs` tokens \+ `max_new_tokens` must be|maximum input length is"
    r"|ContextWindowExceeded",
    re.IGNORECASE,
)
_WORDS_COUNT = frozenset({400, 403, 413, 422, 500, 502})
"""Statuses by which providers refuse a call for what is in it; in a stream there is none, and 502 stands for it."""


def failure_of(error: SignalboxError) -> Failure:
    """What ``error``, which ended an attempt, means."""
    if isinstance(error, ProviderRefused):
        return _refused(error)
    for kind, failure in _BY_ERROR:
        if isinstance(error, kind):
            return failure
    return _FINAL


def _refused(error: ProviderRefused) -> Failure:
    if isinstance(error, OperatorsRefusal):
        return _OURS
    status = error.provider_status
    codes = codes_of(error.provider_code, error.kind)
    words = error.detail if status in _WORDS_COUNT else ""
    if is_filtered(codes, words):
        return _FILTERED
    if codes & _TOO_LONG_CODES or (words and status != 403 and _TOO_LONG.search(words)):
        return _LARGER
    if status == 429:
        return Failure(Then.RETRY, counts=False, retry_after_s=retry_after_s(error))
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 500:
        return _FINAL
    wait = retry_after_s(error)
    return _RETRY if wait is None else Failure(Then.RETRY, counts=True, retry_after_s=wait)


def retry_after_s(error: SignalboxError) -> float | None:
    """The wait that a provider asks for: ``retry-after-ms``, else ``Retry-After`` in seconds or as a date."""
    headers = {name.lower(): value for name, value in error.headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError):
        return None
