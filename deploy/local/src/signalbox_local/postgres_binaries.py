"""Which PostgreSQL to run: the newest that the system has, else the one in the PyPI package ``pgserver``."""

from importlib.metadata import version
from pathlib import Path

from signalbox_local.accounts import Account, reachable_copy
from signalbox_local.binaries import inside_package, on_path, version_of
from signalbox_local.errors import BinaryNotFoundError

URL_VARIABLE = "SIGNALBOX_TEST_POSTGRES_URL"
OLDEST = 15
_SYSTEM_DIRECTORIES = Path("/usr/lib/postgresql")


def postgres_directory(account: Account | None) -> Path:
    """The directory of a ``postgres`` >= 15 and its ``initdb`` that ``account`` can execute.

    Raises `BinaryNotFoundError` when there is none.
    """
    found = [(version_of(directory / "postgres"), directory) for directory in _system_candidates()]
    usable = [entry for entry in found if entry[0] >= (OLDEST,)]
    if usable:
        return max(usable)[1]
    packaged = inside_package("pgserver", "pginstall")
    if packaged is not None:
        # The executables find their libraries by a path relative to themselves, so both are copied together.
        parts = ("pgserver", "pgserver.libs")
        label = f"pgserver-{version('pgserver')}"
        return reachable_copy(packaged.parents[1], parts, label, account) / "pgserver" / "pginstall" / "bin"
    seen = ", ".join(f"{directory} ({'.'.join(map(str, number)) or 'broken'})" for number, directory in found)
    message = (
        f"no PostgreSQL >= {OLDEST} found (seen: {seen or 'none'}); put its `postgres` and `initdb` on PATH, "
        f"or set {URL_VARIABLE} to the URL of a server whose user may create databases, or on Linux x86-64 "
        "with Python 3.11 or 3.12 install the package `pgserver`"
    )
    raise BinaryNotFoundError(message)


def _system_candidates() -> list[Path]:
    executable = on_path("postgres")
    directories = [executable.parent] if executable else []
    directories += [path.parent for path in _SYSTEM_DIRECTORIES.glob("*/bin/postgres")]
    return [directory for directory in dict.fromkeys(directories) if (directory / "initdb").exists()]
