"""Validation of a workflow config: everything that is wrong, at once, each with JSON pointer, code and sentence.

Codes of errors: ``unknown_field``, ``missing_field``, ``wrong_type``, ``bad_value``, ``secret_as_value``,
``unsupported_schema_version``, ``duplicate_id``, ``unknown_reference``, ``not_read_only``, ``bad_pattern``,
``rules_too_large``, ``bad_template``, ``bad_expression``, ``bad_json_schema``, ``bad_jmespath``,
``subflow_cycle``, ``skill_cycle``, ``too_many_errors``; of warnings: ``missing_translation``,
``unreachable_step``, ``unknown_argument``, ``missing_argument``, ``no_model``, ``unknown_name``,
``matches_everything``, ``undeclared_parameter``. A document with warnings alone can be published.
"""

from signalbox.common.validation.pipeline import load_snapshot, validate
from signalbox.common.validation.report import ValidationResult

__all__ = ["ValidationResult", "load_snapshot", "validate"]
