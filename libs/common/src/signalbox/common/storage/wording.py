"""The parts of SQL that follow from a list of columns."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def columns_of(record: "type[DataclassInstance]") -> tuple[str, ...]:
    """The columns of a table whose rows are stored as ``record``: one per field, of the same name."""
    return tuple(field.name for field in fields(record))


def row_of(record: "DataclassInstance") -> dict[str, Any]:
    """A record as a row: its values by column, not copied, which would take longer than to write them."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def listed(columns: Iterable[str], table: str | None = None) -> str:
    """``a, b``, or ``table.a, table.b``: what a SELECT or RETURNING names.

    Never ``*``: a later release may have added columns that this one does not know.
    """
    return ", ".join(columns if table is None else (f"{table}.{name}" for name in columns))


def insert_into(table: str, columns: Iterable[str]) -> str:
    """An INSERT of one row, with a parameter for each column, of its name."""
    names = list(columns)
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - names of ours


def assigned(columns: Iterable[str]) -> str:
    """``a = :new_a, b = :new_b`` for the SET of an UPDATE."""
    return ", ".join(f"{name} = :new_{name}" for name in columns)
