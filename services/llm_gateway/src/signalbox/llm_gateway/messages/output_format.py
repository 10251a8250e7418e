"""The form of the output that a request asks for, as ``response_format`` of a chat request."""

from typing import Any

from signalbox.llm_gateway.translation.nodes import Node

Json = dict[str, Any]


def response_format(wanted: Node) -> Json:
    """From ``output_config.format``.

    Raises:
        MalformedCall: it is no JSON schema.
    """
    if wanted.kind() != "json_schema":
        raise wanted.wrong("its type must be json_schema")
    schema = wanted.member("schema").mapping()
    named = {"name": "answer", "schema": schema, "strict": _may_be_strict(schema)}
    return {"type": "json_schema", "json_schema": named}


def _may_be_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: objects are closed and every property is required.

    Source: OpenAI's guide "Structured outputs", supported schemas. Anthropic allows optional properties, so a
    schema that has some is asked for without it: the model is told the schema, but not held to it.
    """
    if isinstance(schema, list):
        return all(map(_may_be_strict, schema))
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        required = schema.get("required")
        names = set(schema.get("properties") or ())
        if schema.get("additionalProperties") is not False or names != set(required or ()):
            return False
    return all(map(_may_be_strict, schema.values()))
