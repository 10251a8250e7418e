"""Bringing a database to the revision that the code needs."""

import time
from collections.abc import Callable
from pathlib import Path

from signalbox.common.errors import SignalboxError
from signalbox.common.record import record
from signalbox.common.storage.errors import DatabaseInUse, MigrationFailed, StorageUnavailable
from signalbox.common.storage.migrations.sources import MigrationSource
from signalbox.common.storage.migrations.targets import MigrationTarget, target_of

WAIT_S = 120.0
LOCK_PATIENCE_S = 15.0
POLL_S = 0.25
PROGRESS_EVERY_S = 5.0

Report = Callable[[str], None]


@record
class Migrated:
    """What `migrate` found and left."""

    service: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        """Whether there was anything to do."""
        return self.before != self.after


def migrate(
    service: str,
    package: str,
    database_url: str,
    *,
    wait: bool = False,
    wait_s: float = WAIT_S,
    report: Report = lambda _line: None,
) -> Migrated:
    """Apply the revisions that are missing; nothing to do (also: a newer schema) costs one look.

    Blocks; run it before the event loop, and before `open_database` on the same file. Several processes may
    call it together: one works, the others wait for it. ``wait``: also wait up to ``wait_s`` seconds for a
    database server to become reachable; ``report`` gets a line about it every few seconds.

    Raises:
        StorageUnavailable: the database cannot be reached (in time).
        DatabaseInUse: a running service holds the SQLite file, or another migration does not end.
        MigrationFailed: a revision failed; it left nothing behind.
    """
    source = MigrationSource(service, package)
    target = target_of(source, database_url)
    waiting = _Waiting(service, wait_s if wait and target.comes_later else 0.0, report)
    while True:
        try:
            return _bring_to_head(source, target, max(wait_s if wait else 0.0, LOCK_PATIENCE_S), report)
        except StorageUnavailable as error:
            waiting.pause(error)


def _bring_to_head(
    source: MigrationSource, target: MigrationTarget, lock_patience_s: float, report: Report
) -> Migrated:
    before = target.stored_version()
    if before is not None and before >= source.head:
        return Migrated(source.service, before, before)
    waiting = _Waiting(source.service, lock_patience_s, report)
    while True:
        with target.try_lock() as held:
            if held:
                found = target.stored_version()
                if found is None:
                    target.create()
                    found = target.stored_version()
                if found is None or found < source.head:
                    upgrade(source, target)
                return Migrated(source.service, before, target.stored_version())
        waiting.pause(
            DatabaseInUse(
                f"The {source.service} database has to be migrated but is in use; stop the running service, "
                "or wait for the other migration, and run `signalbox migrate` again."
            )
        )


def upgrade(source: MigrationSource, target: MigrationTarget) -> None:
    """Apply the revisions that are missing, with Alembic; whoever calls holds the lock. Raises MigrationFailed."""
    from alembic import command  # noqa: PLC0415 - only when there is work to do
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", _escaped(Path(__file__).parent / "environment"))
    config.set_main_option("version_locations", _escaped(source.versions))
    config.set_main_option("path_separator", "newline")
    engine = target.engine()
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            config.attributes["version_table"] = source.version_table
            command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError) as error:
        raise MigrationFailed(f"The migration of the {source.service} database failed: {error}") from error
    finally:
        engine.dispose()


def _escaped(path: Path) -> str:
    # Alembic reads its options with interpolation.
    return str(path).replace("%", "%%")


class _Waiting:
    """Pauses between attempts until patience ends, with a line now and then."""

    def __init__(self, service: str, patience_s: float, report: Report) -> None:
        self._service = service
        self._report = report
        self._started = time.monotonic()
        self._end = self._started + patience_s
        self._next_line = self._started

    def pause(self, reason: SignalboxError) -> None:
        """Sleep a moment; raises ``reason`` when patience has ended."""
        now = time.monotonic()
        if now >= self._end:
            raise reason
        if now >= self._next_line:
            waited = now - self._started
            self._report(f"migrate {self._service}: waiting ({waited:.0f} s): {reason.detail}")
            self._next_line = now + PROGRESS_EVERY_S
        time.sleep(min(POLL_S, self._end - now))
