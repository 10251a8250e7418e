"""Which services have migrations, and how far those go."""

import importlib
import re
from pathlib import Path

from signalbox.common.installed import registered
from signalbox.common.record import record

GROUP = "signalbox.migrations"
SQLITE_SCRIPT = "sqlite.sql"
_REVISION = re.compile(r"^\d{4}$")


@record
class MigrationSource:
    """The migrations of one service: ``package`` is importable, as ``signalbox.workflow.migrations``."""

    service: str
    package: str

    @property
    def head(self) -> str:
        """The revision that the code needs, known without Alembic: the package's ``HEAD``."""
        head: str = importlib.import_module(self.package).HEAD
        return head

    @property
    def versions(self) -> Path:
        """The directory of the revisions."""
        return Path(importlib.import_module(self.package).__path__[0]) / "versions"

    @property
    def sqlite_script(self) -> str | None:
        """All tables of a new SQLite file with their revision, as SQL; None where the package has none.

        The file ``sqlite.sql`` is made from the revisions, which stay the truth: see `render_sqlite_script`.
        """
        path = Path(importlib.import_module(self.package).__path__[0]) / SQLITE_SCRIPT
        return path.read_text(encoding="utf-8") if path.exists() else None

    @property
    def version_table(self) -> str:
        """The table that holds the revision of a database; services may share a database, so each has one."""
        return f"alembic_version_{self.service}"


def discover() -> list[MigrationSource]:
    """The migrations of all installed services, by name."""
    found = [MigrationSource(point.name, point.value) for point in registered(GROUP)]
    return sorted(found, key=lambda source: source.service)


def script_head(package: str) -> str:
    """The last revision among the files, for the test that compares it with ``HEAD``.

    Raises ValueError when the revisions are not one chain of four-digit numbers that count up.
    """
    from alembic.config import Config  # noqa: PLC0415 - serving processes never load Alembic
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    directory = MigrationSource("", package).versions
    script = ScriptDirectory(str(directory.parent), messaging_opts=Config().messaging_opts)
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    if not revisions or revisions != sorted(revisions) or not all(map(_REVISION.match, revisions)):
        raise ValueError(f"revisions of {package} must be 0001, 0002, ... in a chain: {revisions}")
    return revisions[-1]
