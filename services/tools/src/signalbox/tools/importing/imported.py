"""What an import gives: parts of a workflow document, and what is left to be done by hand."""

from dataclasses import dataclass, field
from typing import Any

from signalbox.common.record import record


@record
class ImportNote:
    """Something that somebody should know or do about a tool or an operation."""

    about: str
    detail: str


@dataclass(slots=True)
class Imported:
    """Tools, and the variables that their requests use, as a workflow document has them."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    notes: list[ImportNote] = field(default_factory=list)
