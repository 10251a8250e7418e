"""The one base class of every error that reaches a client, and the ones that all services share.

::

    SignalboxError
    ├── BadRequest            400  malformed request
    ├── Unauthenticated       401  no usable credential
    ├── Forbidden             403  the credential lacks a scope
    ├── NotFound              404
    ├── Conflict              409  the state has moved on; nothing was written
    ├── PayloadTooLarge       413
    ├── ValidationFailed      422  one error per wrong value, each with a pointer
    ├── RateLimited           429
    ├── Unavailable           503  a dependency cannot be reached
    └── DeadlineExceeded      504

A service adds its own in its ``errors.py``. ``code`` is stable and part of the API.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from signalbox.contracts.problem import Problem, ProblemError


class SignalboxError(Exception):
    """Base of all errors with a meaning for the caller.

    ``detail`` is one sentence that says what to do. ``headers`` are added to the answer.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        errors: Sequence[ProblemError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = list(errors)
        if pointer is not None:
            self.errors.append(ProblemError(pointer=pointer, code=self.code, detail=detail))

    def problem(
        self, *, instance: str | None = None, request_id: str | None = None, trace_id: str | None = None
    ) -> Problem:
        """The error as RFC 9457 problem details."""
        return Problem(
            type=f"urn:signalbox:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            trace_id=trace_id,
            errors=self.errors,
        )


class BadRequest(SignalboxError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400
    title = "Bad request"


class Unauthenticated(SignalboxError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "unauthenticated"
    status = 401
    title = "Unauthenticated"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(SignalboxError):
    """The credential is good but does not allow this."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class NotFound(SignalboxError):
    """There is no such thing for this principal."""

    code = "not_found"
    status = 404
    title = "Not found"


class Conflict(SignalboxError):
    """The state has moved on; nothing was written."""

    code = "conflict"
    status = 409
    title = "Conflict"


class PayloadTooLarge(SignalboxError):
    """The body is larger than this endpoint reads."""

    code = "payload_too_large"
    status = 413
    title = "Payload too large"


class ValidationFailed(SignalboxError):
    """One or more values are wrong; ``errors`` names each."""

    code = "validation_failed"
    status = 422
    title = "Validation failed"


class RateLimited(SignalboxError):
    """A limit is reached; the ``Retry-After`` header says when to come back."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"


class Unavailable(SignalboxError):
    """A dependency cannot be reached; the same request may succeed later."""

    code = "unavailable"
    status = 503
    title = "Service unavailable"


class DeadlineExceeded(SignalboxError):
    """The time that the caller gave is used up."""

    code = "deadline_exceeded"
    status = 504
    title = "Deadline exceeded"
