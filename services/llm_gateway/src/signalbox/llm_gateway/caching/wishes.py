"""What a caller asks of the cache.

Source: RFC 9111, 5.2.1: ``no-store`` keeps nothing and reads nothing, ``no-cache`` does not read, ``max-age`` reads
what is no older.
"""

from collections.abc import Mapping

from signalbox.common.record import record
from signalbox.contracts import headers as names


@record
class CacheWishes:
    """What a request's headers say; without any, the model's rule decides."""

    read: bool = True
    write: bool = True
    max_age_s: int | None = None
    """The oldest answer that will do. It also asks for answers to be kept where no rule says so."""
    coalesce: bool = False
    """Whether the call may be answered by an identical one that is under way."""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "CacheWishes":
        """From request headers with lower-case names; what is not understood is as if it were not there."""
        control = headers.get("cache-control")
        coalesce = headers.get(names.LLM_COALESCE, "").strip().lower() == "allow"
        if control is None:
            return cls(coalesce=True) if coalesce else NO_WISHES
        asked = {}
        for directive in control.lower().split(","):
            name, _, value = directive.strip().partition("=")
            asked[name] = value.strip('" ')
        age = asked.get("max-age", "")
        # More digits than these are no age that anybody means, and cost time to read.
        max_age = int(age) if age.isascii() and age.isdigit() and len(age) < 12 else None
        keeps = "no-store" not in asked
        return cls(
            read=keeps and "no-cache" not in asked and max_age != 0,
            write=keeps,
            max_age_s=max_age,
            coalesce=coalesce,
        )


NO_WISHES = CacheWishes()
