"""What installed distributions register by entry point, read once: that takes a look at each of them."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points


def registered(group: str) -> list[EntryPoint]:
    """The entry points of a group, as they were when this process first asked for any."""
    return _by_group().get(group, [])


@cache
def _by_group() -> dict[str, list[EntryPoint]]:
    found = entry_points()
    return {group: list(found.select(group=group)) for group in found.groups}
