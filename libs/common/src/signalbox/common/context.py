"""What is known about the request being served: its id, its deadline, who asked.

Kept in a context variable, so that logs and outgoing calls have it without passing it through every function.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass

from signalbox.common.errors import DeadlineExceeded

DEFAULT_TIMEOUT_MS = 30_000


@dataclass(slots=True)
class Deadline:
    """A point on the monotonic clock after which nothing new is started."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline ``seconds`` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; never negative."""
        return max(0.0, self.at - time.monotonic())

    def check(self, what: str) -> float:
        """Seconds left to start ``what``.

        Raises:
            DeadlineExceeded: there are none.
        """
        left = self.remaining()
        if left <= 0:
            raise DeadlineExceeded(f"No time is left for {what}; allow more with Signalbox-Timeout-Ms.")
        return left


@dataclass(slots=True)
class RequestContext:
    """The request being served."""

    request_id: str
    deadline: Deadline
    trace_id: str | None = None
    """In hex, for a request that no span is made for; else its span has it."""


_current: ContextVar[RequestContext | None] = ContextVar("signalbox_request", default=None)


def current_request() -> RequestContext | None:
    """The request being served in this task, if any."""
    return _current.get()


def enter_request(context: RequestContext) -> None:
    """Make ``context`` the current one for this task and the tasks that it starts."""
    _current.set(context)


def current_deadline(default_seconds: float = DEFAULT_TIMEOUT_MS / 1000) -> Deadline:
    """The deadline of the request being served; outside of one, ``default_seconds`` from now."""
    context = _current.get()
    return context.deadline if context is not None else Deadline.after(default_seconds)
