"""Durable state: one port, PostgreSQL and SQLite behind it."""

from signalbox.common.storage.deferred import DeferredDatabase
from signalbox.common.storage.factory import is_postgres, open_database
from signalbox.common.storage.ports import (
    Database,
    DatabaseInUse,
    Dialect,
    DuplicateKey,
    NotStorable,
    Params,
    PreconditionFailed,
    Row,
    SchemaMissing,
    Statement,
    StatementFailed,
    StorageUnavailable,
    Write,
    any_of,
)
from signalbox.common.storage.wording import assigned, columns_of, insert_into, listed, row_of

__all__ = [
    "Database",
    "DatabaseInUse",
    "DeferredDatabase",
    "Dialect",
    "DuplicateKey",
    "NotStorable",
    "Params",
    "PreconditionFailed",
    "Row",
    "SchemaMissing",
    "Statement",
    "StatementFailed",
    "StorageUnavailable",
    "Write",
    "any_of",
    "assigned",
    "columns_of",
    "insert_into",
    "is_postgres",
    "listed",
    "open_database",
    "row_of",
]
