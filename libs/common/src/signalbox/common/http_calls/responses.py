"""From an answer to a value, or to a failure that says what to do."""

from collections.abc import Iterable, Mapping
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from signalbox.common.errors import SignalboxError
from signalbox.common.http_calls.errors import RETRYABLE, CallFailed
from signalbox.common.http_calls.retry_after import seconds_to_wait
from signalbox.common.secrets import Secret, redact
from signalbox.common.transport import OutboundResponse
from signalbox.contracts.config import ResponseMapping

_ANSWER_LOST = frozenset({502, 504})
_MAX_EXCERPT = 300


class BadExpression(SignalboxError):
    """A JMESPath expression of the config does not parse."""

    code = "bad_jmespath"


class CompiledMapping:
    """A response mapping with its JMESPath expressions parsed.

    Raises:
        BadExpression: one of them does not parse.
    """

    def __init__(self, mapping: ResponseMapping) -> None:
        self.max_bytes = mapping.max_bytes
        self._not_found_is_empty = mapping.not_found_is_empty
        self._answers = frozenset[int](mapping.answers)
        self._select = _parsed(mapping.select)
        self._error_when = _parsed(mapping.error_when)

    def read(self, response: OutboundResponse, secrets: Iterable[Secret], *, write: bool) -> Any:
        """The value of an answer; every ``secrets`` in it is masked.

        Raises:
            CallFailed: the answer is an error, or not what the mapping expects.
        """
        text = redact(response.body.decode("utf-8", "replace"), secrets)
        if response.status >= 300 and response.status not in self._answers:
            if response.status == 404 and self._not_found_is_empty:
                return None
            raise _status_failure(response, text, write=write)
        return self.value(_parsed_body(text, response.headers.get("content-type", "")), response.status)

    def value(self, body: Any, status: int | None = None) -> Any:
        """What is kept of a body.

        Raises:
            CallFailed: it reports an error, or does not fit the mapping.
        """
        if self._error_when is not None and _is_true(_search(self._error_when, body)):
            reason = _excerpt(body)
            raise CallFailed(
                "upstream_error",
                f"The answer reports an error{': ' + reason if reason else '.'}",
                http_status=status,
            )
        return body if self._select is None else _search(self._select, body)


def _parsed(expression: str | None) -> ParsedResult | None:
    if expression is None:
        return None
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        raise BadExpression(f"The JMESPath expression {expression!r} does not parse: {error}") from error


def _search(expression: ParsedResult, body: Any) -> Any:
    try:
        return expression.search(body)
    except JMESPathError as error:
        raise CallFailed("bad_response", f"The answer does not fit its mapping: {error}") from error


def _is_true(value: Any) -> bool:
    # JMESPath's own rule: empty lists, objects and texts, false and null are false; zero is true.
    return value is not None and value is not False and value not in ("", [], {})


def _parsed_body(text: str, content_type: str) -> Any:
    if not text.strip():
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "json" in content_type.lower():
            raise CallFailed("bad_response", "The answer says that it is JSON, but it is not.") from error
        return text


def _status_failure(response: OutboundResponse, text: str, *, write: bool) -> CallFailed:
    status = response.status
    if status < 400:
        detail = f"The answer is a redirect ({status}); none is followed."
        return CallFailed("upstream_error", detail, http_status=status)
    reason = _excerpt(_lenient(text))
    detail = f"The answer is HTTP {status}{': ' + reason if reason else '.'}"
    if status == 404:
        return CallFailed("not_found", detail, http_status=status)
    if write and status in _ANSWER_LOST:
        failure = CallFailed("unknown_outcome", detail, http_status=status)
    else:
        failure = CallFailed("upstream_error", detail, http_status=status)
    return failure.worth_repeating(seconds_to_wait(response.headers)) if status in RETRYABLE else failure


def _lenient(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _excerpt(body: Any) -> str:
    """What an error body says to people, where it is said in one of the usual members."""
    if not isinstance(body, Mapping):
        return ""
    for name in ("detail", "message", "error_description", "error", "title"):
        value = body.get(name)
        if isinstance(value, Mapping):
            value = value.get("message") or value.get("detail")
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:_MAX_EXCERPT]
    return ""
