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

_REJECTED: Final = 0.04
"""The share of messages in scope that may be taken for out of scope: a point less than the 5 % that are promised."""
_RIGHT: Final = 0.95
"""Of the messages that are routed without asking a model, the share that should be routed right."""
_ACCEPT_BOUNDS: Final = (0.3, 0.9)
_PRIOR: Final = np.array([1.0, 0.3, -1.0])
"""Slopes of margin and familiarity and the offset, where there is nothing to learn them from."""


def calibrate(held: Sequence[HeldOut]) -> Calibration:
    """The calibration that fits these best: logistic regression, drawn to what is usual when they are few."""
    if not held:
        return _rule(_PRIOR, reject=0.0, accept=0.5)
    familiar = np.array([entry.familiar for entry in held], dtype=np.float32)
    right = np.array([entry.right for entry in held], dtype=np.float64)
    inputs = np.array([[entry.margin, entry.familiar, 1.0] for entry in held])
    factors = _PRIOR.copy()
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ factors, -60, 60)))
        gradient = inputs.T @ (chance - right) + (factors - _PRIOR)
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.eye(3)
        factors = factors - np.linalg.solve(curvature, gradient)
    rule = _rule(factors, reject=reject_below(familiar), accept=0.0)
    scores = np.array([rule.score(entry.margin, entry.familiar) for entry in held])
    accept = _accept_from(scores[familiar >= rule.reject], right[familiar >= rule.reject])
    return replace(rule, accept=accept)


def _rule(factors: Doubles, reject: float, accept: float) -> Calibration:
    margin, familiar, offset = map(float, factors)
    return Calibration(margin, familiar, offset, reject, accept)


def reject_below(familiar: Floats) -> float:
    """The familiarity below which a message is out of scope, from those of messages in scope."""
    return float(np.quantile(familiar, _REJECTED))


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
