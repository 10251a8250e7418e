"""Tables of one run."""

from collections.abc import Mapping

from loads import Figure, Load

DIRECT, NGINX, LITELLM = "direct", "nginx", "litellm"
Figures = Mapping[str, Mapping[Load, Figure]]
"""By subject and load; ``direct`` is the load on the provider with nothing between."""


def print_load(load: Load, figures: Figures) -> None:
    """One table: every subject under one load, beside the direct call."""
    shown = {name: measured[load] for name, measured in figures.items() if load in measured}
    direct = shown[DIRECT]
    first = f"{'first p50':>11}{'first p99':>11}" if load.chunks else ""
    print(f"\n{load.title}")
    print(
        f"{'':<15}{'RPS':>8}{'per core':>10}{'+p50 ms':>10}{'+p99 ms':>10}{first}"
        f"{'CPU s/1000':>12}{'stores':>8}{'RSS MB':>8}{'busy':>6}{'x nginx':>9}{'x litellm':>11}"
    )
    print(
        f"{DIRECT:<15}{direct.rps:>8.0f}{'':>10}{direct.p50_ms:>10.2f}{direct.p99_ms:>10.2f}"
        + (f"{direct.first_p50_ms:>11.2f}{direct.first_p99_ms:>11.2f}" if load.chunks else "")
        + f"  the call itself; load and provider alone, {direct.load_busy:.0%} of their core"
    )
    for name, figure in shown.items():
        if name != DIRECT:
            print(_row(name, load, figure, shown))


def _row(name: str, load: Load, figure: Figure, shown: Mapping[str, Figure]) -> str:
    if not figure.count:
        return f"{name:<15}no right answer{_marks(load, figure)}"
    direct = shown[DIRECT]
    cells = [
        f"{name:<15}{figure.rps:>8.0f}{figure.per_core:>10.0f}",
        f"{figure.p50_ms - direct.p50_ms:>10.2f}{figure.p99_ms - direct.p99_ms:>10.2f}",
    ]
    if load.chunks:
        p50, p99 = figure.first_p50_ms - direct.first_p50_ms, figure.first_p99_ms - direct.first_p99_ms
        cells.append(f"{p50:>11.2f}{p99:>11.2f}")
    cells.append(
        f"{figure.cpu_per_1000:>12.3f}{figure.stores_cpu_per_1000:>8.3f}{figure.rss_mb:>8.0f}{figure.busy:>6.0%}"
    )
    for other, width in ((NGINX, 9), (LITELLM, 11)):
        known = other in shown and shown[other].per_core > 0
        cells.append(f"{figure.per_core / shown[other].per_core:>{width}.3g}" if known else " " * width)
    return "".join(cells) + _marks(load, figure)


def _marks(load: Load, figure: Figure) -> str:
    marks = []
    if figure.errors:
        marks.append(f"{figure.errors} WRONG ANSWERS ({figure.first_error[:100]})")
    if load.saturates and not figure.saturated:
        marks.append(
            f"INVALID RPS: the subject was not the saturated one (load's core {figure.load_busy:.0%})"
        )
    if not load.saturates and figure.load_busy > 0.9:
        marks.append(f"INVALID times: the load's core was {figure.load_busy:.0%} busy")
    if figure.disturbed:
        marks.append(f"others had {figure.others:.0%} of the subject's core")
    return "  " + "; ".join(marks) if marks else ""
