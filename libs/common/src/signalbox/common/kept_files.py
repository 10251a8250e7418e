"""Files that can be had again from elsewhere, kept in a folder up to a number of bytes."""

import logging
import os
import secrets
from collections.abc import Callable, Collection
from pathlib import Path

_LOG = logging.getLogger(__name__)

_SLACK = 8
"""The folder is looked through each time when an eighth of what it may hold was written to it."""


class KeptFiles:
    """A folder of at most ``max_bytes``, or of as much as the files take that ``spared`` names, if that is more.

    Those used longest ago are removed first. Several processes may share it: what one removes, another no longer
    finds. A name may have slashes. Blocks: for a thread.
    """

    def __init__(
        self, directory: Path, max_bytes: int, spared: Callable[[], Collection[str]] | None = None
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._spared = spared or (lambda: ())
        self._unseen = max_bytes
        """Bytes written since the folder was looked through; it was not yet."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self._directory / name).exists()

    def read(self, name: str) -> bytes | None:
        """What a file holds, which counts as its use; None where there is none, or it cannot be read."""
        path = self._directory / name
        try:
            content = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOG.warning("cannot read %s: %s", path, error)
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keep a file. Where that fails the log says so, for it can be had again."""
        try:
            write_atomically(self._directory / name, content)
            self._unseen += len(content)
            if self._unseen > self._max_bytes // _SLACK:
                self._tidy()
                self._unseen = 0
        except OSError as error:
            _LOG.warning("cannot keep a file on disk, in %s: %s", self._directory, error)

    def _tidy(self) -> None:
        """Remove what is too much, so that an eighth can be written before this is done again."""
        spared = {self._directory / name for name in self._spared()}
        found = []
        total = 0
        for folder, _, names in os.walk(self._directory):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # another process has removed it
                total += status.st_size
                if path not in spared:
                    found.append((status.st_mtime_ns, status.st_size, path))
        allowed = self._max_bytes - self._max_bytes // _SLACK
        for _, size, path in sorted(found):
            if total <= allowed:
                return
            path.unlink(missing_ok=True)
            total -= size


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content as a whole: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    partial.write_bytes(content)
    partial.replace(path)
