"""Which deployment of a group is asked."""

import random
from collections.abc import Callable, Mapping, Sequence

from signalbox.llm_gateway.routing.plan import Candidate
from signalbox.llm_gateway.routing.rules import StrategyName

Choose = Callable[[Sequence[Candidate], random.Random, bool], Candidate]
"""One of at least two candidates, for an answer that is streamed or not."""


def weighted(candidates: Sequence[Candidate], rng: random.Random, streamed: bool) -> Candidate:  # noqa: ARG001
    """By chance, in proportion to weights; those of weight 0 only where there are no others."""
    weights = [candidate.deployment.weight for candidate in candidates]
    if not any(weights):
        return rng.choice(candidates)
    return rng.choices(candidates, weights)[0]


def least_busy(candidates: Sequence[Candidate], rng: random.Random, streamed: bool) -> Candidate:
    """The one with the fewest calls in flight in this process; by weight among equals."""
    fewest = min(candidate.health.in_flight for candidate in candidates)
    equal = [candidate for candidate in candidates if candidate.health.in_flight == fewest]
    return equal[0] if len(equal) == 1 else weighted(equal, rng, streamed)


def lowest_latency(candidates: Sequence[Candidate], rng: random.Random, streamed: bool) -> Candidate:
    """The faster of two that chance picks: always the fastest would be too many callers' choice at once."""
    one, other = rng.sample(candidates, 2)
    now = one.health.clock()
    if streamed:
        slower = one.health.first_token.at(now) > other.health.first_token.at(now)
    else:
        slower = one.health.whole.at(now) > other.health.whole.at(now)
    return other if slower else one


def cheapest(candidates: Sequence[Candidate], rng: random.Random, streamed: bool) -> Candidate:
    """The one with the lowest price; by weight among equals."""
    lowest = min(candidate.price_rank for candidate in candidates)
    equal = [candidate for candidate in candidates if candidate.price_rank == lowest]
    return equal[0] if len(equal) == 1 else weighted(equal, rng, streamed)


STRATEGIES: Mapping[StrategyName, Choose] = {
    "weighted": weighted,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
