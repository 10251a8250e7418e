"""Softmax regression with an L2 penalty, by L-BFGS over the examples' coefficients.

The weights are a combination of the examples (representer theorem), ``W = X.T @ A``, so that the method keeps a
number per example and class, not per feature and class: a hundred times less. Deterministic.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

from signalbox.workflow.examples.sparse import Features

Floats = npt.NDArray[np.float32]

_REMEMBERED = 8
_TOLERANCE = 1e-4


def fit(
    features: Features, targets: Floats, strength: float, iterations: int, start: Floats | None = None
) -> Floats:
    """Coefficients ``A`` by example and class that minimise ``strength * cross entropy + |W|^2 / 2``.

    ``targets`` has a row per example with the probability of each class; ``start`` is where to begin.
    ``features.transposed_dot(A)`` are the weights.
    """
    point = np.zeros_like(targets) if start is None else start
    scores = np.zeros_like(targets) if start is None else features.dot(features.transposed_dot(start))
    loss, gradient = _loss(point, scores, targets, strength)
    steps: deque[tuple[Floats, Floats, Floats, Floats, float]] = deque(maxlen=_REMEMBERED)
    image = features.dot(features.transposed_dot(gradient))
    first = _inner(gradient, image)
    for _ in range(iterations):
        norm = _inner(gradient, image)
        if norm <= _TOLERANCE**2 * first:
            break
        direction, moved = _direction(gradient, image, steps)
        slope = _inner(gradient, moved)
        if not steps:
            scale = min(1.0, 1.0 / float(np.sqrt(norm)))
            direction, moved, slope = direction * scale, moved * scale, slope * scale
        size = 1.0
        while True:
            candidate, reached = point + size * direction, scores + size * moved
            new_loss, new_gradient = _loss(candidate, reached, targets, strength)
            if new_loss <= loss + 1e-4 * size * slope or size < 1e-6:
                break
            size *= 0.5
        if new_loss >= loss:
            break
        new_image = features.dot(features.transposed_dot(new_gradient))
        step, step_image = candidate - point, reached - scores
        change, change_image = new_gradient - gradient, new_image - image
        curvature = _inner(step, change_image)
        if curvature > 0:
            steps.append((step, step_image, change, change_image, curvature))
        point, scores, loss, gradient, image = candidate, reached, new_loss, new_gradient, new_image
    return point


def probabilities(scores: Floats) -> Floats:
    """Softmax by row."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _loss(point: Floats, scores: Floats, targets: Floats, strength: float) -> tuple[float, Floats]:
    """The objective, and its gradient in the coefficients' coordinates."""
    top = scores.max(axis=1, keepdims=True)
    raised = np.exp(scores - top)
    total = raised.sum(axis=1, keepdims=True)
    entropy = float(((top + np.log(total) - scores) * targets).sum(dtype=np.float64))
    loss = strength * entropy + 0.5 * _inner(point, scores)
    return loss, strength * (raised / total - targets) + point


def _inner(left: Floats, right: Floats) -> float:
    return float(np.vdot(left, right))


def _direction(
    gradient: Floats, image: Floats, steps: "deque[tuple[Floats, Floats, Floats, Floats, float]]"
) -> tuple[Floats, Floats]:
    """Where to go and what that does to the scores: the two-loop recursion (Nocedal and Wright, algorithm 7.4)."""
    direction, moved = -gradient, -image
    factors = []
    for step, _, change, change_image, curvature in reversed(steps):
        factor = _inner(step, moved) / curvature
        factors.append(factor)
        direction, moved = direction - factor * change, moved - factor * change_image
    if steps:
        _, _, change, change_image, curvature = steps[-1]
        scale = curvature / _inner(change, change_image)
        direction, moved = direction * scale, moved * scale
    for (step, step_image, change, _, curvature), factor in zip(steps, reversed(factors), strict=True):
        back = _inner(change, moved) / curvature
        direction, moved = direction + (factor - back) * step, moved + (factor - back) * step_image
    return direction, moved
