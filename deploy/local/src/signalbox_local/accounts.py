"""The account that a server runs as when the caller is root, and the directories that account can reach.

PostgreSQL refuses to run as root. A root caller therefore starts it as ``postgres`` or ``nobody``, and what
that server reads must lie under directories which that account may enter.
"""

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from signalbox_local.errors import LocalError

_CANDIDATES = ("postgres", "nobody")
_SHARED_ROOT = Path("/var/tmp")  # noqa: S108 - entries are checked for their owner before they are used


@dataclass(frozen=True)
class Account:
    """An operating system user."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account to drop to, or ``None`` when the caller is not root and everything runs as the caller."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    message = (
        f"PostgreSQL does not run as root and there is no user named {' or '.join(_CANDIDATES)}; create one"
    )
    raise LocalError(message)


def can_enter(path: Path, account: Account | None) -> bool:
    """Whether ``account`` may traverse every existing directory from the root down to ``path``."""
    if account is None:
        return True
    resolved = path.resolve()
    return all(_may_traverse(part, account) for part in (resolved, *resolved.parents) if part.is_dir())


def _may_traverse(directory: Path, account: Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable_directory(wanted: Path, account: Account | None) -> Path:
    """``wanted``, or a directory elsewhere with a name derived from it where ``account`` cannot reach it.

    The same ``wanted`` gives the same directory each time, so data kept there is found again.
    """
    if can_enter(wanted.parent, account):
        return wanted
    stand_in = _stand_in(wanted)
    if stand_in.exists() and (stand_in.is_symlink() or stand_in.stat().st_uid not in _trusted(account)):
        message = f"{stand_in} belongs to somebody else; remove it, or use a directory instead of {wanted}"
        raise LocalError(message)
    return stand_in


def reachable_copy(root: Path, parts: tuple[str, ...], label: str, account: Account | None) -> Path:
    """``root``, or a copy of its ``parts``, made once per ``label``, where ``account`` cannot reach it."""
    copy = reachable_directory(root / label, account)
    if copy == root / label:
        return root
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        unfinished.mkdir(mode=0o755)
        for part in parts:
            shutil.copytree(root / part, unfinished / part, symlinks=True)
        unfinished.rename(copy)
    return copy


def own(directory: Path, account: Account | None) -> None:
    """Create ``directory`` with mode 0700 if needed and give it to ``account``."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if account is not None:
        os.chown(directory, account.uid, account.gid)


def _stand_in(wanted: Path) -> Path:
    digest = hashlib.sha256(str(wanted.resolve()).encode()).hexdigest()[:16]
    return _SHARED_ROOT / f"signalbox-{wanted.name}-{digest}"


def _trusted(account: Account | None) -> set[int]:
    return {os.geteuid()} | ({account.uid} if account else set())
