"""The database port over one SQLite file."""

from signalbox.common.storage.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
