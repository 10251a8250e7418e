"""Reading the span files that `SIGNALBOX_TRACE_FILE` makes."""

import json
from pathlib import Path
from typing import NamedTuple

_PREFIX = "signalbox-"


class Span(NamedTuple):
    """One finished span."""

    id: str
    parent: str | None
    name: str
    service: str


def spans_of(directory: Path, trace_id: str) -> list[Span]:
    """The spans of a trace in all files, in no order; half-written lines are left for the next look."""
    found = []
    for file in directory.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            if trace_id in line:
                try:
                    found.append(_span(json.loads(line)))
                except json.JSONDecodeError:
                    continue
    return found


def _span(entry: dict[str, object]) -> Span:
    context, resource = entry["context"], entry["resource"]
    assert isinstance(context, dict)
    assert isinstance(resource, dict)
    parent = entry.get("parent_id")
    return Span(
        str(context["span_id"]),
        str(parent) if parent else None,
        str(entry["name"]),
        resource["attributes"]["service.name"].removeprefix(_PREFIX),
    )
