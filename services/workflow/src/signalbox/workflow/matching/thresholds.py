"""Between routing and falling back: when a decision is sure, and whom to name when it is not."""

from collections.abc import Sequence

from signalbox.contracts.config import Policies
from signalbox.workflow.matching.incoming import Candidate

_ALWAYS_NAMED = 2


def is_sure(candidates: Sequence[Candidate], accept: float, policies: Policies) -> bool:
    """Whether the best, which comes first, may be routed: it reaches ``accept`` and leads clearly."""
    if not candidates or candidates[0].score < accept:
        return False
    return len(candidates) == 1 or not _tied(candidates[0], candidates[1], policies)


def named(candidates: Sequence[Candidate], policies: Policies) -> tuple[Candidate, ...]:
    """Whom to name when asking: the best two, and others about as good; none where the best is too unlikely."""
    if not candidates or candidates[0].score < policies.thresholds.clarify:
        return ()
    most = policies.disambiguation.max_options
    return tuple(
        candidate
        for place, candidate in enumerate(candidates[:most])
        if place < _ALWAYS_NAMED or _tied(candidates[0], candidate, policies)
    )


def _tied(best: Candidate, other: Candidate, policies: Policies) -> bool:
    return policies.disambiguation.enabled and best.score - other.score < policies.thresholds.margin
