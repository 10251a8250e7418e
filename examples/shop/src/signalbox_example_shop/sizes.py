"""Shoe sizes: plain arithmetic, which Signalbox calls in its own process (entry point `signalbox.tools`)."""

from collections.abc import Mapping
from typing import Any

# A foot in millimetres gives each system's number; the lasts of one maker differ more than the rounding here.
SMALLEST_EU, LARGEST_EU = 35.0, 50.0
_EU_PER_MM, _EU_LAST_MM = 1.5 / 10, 15
_UK_PER_INCH, _UK_OFFSET, _MM_PER_INCH = 3, 25, 25.4


def convert_shoe_size(arguments: Mapping[str, Any], _context: object) -> dict[str, float | int] | None:
    """Convert an EU size to UK and US men's sizes, and to the foot's length in mm (the Chinese size).

    Returns None for a size in which no shoe for grown-ups is made.
    """
    eu = float(arguments["eu"])
    if not SMALLEST_EU <= eu <= LARGEST_EU:
        return None
    foot_mm = eu / _EU_PER_MM - _EU_LAST_MM
    uk = _halves(_UK_PER_INCH * (foot_mm + _EU_LAST_MM) / _MM_PER_INCH - _UK_OFFSET)
    return {"eu": _short(eu), "uk": _short(uk), "us": _short(uk + 1), "foot_mm": 5 * round(foot_mm / 5)}


def _halves(number: float) -> float:
    return round(number * 2) / 2


def _short(number: float) -> float | int:
    return int(number) if number.is_integer() else number
