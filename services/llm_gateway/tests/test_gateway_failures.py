import orjson
import pytest

from signalbox.common.errors import DeadlineExceeded
from signalbox.llm_gateway.errors import (
    BadDeployment,
    BudgetExceeded,
    LimitExceeded,
    ProviderBroke,
    ProviderSilent,
    ProviderTimeout,
    ProviderUnreachable,
    UpstreamAccountSpent,
    UpstreamCredentialRefused,
)
from signalbox.llm_gateway.protocol import provider_error, refusal_in
from signalbox.llm_gateway.routing.failures import Then, failure_of


def refused(status, message="no", headers=None, **fields):
    return provider_error(status, headers or {}, orjson.dumps({"error": {"message": message, **fields}}), "d")


@pytest.mark.parametrize(
    ("error", "then", "counts"),
    [
        (ProviderUnreachable("x"), Then.RETRY, True),
        (ProviderSilent("x"), Then.ELSEWHERE, True),
        (ProviderBroke("x"), Then.RETRY, True),
        (ProviderTimeout("x"), Then.ELSEWHERE, True),
        (BadDeployment("x"), Then.ELSEWHERE, True),
        (LimitExceeded("x"), Then.ELSEWHERE, False),
        (BudgetExceeded("x"), Then.FINAL, False),
        (DeadlineExceeded("x"), Then.FINAL, False),
        (refused(500), Then.RETRY, True),
        (refused(502), Then.RETRY, True),
        (refused(503, code="overloaded"), Then.RETRY, True),
        (refused(529), Then.RETRY, True),
        (refused(504), Then.ELSEWHERE, True),
        (refused(501), Then.ELSEWHERE, False),
        (refused(408), Then.RETRY, True),
        (refused(409), Then.RETRY, False),
        (refused(425), Then.RETRY, True),
        (refused(429), Then.RETRY, False),
        (refused(429, code="insufficient_quota"), Then.ELSEWHERE, True),
        (refused(402), Then.ELSEWHERE, True),
        (UpstreamAccountSpent(429, "d", "spent"), Then.ELSEWHERE, True),
        (UpstreamCredentialRefused(403, "d", "maximum context length"), Then.ELSEWHERE, True),
        (refused(401), Then.ELSEWHERE, True),
        (refused(403), Then.ELSEWHERE, True),
        (refused(404), Then.ELSEWHERE, False),
        (refused(400, "'temperature' must be below 2"), Then.FINAL, False),
        (refused(422, "unknown field"), Then.FINAL, False),
        (refused(413, "request too large"), Then.LARGER, False),
        (refusal_in({"error": {"message": "overloaded", "type": "overloaded_error"}}, "d"), Then.RETRY, True),
        (refusal_in({"error": {"message": "slow down", "code": 429}}, "d"), Then.RETRY, False),
    ],
)
def test_each_failure_has_one_consequence(error, then, counts):
    failure = failure_of(error)
    assert (failure.then, failure.counts) == (then, counts)


@pytest.mark.parametrize(
    "error",
    [
        refused(400, code="context_length_exceeded"),
        refused(
            400,
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            code=400,
            type="BadRequestError",
        ),
        refused(400, "prompt is too long: 213462 tokens > 200000 maximum", type="invalid_request_error"),
        refused(400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        refused(
            400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
        ),
        refused(400, "Input is too long for requested model."),
        refused(413, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
        refused(400, "This model's maximum prompt length is 131072 but the request contains 140000 tokens."),
        refused(400, "the request exceeds the available context size", type="exceed_context_size_error"),
        refused(400, "litellm.ContextWindowExceededError: AnthropicException - too much"),
        refused(422, "Current length is 9000 while limit is 8192"),
        refusal_in({"error": {"message": "maximum context length is 8192 tokens"}}, "d"),
    ],
)
def test_a_call_that_is_too_long_is_told_by_the_words_of_each_provider(error):
    assert failure_of(error).then is Then.LARGER


@pytest.mark.parametrize(
    "error",
    [
        refused(400, code="content_filter"),
        refused(400, code="content_policy_violation"),
        refused(400, "The response was filtered by Azure OpenAI's content management policy."),
        refused(400, "Your request was rejected as a result of our safety system."),
        refused(400, "Output blocked by content filtering policy"),
        refused(400, "Input data may contain inappropriate content.", code="data_inspection_failed"),
        refused(403, "openai/gpt-4o requires moderation. Your input was flagged by OpenAI for violence"),
    ],
)
def test_a_content_filter_is_told_by_the_words_of_each_provider(error):
    assert failure_of(error).then is Then.FILTERED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "2", "retry-after-ms": "300"}, 0.3),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_read(headers, seconds):
    for status in (429, 503):
        assert failure_of(refused(status, headers=headers)).retry_after_s == seconds
