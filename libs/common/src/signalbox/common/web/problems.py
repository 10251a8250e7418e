"""The one place where errors become RFC 9457 problem details."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from signalbox.common.context import current_request
from signalbox.common.errors import BadRequest, PayloadTooLarge, SignalboxError, ValidationFailed
from signalbox.common.telemetry.tracing import current_trace_id
from signalbox.contracts.problem import PROBLEM_JSON, Problem, ProblemError

_LOG = logging.getLogger(__name__)

ErrorResponse = Callable[[SignalboxError, str | None], Response]
"""The answer to a request for a path that failed with an error."""

_CODES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing_field",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "too_short": "too_short",
    "string_pattern_mismatch": "bad_value",
}

_SENTENCES = {
    "extra_forbidden": "There is no field of this name here; remove it",
    "missing": "This field is required; add it",
}


class MalformedJson(BadRequest):
    """The body is not JSON."""

    code = "malformed_json"
    title = "Malformed JSON"


class _HttpProblem(SignalboxError):
    """What the framework itself refuses: no such route, method not allowed."""

    def __init__(self, error: HTTPException, path: str) -> None:
        detail, phrase = str(error.detail), HTTPStatus(error.status_code).phrase
        headers = error.headers or {}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{path} takes {headers.get('Allow') or 'another method'} only."
        elif detail == phrase:
            detail = f"{phrase}: there is nothing at {path}."
        super().__init__(detail, headers=headers)
        self._status, self._phrase = error.status_code, phrase

    def problem(
        self, *, instance: str | None = None, request_id: str | None = None, trace_id: str | None = None
    ) -> Problem:
        return Problem(
            title=self._phrase,
            status=self._status,
            code=self._phrase.lower().replace(" ", "_"),
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            trace_id=trace_id,
        )


def problem_of(error: SignalboxError, path: str | None = None) -> Problem:
    """The problem details of an error in the request being served."""
    request = current_request()
    return error.problem(
        instance=path, request_id=request.request_id if request else None, trace_id=current_trace_id()
    )


def problem_response(error: SignalboxError, path: str | None = None) -> Response:
    """The answer to a request that failed with ``error``."""
    problem = problem_of(error, path)
    return Response(
        orjson.dumps(problem.model_dump(exclude_none=True)),
        status_code=problem.status,
        headers=error.headers,
        media_type=PROBLEM_JSON,
    )


def validation_problem(error: RequestValidationError) -> SignalboxError:
    """What FastAPI's validation found, as one error with a pointer per value."""
    found = error.errors()
    for item in found:
        if item["type"] == "json_invalid":
            reason = item.get("ctx", {}).get("error", "")
            return MalformedJson(f"The body is not JSON ({reason} at character {item['loc'][-1]}).")
    errors = [_field_error(item) for item in found]
    return ValidationFailed(
        f"{len(errors)} value(s) in the request are wrong; 'errors' names each.", errors=errors
    )


def http_problem(error: HTTPException, path: str) -> SignalboxError:
    """What the framework refuses, as an error of ours."""
    if isinstance(error.__cause__, SignalboxError):
        # FastAPI says "bad request" of whatever goes wrong while it reads the body.
        return error.__cause__
    if isinstance(error.__cause__, UnicodeDecodeError):
        return MalformedJson("The body is not JSON (it is not UTF-8).")
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return PayloadTooLarge(str(error.detail))
    return _HttpProblem(error, path)


def _methods(request: Request) -> str:
    """Every method of a path (RFC 9110, section 10.2.1): Starlette names those of one of its routes."""
    path = request.scope["path"]
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    first = next((route.path for route in routes if route.path_regex.match(path)), None)
    methods = {method for route in routes if route.path == first for method in route.methods or ()}
    return ", ".join(sorted(methods))


def _field_error(item: dict[str, Any]) -> ProblemError:
    where, *path = item["loc"]
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
    code = _CODES.get(item["type"], "bad_value")
    sentence = _SENTENCES.get(item["type"], item["msg"])
    detail = f"{sentence}." if where == "body" else f"The {where} parameter: {sentence}."
    return ProblemError(pointer=pointer, code=code, detail=detail)


def install_problem_handlers(app: FastAPI, error_response: ErrorResponse = problem_response) -> None:
    """Answer every error of the app with problem details, or with what ``error_response`` makes of it."""

    async def on_signalbox_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, SignalboxError)  # noqa: S101 - registered for this class only
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _LOG.warning("request failed: %s", error.detail, extra={"code": error.code})
        return error_response(error, request.url.path)

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
        return error_response(validation_problem(error), request.url.path)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error = HTTPException(error.status_code, headers={"Allow": _methods(request)})
        return error_response(http_problem(error, request.url.path), request.url.path)

    app.add_exception_handler(SignalboxError, on_signalbox_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_error)
