"""Structure: the document against the models, strictly, keeping every part that is sound."""

import json
from typing import Any

from pydantic import ValidationError

from signalbox.common.pointers import Path
from signalbox.common.record import record
from signalbox.common.validation import sentences
from signalbox.common.validation.locate import locate
from signalbox.common.validation.report import Finding
from signalbox.common.validation.salvage import Salvage
from signalbox.common.validation.suggest import Suggestions
from signalbox.contracts.workflow_config import WorkflowConfig

_MAX_ROUNDS = 24
# What stands in for a required field at the top that is missing or wrong, so that the rest can be checked.
_PLACEHOLDERS = {"workflow_id": "unnamed", "name": "unnamed"}


@record
class Structure:
    """The sound part of a document as a config, what was wrong, and what had to be left out."""

    config: WorkflowConfig | None
    findings: list[Finding]
    salvage: Salvage


@record
class _Broken:
    """A part to take out: at ``path``; ``harmless`` where nothing else depends on it."""

    path: Path
    harmless: bool


def check_structure(document: dict[str, Any], suggestions: Suggestions) -> Structure:
    """Parse as much of a document as can be parsed, and find everything wrong with its structure.

    Broken parts are taken out, one level up at a time, until the rest is a config. Errors that only appear then
    are reported too (a tool with an unknown field may also lack its request), unless taking out made them.
    """
    salvage = Salvage(document)
    findings: list[Finding] = []
    # Paths at which, or below which, something was taken out that an error there may come from.
    harmful: set[Path] = set()
    for _ in range(_MAX_ROUNDS):
        try:
            config = WorkflowConfig.model_validate_json(json.dumps(salvage.tree), strict=True, extra="forbid")
        except ValidationError as error:
            found, broken = _read(error, salvage, suggestions)
        else:
            return Structure(config, findings, salvage)
        findings += [item for item in found if item.path not in harmful]
        for part in sorted(broken, key=lambda part: len(part.path), reverse=True):
            _take_out(salvage, part, harmful)
    return Structure(None, findings, salvage)


def _read(
    error: ValidationError, salvage: Salvage, suggestions: Suggestions
) -> tuple[list[Finding], list[_Broken]]:
    findings: list[Finding] = []
    broken: list[_Broken] = []
    resembling: set[Path] = set()
    others: dict[Path, Any] = {}
    for raw in error.errors(include_url=False, include_input=False):
        place = locate(raw["loc"], WorkflowConfig, salvage.tree)
        path = salvage.original(place.path)
        if place.other_branch_of is not None:
            others[path] = place.annotation
            resembling |= _prefixes(path[:-1])
            continue
        resembling |= _prefixes(path)
        item = sentences.finding(dict(raw), place, path, suggestions)
        findings.append(item)
        target = path if raw["type"] != "missing" else path[:-1]
        broken.append(_Broken(target, harmless=raw["type"] == "extra_forbidden"))
    for path, annotation in others.items():
        if path not in resembling:
            findings.append(sentences.no_branch(path, annotation))
            broken.append(_Broken(path, harmless=False))
    return findings, broken


def _take_out(salvage: Salvage, part: _Broken, harmful: set[Path]) -> None:
    if len(part.path) == 0:
        for name, placeholder in _PLACEHOLDERS.items():
            salvage.tree.setdefault(name, placeholder)
        return
    salvage.remove(part.path)
    if not part.harmless:
        harmful |= _prefixes(part.path)


def _prefixes(path: Path) -> set[Path]:
    return {path[:length] for length in range(1, len(path) + 1)}
