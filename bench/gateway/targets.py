"""The gateway's targets, and what one run says about them."""

from collections.abc import Callable
from dataclasses import dataclass

from loads import Figure, Load, Subject
from report import DIRECT, LITELLM, Figures

OURS, TENSORZERO = "signalbox", "tensorzero"

_PLAIN_ONE, _PLAIN = Load(0, 0, 1), Load(0, 0, 16)
_STREAM_ONE, _STREAM, _STREAM_SHORT = Load(0, 60, 1), Load(0, 60, 16), Load(0, 20, 16)


@dataclass(frozen=True, slots=True)
class Target:
    """``measured`` is in ``unit``, ``x NAME`` for a multiple of another subject's figure in the same run."""

    what: str
    limit: float
    unit: str
    measured: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether this run meets it."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def __str__(self) -> str:
        verdict, sign = "met" if self.met else "MISSED", "<=" if self.at_most else ">="
        return f"{verdict:<8}{self.what:<54}{sign} {self.limit:<6.3g}{self.unit:<14}{self.measured:.3g}"


def _rate(figure: Figure, _: Figure) -> float:
    return figure.per_core


def _added_p50(figure: Figure, direct: Figure) -> float:
    return figure.p50_ms - direct.p50_ms


def _memory(figure: Figure, _: Figure) -> float:
    return figure.rss_mb


_Value = Callable[[Figure, Figure], float]
_RATIOS: tuple[tuple[str, Load, str, _Value, float, bool], ...] = (
    ("RPS per core", _PLAIN, LITELLM, _rate, 60, False),
    ("added p50", _PLAIN_ONE, LITELLM, _added_p50, 1 / 20, True),
    ("streams/s per core", _STREAM_SHORT, LITELLM, _rate, 50, False),
    ("streams/s per core", _STREAM, LITELLM, _rate, 50, False),
    ("RSS", _PLAIN, LITELLM, _memory, 1 / 3, True),
    ("RPS per core", _PLAIN, TENSORZERO, _rate, 1, False),
    ("streams/s per core", _STREAM_SHORT, TENSORZERO, _rate, 1, False),
    ("streams/s per core", _STREAM, TENSORZERO, _rate, 1, False),
)
"""What, under which load, beside whom, which figure, how many times theirs, and whether that is the most allowed."""


def targets(figures: Figures, subject: Subject) -> list[Target]:
    """The targets that this run can judge; ``subject`` is ours."""
    own, direct = figures[OURS], figures[DIRECT]
    found: list[Target] = []
    for what, load, other, value, limit, at_most in _RATIOS:
        theirs = figures.get(other, {}).get(load)
        if load in own and theirs is not None and theirs.count and own[load].count:
            ratio = value(own[load], direct[load]) / max(value(theirs, direct[load]), 1e-9)
            found.append(Target(f"{what}: {load.title}", limit, f"x {other}", ratio, at_most))
    if _STREAM_ONE in own:
        added = own[_STREAM_ONE].first_p50_ms - direct[_STREAM_ONE].first_p50_ms
        found.append(Target(f"added first token p50: {_STREAM_ONE.title}", 1, "ms", added, at_most=True))
    largest = max((measured.rss_mb for measured in own.values()), default=0.0)
    found.append(Target("RSS at its largest", 120, "MB", largest, at_most=True))
    found.append(Target("from start to the first right answer", 2, "s", subject.ready_s, at_most=True))
    return found
