"""The shop's refusals and how they are written: problem details (RFC 9457).

ShopError
  UnauthorizedError        401  no credential, or the wrong one
  NotFoundError            404  no such order, customer, product, return or refund
  RefusedError             409  the shop's rules do not allow the change in the order's present state
  UnprocessableError       422  the request is well formed but names something the shop cannot use
"""

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every error: RFC 9457 members and `code`, which is stable and made for programs."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


class ShopError(Exception):
    """A refusal with a stable `code` and a `detail` sentence that a customer could be told."""

    status = 500
    title = "Shop error"
    headers: Mapping[str, str] | None = None

    def __init__(self, code: str, detail: str) -> None:
        """Refuse with `code`, for programs, and `detail`, for people."""
        super().__init__(detail)
        self.code = code
        self.detail = detail


class UnauthorizedError(ShopError):
    """The call carries no credential, or the wrong one; `scheme` is what is asked for."""

    status = 401
    title = "Unauthorized"

    def __init__(self, code: str, detail: str, scheme: str = "Bearer") -> None:
        """Refuse with `code` and `detail`, and name the scheme as RFC 9110 wants it."""
        super().__init__(code, detail)
        self.headers = MappingProxyType({"WWW-Authenticate": scheme})


class NotFoundError(ShopError):
    """The thing named in the path does not exist."""

    status = 404
    title = "Not found"


class RefusedError(ShopError):
    """A rule of the shop does not allow the change now."""

    status = 409
    title = "Refused"


class UnprocessableError(ShopError):
    """The request is well formed but cannot be used."""

    status = 422
    title = "Unprocessable"


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Render `problem` with its own status and the media type of RFC 9457."""
    return JSONResponse(problem.model_dump(), problem.status, headers=headers, media_type=MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app`, the framework's own included, a problem-details response."""

    @app.exception_handler(ShopError)
    async def shop_error(_: Request, error: ShopError) -> JSONResponse:
        problem = Problem(title=error.title, status=error.status, detail=error.detail, code=error.code)
        return problem_response(problem, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        return problem_response(
            Problem(title="Invalid request", status=422, detail=faults, code="invalid_request")
        )

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        text = str(error.detail)
        problem = Problem(title=text, status=error.status_code, detail=text, code="http_error")
        return problem_response(problem, error.headers)
