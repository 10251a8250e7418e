"""Response headers as both ports give them out."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType


def folded(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Lower-case names; values of a name that came more than once joined with a comma (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return MappingProxyType(headers)
