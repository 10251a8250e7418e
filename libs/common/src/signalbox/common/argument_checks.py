"""How `arguments` checks JSON schemas: jsonschema's validators with RE2's patterns and our sentences."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import re2
from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator as Draft
from jsonschema.validators import Draft7Validator, Draft201909Validator, Draft202012Validator, extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from signalbox.common.arguments import BadJsonSchema, Validator
from signalbox.common.pointers import pointer
from signalbox.common.rules.pattern import options
from signalbox.common.schema_document import schema_errors
from signalbox.contracts.base import JsonSchema
from signalbox.contracts.problem import ProblemError

_MAX_ERRORS = 100
_FORMATS = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))
# Without a way to retrieve anything: jsonschema's default would open URLs.
_REGISTRY: Registry[Any] = Registry()
_KINDS = {"array": "a list", "boolean": "true or false", "integer": "a whole number", "null": "null",
          "number": "a number", "object": "an object", "string": "a text"}  # fmt: skip
_PATTERN_OPTIONS = options(case_sensitive=True)
_PROBES: Sequence[Any] = ({}, [], "", 0, None)


def compiled(schema: JsonSchema) -> Validator:
    """See ``arguments.compile_schema``."""
    family = _FAMILIES.get(str(schema.get("$schema", "")).rstrip("#"), _FAMILIES[""])
    errors = list(itertools.islice(schema_errors(schema, family), _MAX_ERRORS))
    if not errors:
        validator: Validator = family(schema, registry=_REGISTRY, format_checker=_FORMATS)
        found = (error for probe in _PROBES for error in checked(validator, probe))
        endless = next((error for error in found if error.code == "bad_json_schema"), None)
        if endless is None:
            return validator
        errors = [endless]
    raise BadJsonSchema(errors[0].detail, errors=errors)


def checked(validator: Validator, value: Any) -> list[ProblemError]:
    """See ``arguments.check``."""
    try:
        found = [_problem(error) for error in itertools.islice(validator.iter_errors(value), _MAX_ERRORS)]
    except (RecursionError, Unresolvable):
        return [
            ProblemError(
                pointer="", code="bad_json_schema", detail="The schema refers to itself without end."
            )
        ]
    return sorted(found, key=lambda problem: problem.pointer)


def _required(validator: Any, names: Sequence[str], instance: Any, schema: Any) -> Iterator[ValidationError]:
    del validator, schema
    if isinstance(instance, dict):
        yield from (ValidationError("is missing", path=[name]) for name in names if name not in instance)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del validator, schema
    if isinstance(instance, str) and not _search(pattern, instance):
        yield ValidationError(f"must match the pattern {pattern}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    del schema
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for key in (key for key in instance if _search(pattern, key)):
                yield from validator.descend(instance[key], subschema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for key, item in instance.items():
        if key in schema.get("properties", {}) or any(_search(pattern, key) for pattern in patterns):
            continue
        if isinstance(allowed, Mapping):
            yield from validator.descend(item, allowed, path=key)
        elif allowed is False:
            yield ValidationError("is not known here", path=[key])


def _search(pattern: str, text: str) -> bool:
    return re2.search(pattern, text.encode("utf-8", "replace"), _PATTERN_OPTIONS) is not None


_KEYWORDS: dict[str, Callable[..., Iterator[ValidationError]]] = {
    "additionalProperties": _additional_properties,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "required": _required,
}


def _extended(draft: type[Draft]) -> Any:
    return extend(draft, _KEYWORDS)  # type: ignore[no-untyped-call]


_FAMILIES: Mapping[str, Any] = {
    "": _extended(Draft202012Validator),
    "https://json-schema.org/draft/2020-12/schema": _extended(Draft202012Validator),
    "https://json-schema.org/draft/2019-09/schema": _extended(Draft201909Validator),
    "http://json-schema.org/draft-07/schema": _extended(Draft7Validator),
}
_LIMITS = {
    "const": "must be {}",
    "exclusiveMaximum": "must be less than {}",
    "exclusiveMinimum": "must be more than {}",
    "format": "must be a valid {}",
    "maxItems": "is too long: {} items at most",
    "maxLength": "is too long: {} characters at most",
    "maxProperties": "has too many members: {} at most",
    "maximum": "must be at most {}",
    "minItems": "is too short: {} items at least",
    "minLength": "is too short: {} characters at least",
    "minProperties": "has too few members: {} at least",
    "minimum": "must be at least {}",
    "multipleOf": "must be a multiple of {}",
}
_MAX_CHOICES = 20
_CODES = {"required": "missing_field", "additionalProperties": "unknown_field", "type": "wrong_type"}


def _problem(error: ValidationError) -> ProblemError:
    path = tuple(error.absolute_path)
    label = f"`{path[-1]}`" if path else "The value"
    code = _CODES.get(str(error.validator), "bad_value")
    return ProblemError(pointer=pointer(path), code=code, detail=f"{label} {_sentence(error)}.")


def _sentence(error: ValidationError) -> str:
    limit: Any = error.validator_value
    keyword = str(error.validator)
    if keyword == "type":
        return f"must be {' or '.join(_KINDS.get(kind, kind) for kind in _listed(limit))}"
    if keyword == "enum":
        return f"must be one of {', '.join(str(value) for value in limit[:_MAX_CHOICES])}"
    if keyword in {"anyOf", "oneOf"}:
        return "has none of the allowed forms" if error.context else "has more than one of the allowed forms"
    if keyword in _LIMITS:
        return _LIMITS[keyword].format(limit)
    return error.message if keyword in _KEYWORDS else f"breaks the rule `{keyword}`"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
