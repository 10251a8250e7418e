"""What a validation found."""

from collections.abc import Iterable
from dataclasses import field
from typing import NamedTuple

from signalbox.common.pointers import Path, pointer
from signalbox.common.record import record
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import WorkflowConfig

MAX_FINDINGS = 500


class Finding(NamedTuple):
    """One thing that is wrong, at a path of the submitted document."""

    path: Path
    code: str
    detail: str


@record
class ValidationResult:
    """The parsed config, or none where there are errors; warnings do not stop a document."""

    config: WorkflowConfig | None
    errors: list[ProblemError] = field(default_factory=list)
    warnings: list[ProblemError] = field(default_factory=list)


def problems(findings: Iterable[Finding]) -> list[ProblemError]:
    """Findings as problems: each once, in the order of their paths, at most 500 and a last one that says so."""
    unique = {(finding.path, finding.code): finding for finding in reversed(list(findings))}
    ordered = sorted(unique.values(), key=lambda finding: [_order(part) for part in finding.path])
    shown = [
        ProblemError(pointer=pointer(finding.path), code=finding.code, detail=finding.detail)
        for finding in ordered[:MAX_FINDINGS]
    ]
    if len(ordered) > MAX_FINDINGS:
        rest = len(ordered) - MAX_FINDINGS
        shown.append(ProblemError(pointer="", code="too_many_errors", detail=f"{rest} more are not listed."))
    return shown


def _order(part: str | int) -> tuple[int, int, str]:
    return (0, part, "") if isinstance(part, int) else (1, 0, part)
