"""Descriptions of fields from the docstrings that follow them.

pydantic's ``use_attribute_docstrings`` reads and parses the source of each class when it is defined, which is a
third of what a model costs at start-up. They are needed only where a schema is rendered, so they are read there.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class DocumentedModel(BaseModel):
    """A model whose JSON schema describes each field by its docstring."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docstrings(cls).items():
            field = cls.model_fields[name]
            for key in (name, field.alias, field.validation_alias, field.serialization_alias):
                if isinstance(key, str) and key in properties and field.description is None:
                    properties[key]["description"] = text
        return schema


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each field of ``model`` that has one, those of its base classes included."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if issubclass(part, BaseModel):
            found |= _docstrings_in(part.__module__).get(part.__qualname__, {})
    return {name: text for name, text in found.items() if name in model.model_fields}


@cache
def _docstrings_in(module: str) -> dict[str, dict[str, str]]:
    """For each class of a module, by qualified name, the docstrings of its annotated names."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        return {}
    return {name: dict(_described(part)) for name, part in _classes(tree, "")}


def _classes(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from _classes(node, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _classes(node, f"{prefix}{node.name}.<locals>.")


def _described(part: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for node, after in zip(part.body, part.body[1:], strict=False):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            yield node.target.id, inspect.cleandoc(after.value.value)
