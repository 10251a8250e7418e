"""Credentials that the earlier file holds as values: found, taken out, and referred to by name."""

import re
from collections.abc import Mapping
from typing import Any

from signalbox.common.importing.names import identifier
from signalbox.common.importing.report import Report
from signalbox.common.pointers import Path
from signalbox.common.validation.secrets_check import credential_shapes, is_secret_name

REMOVED = "[credential removed]"
_FROM_ENVIRONMENT = re.compile(
    r"\A\s*(?:\$\{?(?P<upper>[A-Z][A-Z0-9_]+)\}?"
    r"|(?:\$\{|\{\{?|\$)?\s*(?i:env|environ|secret|secrets)[.:](?P<name>[A-Za-z][\w.-]*?)\s*\}{0,2})\s*\Z"
)
_REFERENCE = re.compile(r"secret:[A-Za-z0-9][A-Za-z0-9._/-]{0,190}\Z")


def without_credentials(value: Any, path: Path, report: Report) -> Any:
    """A copy in which whatever has the shape of a well-known credential is replaced; each is reported."""
    if isinstance(value, Mapping):
        return {key: without_credentials(item, (*path, key), report) for key, item in value.items()}
    if isinstance(value, list):
        return [without_credentials(item, (*path, index), report) for index, item in enumerate(value)]
    if isinstance(value, str):
        cleaned = credential_shapes(REMOVED, value)
        if cleaned != value and not is_secret_name(_key(path)):
            report.secret(path, None)
        return cleaned
    return value


def reference(text: str, default_name: str) -> str:
    """What refers to a credential: the environment's own name for it, where the text is one, else a name of ours."""
    stripped = text.strip()
    if _REFERENCE.match(stripped):
        return stripped
    found = _FROM_ENVIRONMENT.match(stripped)
    if found is not None:
        return f"secret:{identifier(found['upper'] or found['name']).lower().replace('_', '-')}"
    return f"secret:{identifier(default_name).lower().replace('_', '-')}"


def is_value(text: str) -> bool:
    """Whether a text is a credential itself, and not a reference to one that is kept elsewhere."""
    stripped = text.strip()
    return _FROM_ENVIRONMENT.match(stripped) is None and _REFERENCE.match(stripped) is None


def _key(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")
