"""JSON schemas and JMESPath expressions that the config holds."""

from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from pydantic import BaseModel

from signalbox.common.arguments import BadJsonSchema, compile_schema
from signalbox.common.plain_schemas import is_plain
from signalbox.common.pointers import Path
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Submission
from signalbox.contracts.config import AgentSkill, FunctionSkill, ResponseMapping, SlotValidation, Tool

_SCHEMAS: dict[type[BaseModel], tuple[str, ...]] = {
    AgentSkill: ("output_schema",),
    FunctionSkill: ("input_schema", "output_schema"),
    SlotValidation: ("json_schema",),
    Tool: ("parameters",),
}
_OF_ARGUMENTS = {(Tool, "parameters"), (FunctionSkill, "input_schema")}
_MAX_EXPRESSION = 2_000


def check_schemas(submission: Submission) -> Iterator[Finding]:
    """``bad_json_schema``, with a pointer into the schema."""
    for node in submission.nodes:
        for field in _SCHEMAS.get(type(node.model), ()):
            schema = getattr(node.model, field)
            path = (*node.path, field)
            if schema is None:
                continue
            if (type(node.model), field) in _OF_ARGUMENTS and schema.get("type", "object") != "object":
                yield Finding(
                    (*path, "type"), "bad_json_schema", "`type` must be `object`: arguments have names."
                )
            yield from _schema_findings(path, schema)


def check_jmespath(submission: Submission) -> Iterator[Finding]:
    """``bad_jmespath``, for syntax and for functions that do not exist."""
    for node, mapping in submission.of(ResponseMapping):
        for field in ("select", "error_when"):
            expression = getattr(mapping, field)
            reason = _jmespath_error(expression) if expression is not None else None
            if reason is not None:
                yield Finding(
                    (*node.path, field), "bad_jmespath", f"`{field}` is no JMESPath expression: {reason}."
                )


def _schema_findings(path: Path, schema: Mapping[str, Any]) -> Iterator[Finding]:
    if is_plain(schema):
        return
    try:
        compile_schema(dict(schema))
    except BadJsonSchema as error:
        for problem in error.errors:
            inner = [part.replace("~1", "/").replace("~0", "~") for part in problem.pointer.split("/")[1:]]
            yield Finding((*path, *inner), problem.code, problem.detail)


def _jmespath_error(expression: str) -> str | None:
    if len(expression) > _MAX_EXPRESSION:
        return f"it is longer than {_MAX_EXPRESSION} characters"
    try:
        tree = jmespath.compile(expression).parsed
    except JMESPathError as error:
        return " ".join(str(error).split("\n")[0].split())
    except RecursionError:
        return "it is nested too deeply"
    pending = [tree]
    while pending:
        node = pending.pop()
        if node.get("type") == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            return f"there is no function {node['value']}()"
        pending += [child for child in node.get("children", []) if isinstance(child, dict)]
    return None
