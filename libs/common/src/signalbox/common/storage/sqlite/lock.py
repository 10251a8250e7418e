"""The lock beside a SQLite file that keeps a second process out."""

import contextlib
import fcntl
import os
from pathlib import Path

from signalbox.common.storage.errors import DatabaseInUse, StorageUnavailable


class FileLock:
    """An exclusive lock on ``<file>.lock``; the kernel frees it when the process ends, however it ends.

    It is beside the database because closing any descriptor of the database file itself would drop SQLite's
    own locks. The file holds the process id of who has it, and stays.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DatabaseInUse: at once, when another has it.
            StorageUnavailable: the file cannot be made or written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise DatabaseInUse(
                f"The database {self._database} is in use by process {self._owner()}; stop it, or start "
                "this one with another data directory (several processes need PostgreSQL)."
            ) from None
        try:
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except OSError as error:
            os.close(handle)
            raise self._unusable(error) from error
        self._handle = handle

    def release(self) -> None:
        """Let others in; no-op when it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _unusable(self, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(
            f"The database {self._database} cannot be used: {error.strerror}; make room or give permission there, "
            "or name another directory in SIGNALBOX_DATA."
        )

    def _owner(self) -> str:
        with contextlib.suppress(OSError):
            return self._path.read_text() or "unknown"
        return "unknown"
