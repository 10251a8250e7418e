"""Schema migrations: Alembic per service, started only when there is something to do.

A service keeps ``signalbox/<service>/migrations/__init__.py`` with ``HEAD = "0002"`` and
``migrations/versions/0001_....py`` etc., and names the package in the entry point group
``signalbox.migrations``. Revision ids are four digits that count up, so that code can tell a schema that is
older than itself (migrate) from one that is newer (leave it: N-1 runs on schema N). ``sqlite.sql`` beside them
holds what they make of an empty SQLite file, so that a first start need not wait for Alembic.
"""

from signalbox.common.storage.errors import MigrationFailed
from signalbox.common.storage.migrations.runner import Migrated, migrate
from signalbox.common.storage.migrations.sources import MigrationSource, discover, script_head

__all__ = ["Migrated", "MigrationFailed", "MigrationSource", "discover", "migrate", "script_head"]
