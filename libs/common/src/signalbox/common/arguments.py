"""JSON-schema checks of arguments: compiled once, every error at once, nothing fetched.

Patterns in a schema have RE2's meaning, like every pattern of a workflow, so that no value can make a check
slow. A ``$ref`` reaches inside the schema only.
"""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from signalbox.common.errors import ValidationFailed
from signalbox.contracts.base import JsonSchema
from signalbox.contracts.problem import ProblemError


class BadJsonSchema(ValidationFailed):
    """The schema itself is wrong; each of ``errors`` has a pointer into the schema."""

    code = "bad_json_schema"


class Validator(Protocol):
    """A compiled schema, for ``check``."""

    def iter_errors(self, instance: Any) -> Iterable[Any]:
        """What is wrong with a value, in the terms of jsonschema."""
        ...


def compile_schema(schema: JsonSchema) -> Validator:
    """A validator of values, to be kept by the caller for as long as the schema.

    Raises:
        BadJsonSchema: no schema of draft 2020-12, 2019-09 or 7, a ``$ref`` that leads out of it or nowhere, or
            a pattern that RE2 refuses.
    """
    # Loaded with the first schema: a process is ready before it, and a workflow may have none.
    from signalbox.common import argument_checks  # noqa: PLC0415

    return argument_checks.compiled(schema)


def load_checks() -> None:
    """Import what the first schema needs, so that no call waits for that; for a thread of an idle process."""
    if find_spec("jsonschema") is not None:
        import_module("signalbox.common.argument_checks")


def check(validator: Validator, value: Any) -> list[ProblemError]:
    """Everything that is wrong with a value, 100 errors at most, ordered by pointer.

    Codes are ``missing_field``, ``unknown_field``, ``wrong_type`` and ``bad_value``. Values are not repeated in
    the sentences, because they may be private.
    """
    from signalbox.common import argument_checks  # noqa: PLC0415 - whoever has a validator has loaded it

    return argument_checks.checked(validator, value)
