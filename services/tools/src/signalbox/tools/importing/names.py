"""Names for what is imported: identifiers of ours that models take as names of functions and arguments, too."""

import re
from collections.abc import Container

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX = 64


def identifier(text: str, fallback: str = "tool") -> str:
    """``text`` as letters, digits and ``_``, 64 characters at most, a letter first; its case is kept."""
    name = _OTHER.sub("_", text).strip("_")
    if not name or not name[0].isalpha():
        name = f"{fallback}_{name}".rstrip("_")
    return name[:_MAX].rstrip("_")


def free(name: str, taken: Container[str]) -> str:
    """``name``, with a number after it where it is taken."""
    candidate, number = name, 2
    while candidate in taken:
        ending = f"_{number}"
        candidate, number = f"{name[: _MAX - len(ending)]}{ending}", number + 1
    return candidate


def slug(text: str) -> str:
    """A short lower-case name of an API or a server, for its secrets and variables."""
    return identifier(_BOUNDARY.sub("_", text).lower(), "api")[:24].rstrip("_")
