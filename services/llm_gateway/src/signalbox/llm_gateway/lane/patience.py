"""How long a connection waits for the rest of a request."""

from typing import NamedTuple


class Patience(NamedTuple):
    """Seconds within which the head of a request, and then its body, must have come."""

    head_s: float
    body_s: float
