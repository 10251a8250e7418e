"""Circuit breakers: calls to what keeps failing are not made for a while, so that nobody waits for a failure.

One circuit per tenant, operation and origin, in the memory of one process: replicas find out each for itself, and none
waits for another to tell it. An operation that always fails does not hold back its neighbours on the same host.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from signalbox.common.http_calls.errors import CallFailed
from signalbox.contracts.config import CircuitBreaker

_LOG = logging.getLogger(__name__)
_KEPT = 10_000
_BUCKETS = 10
"""A window is counted in tenths of itself, and forgotten a tenth at a time."""

Outcome = Literal["up", "down", "unknown"]
"""What one attempt told about the other side; ``unknown`` where the attempt was given up from here."""


class CircuitOpen(CallFailed):
    """The call was not made, because those before it failed."""

    def __init__(self, origin: str, wait_s: float) -> None:
        super().__init__(
            "unreachable",
            f"{origin} has failed repeatedly; nothing was sent. It is tried again in {max(1, round(wait_s))} s.",
            attempts=0,
        )


class Circuit:
    """The last attempts at one operation.

    *Closed*: attempts are made and counted. *Open*: none is made. After ``open_seconds`` one attempt is let through,
    and what it meets closes the circuit or opens it again.
    """

    def __init__(
        self, rules: CircuitBreaker, origin: str, clock: Callable[[], float], opened: Callable[[], None]
    ) -> None:
        self._rules = rules
        self._origin = origin
        self._clock = clock
        self._opened = opened
        self._width = rules.window_seconds / _BUCKETS
        self._counts: deque[tuple[int, list[int]]] = deque()
        self._open_until: float | None = None
        self._trying = False

    def enter(self) -> bool:
        """Before an attempt, which is followed by one ``leave``; true for the one that is let through an open circuit.

        Raises:
            CircuitOpen: none may be made now.
        """
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._trying:
            raise CircuitOpen(self._origin, max(left, 0.0))
        self._trying = True
        return True

    def leave(self, outcome: Outcome, *, trial: bool) -> None:
        """After an attempt; ``trial`` is what ``enter`` said."""
        if trial:
            self._tried(outcome)
        elif self._open_until is None and outcome != "unknown":
            self._count(down=outcome == "down")

    def _count(self, *, down: bool) -> None:
        bucket = int(self._clock() / self._width)
        if not self._counts or self._counts[-1][0] != bucket:
            self._counts.append((bucket, [0, 0]))
        self._counts[-1][1][down] += 1
        while self._counts[0][0] <= bucket - _BUCKETS:
            self._counts.popleft()
        failed = sum(counts[1] for _, counts in self._counts)
        calls = failed + sum(counts[0] for _, counts in self._counts)
        if down and calls >= self._rules.min_calls and failed >= calls * self._rules.failure_share:
            self._open()
            self._opened()

    def _tried(self, outcome: Outcome) -> None:
        self._trying = False
        if outcome == "up":
            self._open_until = None
        elif outcome == "down":
            self._open()

    def _open(self) -> None:
        self._counts.clear()
        self._open_until = self._clock() + self._rules.open_seconds


class Circuits:
    """The circuits of a process; ``opened`` hears of each that was closed before.

    Those used longest ago are forgotten when there are too many.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, opened: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._opened = opened
        self._kept: OrderedDict[tuple[str, str, str], tuple[CircuitBreaker, Circuit]] = OrderedDict()

    def of(self, tenant: str, name: str, url: str, rules: CircuitBreaker) -> Circuit:
        """The circuit of an operation; a new one where its rules have changed."""
        place = urlsplit(url)
        origin = f"{place.scheme}://{place.netloc}"
        key = (tenant, name, origin)
        kept = self._kept.get(key)
        if kept is None or kept[0] != rules:
            kept = self._kept[key] = (
                rules,
                Circuit(rules, origin, self._clock, partial(self._say, tenant, name)),
            )
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept[1]

    def _say(self, tenant: str, name: str) -> None:
        _LOG.warning(
            "calls are held back: most of the last ones failed", extra={"tenant": tenant, "call": name}
        )
        self._opened()
