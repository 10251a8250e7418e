"""What an answer says of the limits of its key, in the headers that OpenAI's clients read.

Source: OpenAI API reference, "Rate limits": ``x-ratelimit-limit-requests``, ``-remaining-``, ``-reset-``, and the same
for tokens; the reset is the time until nothing of the limit is used, such as ``1s`` or ``6m0s``.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from signalbox.llm_gateway.admission.demands import DemandKind, DemandSet
from signalbox.llm_gateway.admission.windows import COUNTED_BUCKETS, bucket_width_us

PREFIX = "x-ratelimit-"
NO_HEADERS: Mapping[str, str] = {}


def rate_headers(demands: DemandSet, rooms: Sequence[int]) -> Mapping[str, str]:
    """The headers of an answer to a call with these demands; ``rooms`` is what its windows have left.

    Of several limits of a kind that with the least room speaks. Nothing where no window was counted.
    """
    if not rooms:
        return NO_HEADERS
    headers: dict[str, str] = {}
    for places in _places(demands):
        least = places[0] if len(places) == 1 else min(places, key=rooms.__getitem__)
        demand = demands.windows[least]
        remaining, fixed = _fixed(demand.kind, demand.limit, demand.window_s)
        headers |= fixed
        headers[remaining] = str(rooms[least])
    return headers


@lru_cache(maxsize=1024)
def _places(demands: DemandSet) -> Sequence[Sequence[int]]:
    """Of each kind of window that a set has, where those are in it."""
    kinds = dict.fromkeys(demand.kind for demand in demands.windows)
    return [[place for place, demand in enumerate(demands.windows) if demand.kind == kind] for kind in kinds]


@lru_cache(maxsize=1024)
def _fixed(kind: DemandKind, limit: int, window_s: int) -> tuple[str, Mapping[str, str]]:
    """The name of the header that says what is left, and the others, which are the same for all calls."""
    return f"{PREFIX}remaining-{kind}", {
        f"{PREFIX}limit-{kind}": str(limit),
        f"{PREFIX}reset-{kind}": _reset(window_s),
    }


def _reset(window_s: int) -> str:
    """How long what is taken now counts."""
    seconds = -(-bucket_width_us(window_s) * COUNTED_BUCKETS // 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
