"""HTTP calls of a config over a hand-written `Outbound`: what is sent, what is made of the answer."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from signalbox.common.context import Deadline, RequestContext, enter_request
from signalbox.common.http_calls import CallFailed, HttpCall, HttpCallExecutor
from signalbox.common.http_calls.responses import BadExpression
from signalbox.common.http_calls.retry_after import seconds_to_wait
from signalbox.common.secrets import Secret, SecretNotFound
from signalbox.common.templates import TemplateError, Templates
from signalbox.common.transport import (
    OutboundRefused,
    OutboundRequest,
    OutboundResponse,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from signalbox.contracts.config import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    HmacAuth,
    HttpRequest,
    OAuth2Auth,
    ResponseMapping,
    Retry,
)

PLANTED = "s3cr3t-pl4nted"
Answer = OutboundResponse | Exception


class FakeOutbound:
    """Answers from a list (the last one again and again) and keeps what was sent."""

    def __init__(self, *answers: Answer | Callable[[OutboundRequest], OutboundResponse]) -> None:
        self.answers = list(answers)
        self.sent: list[OutboundRequest] = []

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    async def aclose(self) -> None:
        """Nothing is open."""


class FakeSecrets:
    """One tenant's secrets."""

    def __init__(self, **values: str) -> None:
        self.values = values

    async def get(self, tenant: str, name: str) -> Secret:
        if tenant != "acme" or name not in self.values:
            raise SecretNotFound(f"Secret {name!r} of tenant {tenant!r} is not set.")
        return Secret(self.values[name])


def answer(body: Any, status: int = 200, **headers: str) -> OutboundResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OutboundResponse(status, {"content-type": "application/json", **headers}, content)


def call(request: dict[str, Any] | None = None, **options: Any) -> HttpCall:
    described = {"url": "{{ vars.base }}/orders/{{ arguments.id }}", **(request or {})}
    write = options.pop("write", False)
    return HttpCall(
        HttpRequest(**described),
        Templates(),
        variables={"base": "https://api.example"},
        auth=options.pop("auth", None),
        response=ResponseMapping(**options.pop("response", {})),
        retry=Retry(**{"backoff_ms": 0, **options.pop("retry", {})}),
        timeout_ms=options.pop("timeout_ms", 5000),
        write=write,
        repeatable=options.pop("repeatable", not write),
    )


def values(**arguments: Any) -> dict[str, Any]:
    return {
        "arguments": {"id": 7, **arguments},
        "vars": {"base": "https://api.example"},
        "context": {"language": "zh"},
    }


async def run(
    made: HttpCall, outbound: FakeOutbound, given: dict[str, Any] | None = None, **secrets: str
) -> Any:
    executor = HttpCallExecutor(
        outbound, FakeSecrets(token=PLANTED, **secrets), sleep=lambda _: asyncio.sleep(0)
    )
    return await executor.execute(
        made, made.render(given or values()), tenant="acme", idempotency_key="turn_1/1"
    )


async def failure(made: HttpCall, outbound: FakeOutbound, given: dict[str, Any] | None = None) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await run(made, outbound, given)
    return caught.value


async def test_query_keeps_types_leaves_none_out_and_repeats_lists():
    outbound = FakeOutbound(answer({"ok": True}))
    made = call(
        {
            "query": {
                "status": "{{ arguments.status | default(none) }}",
                "tags": "{{ arguments.tags }}",
                "exact": "{{ arguments.exact }}",
                "lang": "{{ context.language }}-x",
                "limit": 5,
            }
        }
    )
    await run(made, outbound, values(tags=["a b", "c&d"], exact=True))
    assert (
        outbound.sent[0].url
        == "https://api.example/orders/7?tags=a%20b&tags=c%26d&exact=true&lang=zh-x&limit=5"
    )


async def test_a_path_value_stays_one_segment():
    outbound = FakeOutbound(answer({}))
    await run(call(), outbound, values(id="../admin?x=1"))
    assert outbound.sent[0].url == "https://api.example/orders/..%2Fadmin%3Fx%3D1"
    for bad in ("..", "", "."):
        assert (
            await failure(call(), FakeOutbound(answer({})), values(id=bad))
        ).error.code == "invalid_arguments"


async def test_body_placeholders_keep_their_types():
    outbound = FakeOutbound(answer({}))
    body = {
        "n": "{{ arguments.id }}",
        "list": ["{{ arguments.items }}"],
        "text": "no {{ arguments.id }}",
        "gone": "{{ none }}",
    }
    await run(call({"method": "POST", "body": body}, write=True), outbound, values(items=[1, {"a": None}]))
    assert json.loads(outbound.sent[0].body) == {
        "n": 7,
        "list": [[1, {"a": None}]],
        "text": "no 7",
        "gone": None,
    }
    assert outbound.sent[0].headers["Content-Type"] == "application/json"
    form = call(
        {"method": "POST", "body": {"a": "{{ arguments.id }}", "b": None}, "body_format": "form"}, write=True
    )
    await run(form, outbound)
    assert outbound.sent[1].body == b"a=7"


async def test_a_header_value_cannot_carry_a_line_break():
    made = call({"headers": {"X-Name": "{{ arguments.name }}"}})
    assert (
        await failure(made, FakeOutbound(answer({})), values(name="a\r\nX-Evil: 1"))
    ).error.code == "invalid_arguments"


async def test_credentials_of_each_kind():
    body = {"a": 1}
    cases: list[tuple[Any, Callable[[OutboundRequest], bool]]] = [
        (BearerAuth(token="secret:token"), lambda sent: sent.headers["Authorization"] == f"Bearer {PLANTED}"),
        (
            BasicAuth(username="u", password="secret:token"),
            lambda sent: sent.headers["Authorization"] == "Basic dTpzM2NyM3QtcGw0bnRlZA==",
        ),
        (ApiKeyAuth(key="secret:token"), lambda sent: sent.headers["X-API-Key"] == PLANTED),
        (
            ApiKeyAuth(name="key", location="query", key="secret:token"),
            lambda sent: sent.url.endswith(f"?key={PLANTED}"),
        ),
        (
            HmacAuth(secret="secret:token"),
            lambda sent: (
                sent.headers["X-Signature"]
                == hmac.new(
                    PLANTED.encode(), sent.headers["X-Timestamp"].encode() + b"." + sent.body, hashlib.sha256
                ).hexdigest()
            ),
        ),
    ]
    for auth, holds in cases:
        outbound = FakeOutbound(answer({}))
        made = call({"method": "POST", "body": body}, auth=auth, write=True)
        await run(made, outbound)
        assert holds(outbound.sent[0]), auth.type
        assert PLANTED not in json.dumps(made.preview(made.render(values()))), auth.type
        assert "***" in json.dumps(made.preview(made.render(values()))), auth.type


@pytest.mark.parametrize(
    ("signs", "separator", "expected"),
    [
        (["timestamp", "body"], ".", '{t}.{{"n":1}}'),
        (
            ["method", "path", "query", "timestamp", "body"],
            "\n",
            'POST\n/orders/a%2Fb\nq=x%20y&r=1\n{t}\n{{"n":1}}',
        ),
        (["body"], ".", '{{"n":1}}'),
        (["timestamp", "path"], "", "{t}/orders/a%2Fb"),
    ],
)
async def test_a_signature_is_over_what_the_config_names(signs, separator, expected):
    auth = HmacAuth(secret="secret:token", signs=signs, separator=separator)
    outbound = FakeOutbound(answer({}))
    made = call({"method": "POST", "body": {"n": 1}, "query": {"q": "x y", "r": 1}}, auth=auth, write=True)
    await run(made, outbound, values(id="a/b"))
    [sent] = outbound.sent
    text = expected.format(t=sent.headers["X-Timestamp"])
    assert (
        sent.headers["X-Signature"] == hmac.new(PLANTED.encode(), text.encode(), hashlib.sha256).hexdigest()
    )


def test_a_signature_over_nothing_or_the_unknown_is_no_config():
    assert HmacAuth(secret="secret:token").signs == ["timestamp", "body"]
    for signs in ([], ["host"]):
        with pytest.raises(ValidationError):
            HmacAuth(secret="secret:token", signs=signs)


async def test_a_token_endpoint_that_wants_the_client_in_the_form_has_it_there():
    def serve(request: OutboundRequest) -> OutboundResponse:
        if request.url.endswith("/token"):
            return answer({"access_token": "one-token"})
        return answer({"who": request.headers["Authorization"]})

    outbound = FakeOutbound(serve)
    auth = OAuth2Auth(
        token_url="{{ vars.base }}/token", client_id="c&d", client_secret="secret:token",
        client_auth="client_secret_post",
    )  # fmt: skip
    assert (await run(call(auth=auth), outbound)).output == {"who": "Bearer ***"}
    asked = outbound.sent[0]
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"], "client_id": ["c&d"], "client_secret": [PLANTED],
    }  # fmt: skip
    assert "Authorization" not in asked.headers


async def test_a_secret_that_comes_back_is_masked():
    auth = BearerAuth(token="secret:token")
    outbound = FakeOutbound(answer({"echo": f"you sent {PLANTED}"}))
    assert (await run(call(auth=auth), outbound)).output == {"echo": "you sent ***"}
    failed = await failure(call(auth=auth), FakeOutbound(answer({"detail": f"bad token {PLANTED}"}, 403)))
    assert failed.error.detail == "The answer is HTTP 403: bad token ***"


async def test_a_missing_secret_sends_nothing():
    outbound = FakeOutbound(answer({}))
    failed = await failure(call(auth=BearerAuth(token="secret:other")), outbound)
    assert (failed.error.code, outbound.sent) == ("refused", [])


async def test_oauth2_tokens_are_fetched_once_and_again_after_a_401():
    tokens = iter(["one-token", "two-token"])

    def serve(request: OutboundRequest) -> OutboundResponse:
        if request.url == "https://api.example/token":
            assert request.body == b"grant_type=client_credentials&scope=a+b"
            return answer({"access_token": next(tokens), "expires_in": 3600})
        fresh = request.headers["Authorization"] == "Bearer two-token"
        return answer(
            {"who": request.headers["Authorization"]}, 200 if fresh or len(outbound.sent) < 4 else 401
        )

    outbound = FakeOutbound(serve)
    auth = OAuth2Auth(
        token_url="{{ vars.base }}/token", client_id="c", client_secret="secret:token", scopes=["a", "b"]
    )
    made = call(auth=auth)
    executor = HttpCallExecutor(outbound, FakeSecrets(token=PLANTED))
    for _ in range(3):
        result = await executor.execute(made, made.render(values()), tenant="acme", idempotency_key="k")
        assert result.output == {"who": "Bearer ***"}
    fetched = [sent for sent in outbound.sent if sent.url.endswith("/token")]
    assert len(fetched) == 2
    assert len(outbound.sent) == 6


async def test_reads_are_repeated_and_writes_are_not():
    lost = OutboundTimeout("api.example", "too slow")
    outbound = FakeOutbound(lost, answer({}, 503), answer({"n": 1}))
    result = await run(call(retry={"attempts": 3}), outbound)
    assert (result.output, result.attempts) == ({"n": 1}, 3)
    outbound = FakeOutbound(lost)
    failed = await failure(call({"method": "POST"}, write=True, retry={"attempts": 3}), outbound)
    assert (failed.error.code, len(outbound.sent)) == ("unknown_outcome", 1)


async def test_an_idempotent_write_is_repeated_under_one_key():
    outbound = FakeOutbound(OutboundUnreachable("api.example", "broke"), answer({"done": True}))
    made = call({"method": "POST"}, write=True, repeatable=True, retry={"attempts": 2})
    assert (await run(made, outbound)).attempts == 2
    assert {sent.headers["Idempotency-Key"] for sent in outbound.sent} == {"turn_1/1"}


async def test_a_read_carries_no_idempotency_key():
    outbound = FakeOutbound(answer({}))
    await run(call(), outbound)
    assert "Idempotency-Key" not in outbound.sent[0].headers


@pytest.mark.parametrize(
    ("raised", "write", "code"),
    [
        (OutboundRefused("10.0.0.1", "private"), True, "refused"),
        (OutboundTooLarge("h", "too much"), False, "too_large"),
        (OutboundTooLarge("h", "too much"), True, "unknown_outcome"),
        (OutboundTimeout("h", "slow"), False, "timeout"),
        (OutboundTimeout("h", "no connection", sent=False), True, "timeout"),
        (OutboundUnreachable("h", "refused", sent=False), True, "unreachable"),
        (OutboundUnreachable("h", "broke"), True, "unknown_outcome"),
    ],
)
async def test_transport_failures_say_whether_something_may_have_happened(raised, write, code):
    assert (await failure(call(write=write), FakeOutbound(raised))).error.code == code


@pytest.mark.parametrize(
    ("status", "write", "code"),
    [(404, False, "not_found"), (422, True, "upstream_error"), (302, False, "upstream_error"),
     (502, True, "unknown_outcome"), (502, False, "upstream_error"), (500, True, "upstream_error")],
)  # fmt: skip
async def test_statuses(status, write, code):
    failed = await failure(
        call(write=write, retry={"attempts": 1}), FakeOutbound(answer({"detail": "why"}, status))
    )
    assert (failed.error.code, failed.error.http_status) == (code, status)


async def test_mapping():
    body = {"items": [{"id": 1, "x": 2}, {"id": 3}], "error": None}
    assert (await run(call(response={"select": "items[].id"}), FakeOutbound(answer(body)))).output == [1, 3]
    assert (
        await run(call(response={"not_found_is_empty": True}), FakeOutbound(answer({}, 404)))
    ).output is None
    assert (await run(call(response={"error_when": "error"}), FakeOutbound(answer(body)))).output == body
    failed = await failure(
        call(response={"error_when": "error"}), FakeOutbound(answer({"error": {"message": "sold out"}}))
    )
    assert failed.error.detail == "The answer reports an error: sold out"
    assert (await failure(call(), FakeOutbound(answer(b"<html>")))).error.code == "bad_response"
    text = OutboundResponse(200, {"content-type": "text/plain"}, "héllo".encode())
    assert (await run(call(), FakeOutbound(text))).output == "héllo"
    assert (await run(call(), FakeOutbound(OutboundResponse(204, {}, b"")))).output is None


@pytest.mark.parametrize("write", [False, True])
async def test_a_refusal_that_is_an_answer_is_mapped_like_one(write):
    mapping = {"answers": [404, 409], "select": "detail && join('', ['No: ', detail]) || @"}
    no = FakeOutbound(answer({"detail": "not yours"}, 409))
    refused = await run(call(write=write, response=mapping), no)
    assert (refused.output, refused.attempts) == ("No: not yours", 1)
    assert (await run(call(response=mapping), FakeOutbound(answer({"id": 1})))).output == {"id": 1}
    failed = await failure(call(response=mapping), FakeOutbound(answer({"detail": "why"}, 422)))
    assert (failed.error.code, failed.error.http_status) == ("upstream_error", 422)
    reported = call(response={**mapping, "error_when": "detail"})
    told = await failure(reported, FakeOutbound(answer({"detail": "no"}, 404)))
    assert told.error.detail == "The answer reports an error: no"


@pytest.mark.parametrize("status", [200, 302, 401, 408, 429, 500, 503])
def test_only_refusals_can_be_answers(status):
    with pytest.raises(ValueError, match="answers"):
        ResponseMapping(answers=[status])


async def test_max_bytes_and_timeout_reach_the_transport():
    outbound = FakeOutbound(answer({}))
    await run(call(timeout_ms=700, response={"max_bytes": 99}), outbound)
    assert (outbound.sent[0].timeout, outbound.sent[0].max_response_bytes) == (0.7, 99)
    enter_request(RequestContext("r", Deadline.after(0.3)))
    await run(call(timeout_ms=700), outbound)
    assert outbound.sent[1].timeout <= 0.3
    enter_request(RequestContext("r", Deadline.after(0)))
    assert (await failure(call(), outbound)).error.code == "timeout"
    assert len(outbound.sent) == 2


async def test_no_repetition_begins_after_the_deadline():
    enter_request(RequestContext("r", Deadline.after(0.5)))
    outbound = FakeOutbound(answer({}, 503, **{"retry-after": "60"}))
    assert (await failure(call(retry={"attempts": 5}), outbound)).attempts == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 20.0),
        ({"retry-after": "Wednesday, 21-Oct-26 07:28:30 GMT"}, 20.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000"}, 20.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "²"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2026 07:28:30 GMT"}, 0.0),
        ({}, 0.0),
    ],
)
def test_when_to_come_back_is_read_in_seconds_and_as_a_date(headers, seconds):
    now = datetime(2026, 10, 21, 7, 28, 10, tzinfo=UTC).timestamp()
    assert seconds_to_wait(headers, now) == seconds


async def test_a_date_to_come_back_at_is_waited_for():
    dates = {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    outbound = FakeOutbound(answer({}, 503, **dates), answer({"n": 1}))
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    executor = HttpCallExecutor(outbound, FakeSecrets(), sleep=sleep)
    made = call(retry={"attempts": 2})
    enter_request(RequestContext("r", Deadline.after(60)))
    result = await executor.execute(made, made.render(values()), tenant="acme", idempotency_key="k")
    assert (result.output, waited) == ({"n": 1}, [30.0])


def test_what_cannot_work_is_refused_when_it_is_compiled():
    with pytest.raises(BadExpression):
        call(response={"select": "a[["})
    with pytest.raises(TemplateError):
        call({"url": "https://{{ arguments.host }}/x"})
    with pytest.raises(TemplateError):
        call({"body": {"a": ["{{ broken"]}})
