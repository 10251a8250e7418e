"""Tables, ratios and targets of one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loads import Figure, Load, Subject

DIRECT, OURS, NGINX, LITELLM, TENSORZERO = "direct", "signalbox", "nginx", "litellm", "tensorzero"
Figures = Mapping[str, Mapping[Load, Figure]]

_PLAIN_ONE, _PLAIN = Load(0, 0, 1), Load(0, 0, 16)
_STREAM_ONE, _STREAM, _STREAM_SHORT = Load(0, 60, 1), Load(0, 60, 16), Load(0, 20, 16)
_RSS_MB = 120.0
_READY_S = 2.0
_FIRST_TOKEN_MS = 1.0


def print_load(load: Load, figures: Figures) -> None:
    """One table: every subject under one load, beside the direct call."""
    shown = {name: measured[load] for name, measured in figures.items() if load in measured}
    direct = shown.get(DIRECT)
    print(f"\n{load.title}")
    head = f"{'':<15}{'RPS':>8}{'+p50 ms':>10}{'+p99 ms':>10}"
    if load.chunks:
        head += f"{'+first p50':>12}{'+first p99':>12}"
    print(f"{head}{'CPU s/1000':>12}{'stores':>8}{'RSS MB':>8}{'busy':>6}{'x nginx':>9}{'x litellm':>11}")
    for name, figure in shown.items():
        print(_row(name, load, figure, direct, shown))


def _row(name: str, load: Load, figure: Figure, direct: Figure | None, shown: Mapping[str, Figure]) -> str:
    if name == DIRECT:
        line = f"{name:<15}{figure.rps:>8.0f}{figure.p50_ms:>10.2f}{figure.p99_ms:>10.2f}"
        if load.chunks:
            line += f"{figure.first_p50_ms:>12.2f}{figure.first_p99_ms:>12.2f}"
        return f"{line}   (not added: the call itself; load and provider alone, {figure.load_busy:.0%} of their core)"
    base = direct or figure
    line = f"{name:<15}{figure.rps:>8.0f}{figure.p50_ms - base.p50_ms:>10.2f}{figure.p99_ms - base.p99_ms:>10.2f}"
    if load.chunks:
        line += f"{figure.first_p50_ms - base.first_p50_ms:>12.2f}{figure.first_p99_ms - base.first_p99_ms:>12.2f}"
    line += f"{figure.cpu_per_1000:>12.3f}{figure.stores_cpu_per_1000:>8.3f}{figure.rss_mb:>8.0f}{figure.busy:>6.0%}"
    for other in (NGINX, LITELLM):
        width = 9 if other == NGINX else 11
        line += (
            f"{figure.rps / shown[other].rps:>{width}.2f}"
            if other in shown and shown[other].rps
            else " " * width
        )
    return line + _marks(load, figure)


def _marks(load: Load, figure: Figure) -> str:
    marks = []
    if figure.errors:
        marks.append(f"{figure.errors} WRONG ANSWERS ({figure.first_error[:100]})")
    if load.saturates and not figure.saturated:
        marks.append(
            f"INVALID as RPS: the subject was not the saturated one (load's core {figure.load_busy:.0%})"
        )
    if not load.saturates and figure.load_busy > 0.9:
        marks.append(f"INVALID as latency: the load's core was {figure.load_busy:.0%} busy")
    if figure.disturbed:
        marks.append(f"others took {figure.others:.0%} of the subject's core")
    return "".join(f"  {mark};" for mark in marks).rstrip(";")


@dataclass(frozen=True, slots=True)
class Target:
    """A target of the gateway, and what this run says about it."""

    what: str
    wanted: str
    measured: str
    met: bool


def targets(figures: Figures, subjects: Mapping[str, Subject]) -> list[Target]:
    """What could be judged in this run; ratios are to the same run's LiteLLM and TensorZero."""
    found: list[Target] = []

    def figure(name: str, load: Load) -> Figure | None:
        return figures.get(name, {}).get(load)

    def compare(
        what: str,
        load: Load,
        other: str,
        value: Callable[[Figure, Figure], float],
        wanted: float,
        *,
        most: bool = False,
    ) -> None:
        ours, theirs, direct = figure(OURS, load), figure(other, load), figure(DIRECT, load)
        if ours is None or theirs is None or direct is None or not theirs.count or not ours.count:
            return
        measured = value(ours, direct) / max(value(theirs, direct), 1e-9)
        sign, met = ("<=", measured <= wanted) if most else (">=", measured >= wanted)
        found.append(
            Target(f"{what}, {load.title}", f"{sign} {wanted:.3g} x {other}", f"{measured:.3g} x", met)
        )

    def rps(measured: Figure, _: Figure) -> float:
        return measured.rps

    def added_p50(measured: Figure, direct: Figure) -> float:
        return measured.p50_ms - direct.p50_ms

    compare("RPS per core", _PLAIN, LITELLM, rps, 60)
    compare("added p50", _PLAIN_ONE, LITELLM, added_p50, 1 / 20, most=True)
    compare("streams/s", _STREAM_SHORT, LITELLM, rps, 50)
    compare("streams/s", _STREAM, LITELLM, rps, 50)
    compare("RSS", _PLAIN, LITELLM, lambda measured, _: measured.rss_mb, 1 / 3, most=True)
    for load in (_PLAIN, _STREAM_SHORT, _STREAM):
        compare("RPS", load, TENSORZERO, rps, 1)
    ours, direct = figure(OURS, _STREAM_ONE), figure(DIRECT, _STREAM_ONE)
    if ours is not None and direct is not None:
        added = ours.first_p50_ms - direct.first_p50_ms
        what = f"added first token p50, {_STREAM_ONE.title}"
        found.append(Target(what, f"<= {_FIRST_TOKEN_MS:g} ms", f"{added:.2f} ms", added <= _FIRST_TOKEN_MS))
    if OURS in subjects and figures.get(OURS):
        largest = max(measured.rss_mb for measured in figures[OURS].values())
        ready_s = subjects[OURS].ready_s
        found += [
            Target("RSS at its largest", f"<= {_RSS_MB:g} MB", f"{largest:.0f} MB", largest <= _RSS_MB),
            Target(
                "first right answer after start", f"< {_READY_S:g} s", f"{ready_s:.2f} s", ready_s < _READY_S
            ),
        ]
    return found


def print_targets(found: list[Target]) -> None:
    """Met or missed, one a line."""
    print("\nTargets")
    for target in found:
        verdict = "met" if target.met else "MISSED"
        print(f"  {verdict:<8}{target.what:<52}{target.wanted:<24}{target.measured}")
