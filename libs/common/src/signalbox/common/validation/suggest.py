"""Names that were probably meant."""

import difflib
from collections.abc import Iterable

_MAX_CANDIDATES = 2_000
_MAX_SUGGESTIONS = 100
_MAX_LISTED = 8


class Suggestions:
    """Finds the nearest of the known names; after a hundred it stops, so that a hopeless document stays cheap."""

    def __init__(self) -> None:
        self._given = 0

    def nearest(self, name: str, known: Iterable[str]) -> str | None:
        """The known name that is most like this one, if any is."""
        candidates = list(known)[:_MAX_CANDIDATES]
        if self._given >= _MAX_SUGGESTIONS or len(name) > 100:
            return None
        self._given += 1
        by_lower = {candidate.lower(): candidate for candidate in candidates}
        close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
        return by_lower[close[0]] if close else None

    def advice(self, name: str, known: Iterable[str], kind: str) -> str:
        """The end of a sentence about an unknown name: what was meant, or what there is."""
        names = sorted(known)
        nearest = self.nearest(name, names)
        if nearest is not None:
            return f"did you mean `{nearest}`?"
        if not names:
            return f"there is no {kind} at all."
        listed = ", ".join(f"`{known_name}`" for known_name in names[:_MAX_LISTED])
        others = " and others" if len(names) > _MAX_LISTED else ""
        return f"there {'is' if len(names) == 1 else 'are'} {listed}{others}."
