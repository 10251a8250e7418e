"""The database port over PostgreSQL (psycopg 3, libpq pipelines)."""

from signalbox.common.storage.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
