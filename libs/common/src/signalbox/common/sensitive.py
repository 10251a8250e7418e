"""Values that are used and not kept: properties of a JSON schema that are ``writeOnly``, or of format ``password``."""

from collections.abc import Set as AbstractSet
from typing import Any

MASK = "***"


def sensitive_members(schema: Any) -> frozenset[str]:
    """Names of the properties, at any depth of a JSON schema, that are marked as secret."""
    if isinstance(schema, list):
        return frozenset().union(*map(sensitive_members, schema))
    if not isinstance(schema, dict):
        return frozenset()
    properties = schema.get("properties")
    declared = properties if isinstance(properties, dict) else {}
    own = {
        name
        for name, part in declared.items()
        if isinstance(part, dict) and (part.get("writeOnly") is True or part.get("format") == "password")
    }
    return frozenset(own).union(*map(sensitive_members, schema.values()))


def masked(value: Any, names: AbstractSet[str]) -> Any:
    """A JSON value with the members of these names masked, at any depth."""
    if isinstance(value, dict):
        return {name: MASK if name in names else masked(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, names) for item in value]
    return value
