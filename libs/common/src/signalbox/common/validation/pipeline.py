"""The order of the checks, and what becomes of their findings."""

from typing import Any

import orjson

from signalbox.common.document_errors import DocumentUnreadable
from signalbox.common.documents import check_shape, parse, upgrade
from signalbox.common.errors import SignalboxError
from signalbox.common.rules import DEFAULT_MEMORY
from signalbox.common.templates import Templates
from signalbox.common.validation.consistency import (
    check_completeness,
    warn_about_arguments,
    warn_about_models,
)
from signalbox.common.validation.flow_graph import check_cycles, check_reachable
from signalbox.common.validation.patterns import check_patterns, warn_about_patterns
from signalbox.common.validation.references import check_ids, check_references
from signalbox.common.validation.report import Finding, ValidationResult, problems
from signalbox.common.validation.schemas_check import check_jmespath, check_schemas
from signalbox.common.validation.secrets_check import check_secrets
from signalbox.common.validation.structure import check_structure
from signalbox.common.validation.submission import Submission
from signalbox.common.validation.suggest import Suggestions
from signalbox.common.validation.templates_check import check_templates, warn_about_names
from signalbox.common.validation.translations import warn_about_labels, warn_about_translations
from signalbox.contracts.problem import ProblemError
from signalbox.contracts.workflow_config import SCHEMA_VERSION, WorkflowConfig


def validate(document: Any, *, rules_memory: int = DEFAULT_MEMORY) -> ValidationResult:
    """Check a whole document; never raises for what is in it.

    ``rules_memory`` is the limit, in bytes, that Workflow compiles rules with.
    """
    if not isinstance(document, dict):
        whole = ProblemError(pointer="", code="wrong_type", detail="The document must be an object.")
        return ValidationResult(None, [whole])
    try:
        check_shape(document)
    except SignalboxError as error:
        return ValidationResult(None, [ProblemError(pointer="", code=error.code, detail=error.detail)])
    findings: list[Finding] = []
    try:
        document = upgrade(document)
    except SignalboxError as error:
        findings.append(Finding(("schema_version",), error.code, error.detail))
        document = {**document, "schema_version": SCHEMA_VERSION}
    return _checked(document, findings, rules_memory)


def load_snapshot(canonical: bytes) -> WorkflowConfig:
    """The config of a stored snapshot, upgraded in memory; fields that this release does not know are ignored.

    Raises:
        DocumentUnreadable, UnsupportedSchemaVersion: the bytes are no snapshot that this release reads.
        pydantic.ValidationError: they are no workflow config.
    """
    try:
        # Canonical bytes, whose hash was checked: what ``parse`` looks for was looked for when they were stored.
        document = orjson.loads(canonical)
    except orjson.JSONDecodeError:
        document = parse(canonical, "json")  # says what is wrong, and where
    if not isinstance(document, dict):
        raise DocumentUnreadable("the document must be an object (a mapping) at its top.")
    return WorkflowConfig.model_validate(upgrade(document))


def _checked(document: dict[str, Any], findings: list[Finding], rules_memory: int) -> ValidationResult:
    suggestions = Suggestions()
    structure = check_structure(document, suggestions)
    findings += structure.findings
    findings += check_secrets(document)
    if structure.config is None:
        return ValidationResult(None, problems(findings))
    submission = Submission(document, structure.config, structure.salvage)
    templates = Templates()
    findings += check_ids(submission)
    findings += check_references(submission, suggestions)
    findings += check_completeness(submission)
    findings += check_cycles(submission)
    findings += check_patterns(submission, rules_memory)
    findings += check_templates(submission, templates, suggestions)
    findings += check_schemas(submission)
    findings += check_jmespath(submission)
    warnings: list[Finding] = []
    warnings += check_reachable(submission)
    warnings += warn_about_translations(submission)
    warnings += warn_about_labels(submission)
    warnings += warn_about_patterns(submission)
    warnings += warn_about_arguments(submission)
    warnings += warn_about_models(submission)
    warnings += warn_about_names(submission, templates)
    config = None if findings else structure.config
    return ValidationResult(config, problems(findings), problems(warnings))
