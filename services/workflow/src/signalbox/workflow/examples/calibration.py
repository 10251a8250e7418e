"""Reading scores as probabilities, and choosing thresholds, on what was held out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from signalbox.workflow.examples.classifier import Calibration
from signalbox.workflow.examples.features import Floats
from signalbox.workflow.examples.report import HeldOut

Doubles = npt.NDArray[np.float64]

_REJECTED: Final = 0.03
"""The share of messages in scope that may be taken for out of scope: less than the 5 % that are promised, for what is
asked is a little stranger than what was held out."""
_RIGHT: Final = 0.95
"""Of the messages that are routed without asking a model, the share that should be routed right."""
_ACCEPT_BOUNDS: Final = (0.3, 0.9)
_STRANGE: Final = 0.9
"""Of the sentences about nothing in particular, the part that is used: the least familiar."""
_STRANGERS_SHARE: Final = 0.25
_FEWEST_STRANGERS: Final = 10.0
"""How much they weigh: a quarter of the held-out examples, but as much as ten."""
_NOTHING_KNOWN: Final = 1e-3
"""Familiarity of a message of which no example knows anything."""
_PRIOR: Final = np.array([1.0, 0.3, -1.0])
"""Slopes of margin and familiarity and the offset, where there is nothing to learn them from."""


def calibrate(held: Sequence[HeldOut], strangers: Sequence[tuple[float, float]]) -> Calibration:
    """The calibration that fits these best: logistic regression, drawn to what is usual when they are few.

    ``strangers`` are the margins and familiarities of messages that no intent is right for.
    """
    usual = sorted(strangers, key=lambda signs: signs[1])[: round(len(strangers) * _STRANGE)]
    signs = [(entry.margin, entry.familiar) for entry in held]
    inputs = np.array([[margin, familiar, 1.0] for margin, familiar in (*signs, *usual)])
    right = np.array([entry.right for entry in held] + [False] * len(usual), dtype=np.float64)
    share = max(_FEWEST_STRANGERS, _STRANGERS_SHARE * len(held)) / max(1, len(usual))
    importance = np.array([1.0] * len(held) + [share] * len(usual))
    factors = _fitted(inputs, right, importance)
    familiar = np.array([entry.familiar for entry in held], dtype=np.float32)
    rule = _rule(factors, reject=reject_below(familiar) if held else _NOTHING_KNOWN, accept=_ACCEPT_BOUNDS[1])
    if not held:
        return rule
    scores = np.array([rule.score(*pair) for pair in signs])
    inside = familiar >= rule.reject
    return replace(rule, accept=_accept_from(scores[inside], right[: len(held)][inside]))


def _fitted(inputs: Doubles, right: Doubles, importance: Doubles) -> Doubles:
    """Logistic regression by Newton's method."""
    factors = _PRIOR.copy()
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ factors, -60, 60)))
        gradient = inputs.T @ (importance * (chance - right)) + (factors - _PRIOR)
        curvature = (inputs * (importance * chance * (1 - chance))[:, None]).T @ inputs + np.eye(3)
        factors = factors - np.linalg.solve(curvature, gradient)
    return factors


def _rule(factors: Doubles, reject: float, accept: float) -> Calibration:
    margin, familiar, offset = map(float, factors)
    return Calibration(margin, familiar, offset, reject, accept)


def reject_below(familiar: Floats) -> float:
    """The familiarity below which a message is out of scope, from those of messages in scope."""
    return max(_NOTHING_KNOWN, float(np.quantile(familiar, _REJECTED)))


def _accept_from(
    scores: Doubles,
    right: Doubles,
) -> float:
    """The lowest score from which on enough were right."""
    low, high = _ACCEPT_BOUNDS
    order = np.argsort(-scores, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(shares >= _RIGHT)
    chosen = float(scores[order][enough[-1]]) if len(enough) else high
    return min(high, max(low, chosen))
