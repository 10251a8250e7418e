"""Calling Skills again with the same run when a call breaks off: the run goes on, its writes are not repeated."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from signalbox.common.clients import ServiceCallFailed
from signalbox.common.context import current_deadline
from signalbox.common.errors import SignalboxError
from signalbox.common.transport import HopError, HopTimeout, HopUnreachable
from signalbox.contracts.work import SkillResult

_LOG = logging.getLogger(__name__)
_WITHIN_S = 20.0
"""How long a run that was begun is tried again: a service that was killed is started within that time."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 1.0


async def to_its_end(attempt: Callable[[int], Awaitable[SkillResult]]) -> SkillResult:
    """The result of a run. ``attempt`` calls Skills, given how many times it was called, this time included.

    A call that did not reach Skills at all is not made again: nothing was begun, and the user is told at once.

    Raises:
        SignalboxError: the run could not be ended in time.
    """
    number, wait = 1, _FIRST_WAIT_S
    until = 0.0
    while True:
        try:
            return await attempt(number)
        except SignalboxError as error:
            if not _breaks_off(error, first=number == 1):
                raise
            until = until or time.monotonic() + _WITHIN_S
            left = min(until - time.monotonic(), current_deadline().remaining())
            if left <= wait:
                raise
            _LOG.warning("a run broke off and is resumed: %s", error.detail)
        await asyncio.sleep(wait)
        number, wait = number + 1, min(wait * 2, _LONGEST_WAIT_S)


class BrokenOff(SignalboxError):
    """The answer of a run ended without its result."""

    code = "work_failed"
    status = 502


def _breaks_off(error: SignalboxError, *, first: bool) -> bool:
    if isinstance(error, HopTimeout) or (first and isinstance(error, HopUnreachable)):
        return False
    if isinstance(error, HopError | BrokenOff):
        return True
    return not first and isinstance(error, ServiceCallFailed) and error.upstream.status >= 500
